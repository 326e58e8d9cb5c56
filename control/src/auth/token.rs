//! Signed tokens that a node reads without asking anybody: grants to watch, and who somebody is at the gateway.
//!
//! JWT (RFC 7519) with Ed25519 (RFC 8037). Ours alone are accepted: another algorithm, key or audience is refused, whatever
//! the header says (RFC 8725); of it the key's id is used, to choose among ours.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::authority::GrantKey;
use super::secrets::Secrets;
use super::signing_key::SigningKey;

const ISSUER: &str = "swiftwater";

/// Clocks of nodes differ by so much at most.
pub(crate) const LEEWAY_S: i64 = 10;

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

/// Makes and reads tokens, with the keys that are there. Times are unix milliseconds where they end in `_ms`, else unix
/// seconds.
pub(crate) struct Signer {
    /// Oldest first; never empty.
    keys: RwLock<Arc<Vec<SigningKey>>>,
}

impl Signer {
    /// With the derived key alone.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self { keys: RwLock::new(Arc::new(vec![SigningKey::derived(secrets)])) }
    }

    /// Takes other keys. None: it keeps those that it has.
    pub(crate) fn replace(&self, keys: Vec<SigningKey>) {
        if !keys.is_empty() {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        }
    }

    /// The public keys, as a set (RFC 7517), for those who check tokens elsewhere: a CDN, another service. One that will
    /// sign is in it before it does, and one that has signed as long as what it signed is good.
    pub(crate) fn jwks(&self, now_ms: i64) -> Value {
        let keys = self.keys();
        let good = keys.iter().filter(|key| is_good(key, now_ms));
        json!({ "keys": good.map(SigningKey::jwk).collect::<Vec<_>>() })
    }

    /// The good ones, oldest first.
    pub(crate) fn list(&self, now_ms: i64) -> Vec<GrantKey> {
        let keys = self.keys();
        let signs = signing(&keys, now_ms).map(|key| key.id.as_str());
        let good = keys.iter().filter(|key| is_good(key, now_ms));
        let described = good.map(|key| GrantKey {
            id: key.id.clone(),
            signs: signs == Some(key.id.as_str()),
            signs_from: key.signs_from,
            retires_at: key.retires_at,
        });
        described.collect()
    }

    /// Makes a token that is good until `exp`.
    pub(crate) fn sign<C: Serialize>(&self, audience: Audience, claims: C, iat: i64, exp: i64) -> String {
        let keys = self.keys();
        // To the end of that second: a key that signs from now on signs now.
        let now_ms = iat.saturating_mul(1000).saturating_add(999);
        #[expect(clippy::expect_used, reason = "there is always a key")]
        let key = signing(&keys, now_ms).expect("never empty");
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        let claims =
            Registered { iss: ISSUER.to_owned(), aud: audience.as_str().to_owned(), iat, exp, claims };
        #[expect(clippy::expect_used, reason = "the key is ours and the claims are plain")]
        jsonwebtoken::encode(&header, &claims, &key.secret).expect("plain claims")
    }

    /// Reads a token; with its expiry.
    pub(crate) fn verify<C: DeserializeOwned>(
        &self,
        token: &str,
        audience: Audience,
        now: i64,
    ) -> Result<(C, i64), TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Forged)?;
        let keys = self.keys();
        let named = |key: &&SigningKey| header.kid.as_deref() == Some(key.id.as_str());
        let key = keys.iter().find(named).filter(|key| is_good(key, now.saturating_mul(1000)));
        let key = key.ok_or(TokenError::Forged)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience.as_str()]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        // By the caller's clock, below.
        validation.validate_exp = false;
        let read: Registered<C> =
            jsonwebtoken::decode(token, &key.public, &validation).map_err(|_| TokenError::Forged)?.claims;
        if read.iat > now.saturating_add(LEEWAY_S) {
            return Err(TokenError::Future);
        }
        if read.exp <= now.saturating_sub(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        Ok((read.claims, read.exp))
    }

    fn keys(&self) -> Arc<Vec<SigningKey>> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The newest whose time has come; the oldest, if those before it were revoked.
fn signing(keys: &[SigningKey], now_ms: i64) -> Option<&SigningKey> {
    keys.iter().rev().find(|key| key.signs_from <= now_ms).or(keys.first())
}

fn is_good(key: &SigningKey, now_ms: i64) -> bool {
    key.retires_at.is_none_or(|at| now_ms < at)
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("keys", &self.keys().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;

    use super::*;
    use crate::db::StoredGrantKey;

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
        let public = EncodingKey::from_secret(&signer.keys()[0].public_bytes);
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
        assert_eq!(signer.jwks(NOW * 1000)["keys"][0]["crv"], "Ed25519");
    }

    #[test]
    fn keys_take_turns_and_what_the_old_one_signed_is_good_to_its_end() {
        let secrets = Secrets::random();
        let signer = Signer::new(&secrets);
        let read = |token: &str, now| signer.verify::<PlayClaims>(token, Audience::Play, now).map(drop);
        let ids = |now: i64| -> Vec<String> {
            let set = signer.jwks(now * 1000);
            let keys = set["keys"].as_array().expect("a list");
            keys.iter().map(|key| key["kid"].as_str().expect("text").to_owned()).collect()
        };
        let signs = |now: i64| {
            let keys = signer.list(now * 1000);
            keys.into_iter().find(|key| key.signs).expect("one signs").id
        };
        let derived = signs(NOW);
        let old = signer.sign(Audience::Play, claims(), NOW, NOW + 10_000);
        let (new, sealed) = SigningKey::fresh(&secrets);
        let row = |id: &str, sealed: Option<&str>, from: i64, until: Option<i64>| {
            let row = StoredGrantKey {
                id: id.to_owned(),
                secret_sealed: sealed.map(str::to_owned),
                signs_from: from * 1000,
                retires_at: until.map(|at| at * 1000),
                created_at: 0,
            };
            SigningKey::stored(&secrets, &row).expect("sealed by us")
        };
        // The new one signs from 600 s on; the old one is good until everything that it signed has expired.
        let until = Some(NOW + 600 + 86_400);
        signer.replace(vec![row(&derived, None, 0, until), row(&new, Some(&sealed), NOW + 600, None)]);
        assert_eq!(ids(NOW), [derived.clone(), new.clone()], "known before it signs");
        assert_eq!((signs(NOW), signs(NOW + 600)), (derived, new.clone()));
        let fresh = signer.sign(Audience::Play, claims(), NOW + 600, NOW + 700);
        assert_eq!((read(&old, NOW + 700), read(&fresh, NOW + 600)), (Ok(()), Ok(())));
        let last = signer.sign(Audience::Play, claims(), NOW + 599, NOW + 599 + 86_400);
        assert_eq!(read(&last, NOW + 598 + 86_400), Ok(()));
        assert_eq!(read(&last, NOW + 600 + 86_400), Err(TokenError::Forged), "its key is retired");
        assert_eq!(ids(NOW + 600 + 86_400), std::slice::from_ref(&new));
        // Revoked: what it signed is void at once, and the new one signs before its time.
        signer.replace(vec![row(&new, Some(&sealed), NOW + 600, None)]);
        assert_eq!(read(&old, NOW), Err(TokenError::Forged));
        assert_eq!(signs(NOW), new);
        // Another instance's secret does not open the seed.
        let stored = StoredGrantKey {
            id: new,
            secret_sealed: Some(sealed),
            signs_from: 0,
            retires_at: None,
            created_at: 0,
        };
        assert!(SigningKey::stored(&Secrets::random(), &stored).is_none());
    }
}
