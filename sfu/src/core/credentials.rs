//! Short-term credentials of ICE (RFC 8445 section 7.2.2): who knows a password is who it was told to.

use std::fmt;

use aws_lc_rs::hmac;

/// One side's credentials of an ICE session of a Peer.
#[derive(Clone)]
pub struct Credentials {
    ufrag: String,
    key: hmac::Key,
}

impl Credentials {
    /// Of a session with this ufrag and password (RFC 8839 section 5.4).
    pub fn new(ufrag: String, pwd: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        Self { ufrag, key }
    }

    /// That side's ufrag.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Signs and checks what that side is asked and what it answers.
    pub(super) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

/// A ufrag is made once, with its password.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.ufrag == other.ufrag
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// The credentials of an ICE session: what the Peer proves itself by, and what we prove ourselves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halves {
    /// Told in our answer: of what the Peer asks us.
    pub ours: Credentials,
    /// Told in its offer: of what we ask the Peer.
    pub theirs: Credentials,
}
