//! SRTP protection of what we send, and the one owner of its nonces.

/// An SRTP protection profile that we speak (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// The cheap one; preferred.
    AeadAes128Gcm,
    /// The one that everybody has.
    Aes128CmSha1_80,
}

impl Profile {
    /// As IANA spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }
}
