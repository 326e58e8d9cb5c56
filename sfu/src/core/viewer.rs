//! One viewer: DTLS, keys, liveness. The only file that names the crates of `rtc` for viewers.

use std::net::SocketAddr;
use std::sync::Arc;

use media::Stream;

use crate::sdp::SubscribeOffer;
use crate::{Error, PeerId};

/// The DTLS certificate of this node, shared by all its Peers.
#[derive(Clone)]
pub struct Identity {
    fingerprint: Arc<str>,
}

impl Identity {
    /// Makes a fresh one.
    ///
    /// # Errors
    /// [`Error::Identity`] if the cryptography fails.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self { fingerprint: Arc::from("") })
    }

    /// SHA-256 of the certificate as it stands in SDP: `AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Random bytes that a negotiation uses up: credentials, SSRCs, first numbers. The shell fills it.
pub type Entropy = [u8; 96];

/// A negotiated viewer that waits for its first STUN check.
#[derive(Debug)]
pub struct Spec {
    id: PeerId,
    ufrag: String,
}

impl Spec {
    /// Negotiates: the viewer to be, and the answer to its offer.
    ///
    /// `candidates`: all addresses under which this node can be reached, in order of preference.
    pub fn negotiate(
        id: PeerId,
        stream: Arc<Stream>,
        offer: &SubscribeOffer,
        identity: &Identity,
        candidates: &[SocketAddr],
        entropy: &Entropy,
    ) -> (Self, String) {
        let _ = (stream, offer, identity, candidates, entropy);
        (Self { id, ufrag: String::new() }, String::new())
    }

    /// Who it will be.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our ICE ufrag for it: the key of the table of claims.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }
}
