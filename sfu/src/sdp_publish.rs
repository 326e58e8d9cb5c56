//! The offer of a WebRTC publisher (WHIP, RFC 9725): what we accept of it, and the answer.

use crate::sdp::Error;

/// A checked offer of a publisher.
#[derive(Clone, Debug)]
pub struct PublishOffer {
    /// What the encoder calls itself (HTTP `User-Agent`): some promise feedback that they ignore.
    pub encoder: Option<String>,
}

impl PublishOffer {
    /// Reads and checks an offer.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is no SDP, [`Error::Unacceptable`] if it cannot be answered.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !text.starts_with("v=0") {
            return Err(Error::Syntax("it does not begin with v=0".to_owned()));
        }
        Ok(Self { encoder: None })
    }
}
