//! Signatures of webhooks: Standard Webhooks 1.0, HMAC-SHA256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What a secret begins with in text.
const PREFIX: &str = "whsec_";

/// Bytes of a fresh secret; the specification says 24 to 64.
const SECRET_BYTES: usize = 32;

/// What the sender and one receiver know.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// A fresh one.
    pub(super) fn generate() -> Self {
        let mut bytes = vec![0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads `whsec_…`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As its receiver pastes it into his program.
    pub(super) fn text(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(&self.0)).into()
    }

    /// The value of `webhook-signature` for this message: id, time of this attempt in Unix seconds, body.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The text of a fresh secret, for whoever adds a hook.
pub(super) fn fresh() -> (Secret, String) {
    let secret = Secret::generate();
    let text = secret.text().expose_secret().to_owned();
    (secret, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries.
    #[test]
    fn the_example_of_the_specification_is_signed_alike() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_fresh_secret_can_be_read_again_and_does_not_show() {
        let (secret, text) = fresh();
        let again = Secret::parse(&text).expect("a secret");
        assert_eq!(again.sign("a", 1, "b"), secret.sign("a", 1, "b"));
        assert_ne!(fresh().1, text);
        assert!(!format!("{secret:?}").contains(&text[6..]));
        for wrong in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }
}
