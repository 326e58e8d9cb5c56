//! Signed tokens that a node reads without asking anybody: grants to watch, and who somebody is at the gateway.
//!
//! JWT (RFC 7519) with Ed25519 (RFC 8037). Ours alone are accepted: another algorithm, key or audience is refused, whatever
//! the header says (RFC 8725).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::secrets::Secrets;

const ISSUER: &str = "swiftwater";

/// Clocks of nodes differ by so much at most.
const LEEWAY_S: i64 = 10;

/// Longer texts are of nobody.
const TOKEN_BYTES_MAX: usize = 1024;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audience {
    /// To watch a Channel.
    Play,
    /// To say who somebody is.
    Gateway,
}

impl Audience {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Play => "play",
            Self::Gateway => "gateway",
        }
    }
}

/// A grant to watch one Channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlayClaims {
    /// Whom the grant is for, as its maker calls them.
    pub(crate) sub: String,
    /// The Channel's name.
    pub(crate) ch: String,
    /// The Channel's id: a later Channel of the same name is another one.
    pub(crate) cid: String,
    /// The Channel's epoch: all grants of an older one are void.
    pub(crate) ep: i64,
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GatewayClaims {
    /// The account's id.
    pub(crate) sub: String,
    /// Its login.
    pub(crate) login: String,
    /// Its name to show.
    pub(crate) name: String,
}

#[derive(Serialize, Deserialize)]
struct Registered<C> {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    claims: C,
}

/// Why a token is refused. The texts go to whoever showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of ours.
    #[error("the token is not one of this server")]
    Forged,
    /// Its time is over.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// Its time has not begun.
    #[error("the token is from the future: check the clocks of the servers")]
    Future,
}

/// Makes and reads tokens.
pub(crate) struct Signer {
    secret: EncodingKey,
    public: DecodingKey,
    public_bytes: Vec<u8>,
    key_id: String,
}

impl Signer {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let seed = secrets.derive("token signature");
        #[expect(clippy::expect_used, reason = "a seed of 32 bytes is a key")]
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes");
        let public_bytes = pair.public_key().as_ref().to_vec();
        // PKCS #8 (RFC 8410): a fixed prefix and the seed.
        let mut pkcs8 = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        pkcs8.extend_from_slice(&seed);
        let thumb = secrets.fingerprint("key id", "1");
        Self {
            secret: EncodingKey::from_ed_der(&pkcs8),
            public: DecodingKey::from_ed_der(&public_bytes),
            public_bytes,
            key_id: thumb[..16].to_owned(),
        }
    }

    /// The public key, as a set (RFC 7517), for those who check tokens elsewhere: a CDN, another service.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.key_id,
            "x": URL_SAFE_NO_PAD.encode(&self.public_bytes),
        }] })
    }

    /// Makes a token that is good until `exp`. Times are unix seconds.
    pub(crate) fn sign<C: Serialize>(&self, audience: Audience, claims: C, iat: i64, exp: i64) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        let claims =
            Registered { iss: ISSUER.to_owned(), aud: audience.as_str().to_owned(), iat, exp, claims };
        #[expect(clippy::expect_used, reason = "the key is ours and the claims are plain")]
        jsonwebtoken::encode(&header, &claims, &self.secret).expect("plain claims")
    }

    /// Reads a token; with its expiry. `now` is in unix seconds.
    pub(crate) fn verify<C: DeserializeOwned>(
        &self,
        token: &str,
        audience: Audience,
        now: i64,
    ) -> Result<(C, i64), TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience.as_str()]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        // By the caller's clock, below.
        validation.validate_exp = false;
        let read: Registered<C> =
            jsonwebtoken::decode(token, &self.public, &validation).map_err(|_| TokenError::Forged)?.claims;
        if read.iat > now.saturating_add(LEEWAY_S) {
            return Err(TokenError::Future);
        }
        if read.exp <= now.saturating_sub(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        Ok((read.claims, read.exp))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn claims() -> PlayClaims {
        PlayClaims { sub: "bo".into(), ch: "ana".into(), cid: "chn_1".into(), ep: 3 }
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn only_tokens_of_ours_for_this_purpose_and_time_are_read() {
        let secrets = Secrets::random();
        let signer = Signer::new(&secrets);
        let read =
            |token: &str, now| signer.verify::<PlayClaims>(token, Audience::Play, now).map(|(it, _)| it);
        let good = signer.sign(Audience::Play, claims(), NOW, NOW + 600);
        assert_eq!(read(&good, NOW), Ok(claims()));
        assert_eq!(
            Signer::new(&secrets).verify(&good, Audience::Play, NOW),
            Ok((claims(), NOW + 600)),
            "another node"
        );
        assert_eq!(read(&good, NOW + 600 + LEEWAY_S), Err(TokenError::Expired));
        assert_eq!(read(&good, NOW - LEEWAY_S - 1), Err(TokenError::Future));
        let other = signer.sign(Audience::Gateway, claims(), NOW, NOW + 600);
        assert_eq!(read(&other, NOW), Err(TokenError::Forged), "wrong audience");
        let strangers = Signer::new(&Secrets::random()).sign(Audience::Play, claims(), NOW, NOW + 600);
        assert_eq!(read(&strangers, NOW), Err(TokenError::Forged), "another key");

        let body = json!({ "iss": ISSUER, "aud": "play", "iat": NOW, "exp": NOW + 600, "sub": "bo", "ch": "ana",
                           "cid": "chn_1", "ep": 3 });
        let signature = good.rsplit('.').next().expect("a signature");
        for header in [json!({ "alg": "none", "typ": "JWT" }), json!({ "alg": "HS256", "typ": "JWT" })] {
            for signature in ["", signature] {
                let forged = format!("{}.{}.{signature}", part(&header), part(&body));
                assert_eq!(read(&forged, NOW), Err(TokenError::Forged), "{header}");
            }
        }
        // The public key as the secret of an HMAC.
        let public = EncodingKey::from_secret(&signer.public_bytes);
        let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &body, &public);
        if let Ok(confused) = confused {
            assert_eq!(read(&confused, NOW), Err(TokenError::Forged));
        }
        let mut parts: Vec<&str> = good.split('.').collect();
        let longer =
            part(&json!({ "iss": ISSUER, "aud": "play", "iat": NOW, "exp": NOW + 60_000, "sub": "bo",
                                   "ch": "ana", "cid": "chn_1", "ep": 3 }));
        parts[1] = &longer;
        assert_eq!(read(&parts.join("."), NOW), Err(TokenError::Forged), "changed");
        for nonsense in ["", ".", "..", "a.b.c", &"x".repeat(5000)] {
            assert_eq!(read(nonsense, NOW), Err(TokenError::Forged));
        }
        assert_eq!(signer.jwks()["keys"][0]["crv"], "Ed25519");
    }
}
