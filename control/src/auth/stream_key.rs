//! A publisher's secret.

use std::fmt;

use hmac::{Hmac, Mac};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Random bytes of a made key: 130 bits and more cannot be guessed, so a fast hash is enough (an argon2
/// on the publish path would only be a way to keep us busy).
const KEY_BYTES: usize = 20;

/// Longest key that is looked at. Encoders send URLs as keys by mistake; nobody's key is this long.
pub(crate) const KEY_BYTES_MAX: usize = 512;

/// A publisher's secret. `Debug` prints a redaction.
#[derive(Clone)]
pub struct StreamKey(SecretString);

impl StreamKey {
    /// Makes a fresh key: `live_` and 32 characters.
    pub fn generate() -> Self {
        let mut bytes = [0u8; KEY_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let mut text = String::with_capacity(5 + KEY_BYTES * 8 / 5);
        text.push_str("live_");
        for chunk in bytes.chunks(5) {
            let mut word = chunk.iter().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
            for _ in 0..8 {
                text.push(char::from(BASE32[(word & 31) as usize]));
                word >>= 5;
            }
        }
        Self(text.into())
    }

    /// Takes a key as it was configured or sent.
    pub fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// The secret itself: for the one who shows it to its owner, never for a log.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored and looked up: HMAC-SHA256 under the node's pepper.
    pub(crate) fn fingerprint(&self, pepper: &[u8; 32]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes a key of any length");
        mac.update(self.0.expose_secret().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Crockford's base 32, lower case: no letters that are mistaken for digits.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(redacted)")
    }
}

impl From<SecretString> for StreamKey {
    fn from(secret: SecretString) -> Self {
        Self(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_differ_and_do_not_show() {
        let (one, other) = (StreamKey::generate(), StreamKey::generate());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 37);
        assert!(!format!("{one:?}").contains(&one.expose()[5..]));
    }
}
