//! One key that signs tokens: Ed25519 (RFC 8032).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use rand::RngCore;
use serde_json::{Value, json};

use super::secrets::{Secrets, hex, unhex};
use crate::db::StoredGrantKey;

/// What seeds are sealed for.
const PURPOSE: &str = "grant key";

/// A key, and when it signs and is good. Times are unix milliseconds.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) secret: EncodingKey,
    pub(crate) public: DecodingKey,
    pub(crate) public_bytes: Vec<u8>,
    pub(crate) signs_from: i64,
    /// None while nothing has taken its place.
    pub(crate) retires_at: Option<i64>,
}

impl SigningKey {
    /// The one that every instance has, made of its root: while there is no other it signs.
    pub(crate) fn derived(secrets: &Secrets) -> Self {
        let id = secrets.fingerprint("key id", "1")[..16].to_owned();
        Self::of_seed(id, &secrets.derive("token signature"), 0, None)
    }

    /// A fresh one: its id, and its seed as the database keeps it.
    pub(crate) fn fresh(secrets: &Secrets) -> (String, String) {
        let (mut seed, mut id) = ([0; 32], [0; 8]);
        rand::rng().fill_bytes(&mut seed);
        rand::rng().fill_bytes(&mut id);
        (hex(&id), secrets.seal(PURPOSE, &hex(&seed)))
    }

    /// One of the database; none if its seed was sealed with another root.
    pub(crate) fn stored(secrets: &Secrets, row: &StoredGrantKey) -> Option<Self> {
        let seed = match &row.secret_sealed {
            Some(sealed) => unhex(&secrets.unseal(PURPOSE, sealed)?)?,
            None => secrets.derive("token signature"),
        };
        Some(Self::of_seed(row.id.clone(), &seed, row.signs_from, row.retires_at))
    }

    fn of_seed(id: String, seed: &[u8; 32], signs_from: i64, retires_at: Option<i64>) -> Self {
        #[expect(clippy::expect_used, reason = "a seed of 32 bytes is a key")]
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes");
        let public_bytes = pair.public_key().as_ref().to_vec();
        // PKCS #8 (RFC 8410): a fixed prefix and the seed.
        let mut pkcs8 = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        pkcs8.extend_from_slice(seed);
        Self {
            id,
            secret: EncodingKey::from_ed_der(&pkcs8),
            public: DecodingKey::from_ed_der(&public_bytes),
            public_bytes,
            signs_from,
            retires_at,
        }
    }

    /// Its public half (RFC 7517, RFC 8037).
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&self.public_bytes),
        })
    }
}
