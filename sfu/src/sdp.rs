//! Offers of viewers, and our answers to them.

/// Why an offer was refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It is not SDP.
    #[error("not a session description: {0}")]
    Syntax(String),
    /// It is SDP that we cannot answer.
    #[error("cannot answer this offer: {0}")]
    Unacceptable(&'static str),
}

impl Error {
    /// True: the text is broken (HTTP 400). False: it is well-formed but cannot be served (HTTP 422).
    pub const fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax(_))
    }
}

/// What a viewer offers.
#[derive(Clone, Debug)]
pub struct SubscribeOffer {}

impl SubscribeOffer {
    /// Reads and checks an offer.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is no SDP, [`Error::Unacceptable`] if it cannot be served.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !text.starts_with("v=0") {
            return Err(Error::Syntax("it does not begin with v=0".to_owned()));
        }
        Ok(Self {})
    }
}

/// Candidates that trickle in (RFC 8840).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Whose.
    pub ufrag: String,
    /// Its password: a new pair means an ICE restart.
    pub pwd: String,
}

impl Fragment {
    /// Reads a body of `application/trickle-ice-sdpfrag`.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it carries no credentials.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value =
            |key: &str| text.lines().find_map(|line| line.trim_end().strip_prefix(key)).map(str::to_owned);
        match (value("a=ice-ufrag:"), value("a=ice-pwd:")) {
            (Some(ufrag), Some(pwd)) => Ok(Self { ufrag, pwd }),
            _ => Err(Error::Syntax("no a=ice-ufrag and a=ice-pwd".to_owned())),
        }
    }
}
