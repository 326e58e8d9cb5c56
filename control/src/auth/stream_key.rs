//! A publisher's secret.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::secrets::{Secrets, hint, random_text};

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
        Self(random_text("live_", KEY_BYTES).into())
    }

    /// Takes a key as it was configured or sent.
    pub fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// The secret itself: for the one who shows it to its owner, never for a log.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored and looked up.
    pub(crate) fn fingerprint(&self, secrets: &Secrets) -> String {
        secrets.fingerprint("stream key", self.0.expose_secret())
    }

    /// Its last characters.
    pub(crate) fn hint(&self) -> &str {
        hint(self.0.expose_secret())
    }
}

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
