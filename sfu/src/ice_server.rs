//! STUN and TURN servers that clients are told of: for networks that let neither UDP nor our TCP port through.
//!
//! We never speak to them. Credentials are fixed, or made for each client from a secret that the TURN server
//! shares, so that what leaks is of no use for long (draft-uberti-behave-turn-rest; coturn's `use-auth-secret`).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use serde::{Deserialize, Serialize, Serializer};

/// URLs of one server: UDP, TCP and TLS, on some ports.
const URLS_MAX: usize = 8;
/// How long made credentials are good for, if nobody says otherwise: a client that stays longer needs them
/// again only when its network changes, and gets new ones then.
const TTL_S: u64 = 24 * 60 * 60;
/// Shorter ones expire while a client is connecting.
const TTL_S_MIN: u64 = 60;

/// `[[rtc.ice_servers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServerConfig {
    /// `stun:`, `turn:` and `turns:` URIs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// With `credential`: the same for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// See `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
    /// Instead of both: what the TURN server calls `static-auth-secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// How long credentials that are made with `secret` are good for, in seconds.
    #[serde(default = "default_ttl")]
    pub ttl_s: u64,
}

const fn default_ttl() -> u64 {
    TTL_S
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

/// A server as a client is told of it: the `RTCIceServer` of browsers.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Where it is.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN: a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl IceServerConfig {
    /// Says what is wrong with it, in words for whoever wrote it.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.urls.is_empty() || self.urls.len() > URLS_MAX {
            return Err(format!("ice_servers: give 1 to {URLS_MAX} urls"));
        }
        for url in &self.urls {
            let scheme = ["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
            // They stand between < and > in a header of HTTP.
            let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte));
            if !scheme || !plain {
                return Err(format!("ice_servers: {url:?} is no URL like turn:turn.example.org:3478"));
            }
        }
        let fixed = self.username.is_some() && self.credential.is_some();
        let half = self.username.is_some() != self.credential.is_some();
        if half || (fixed && self.secret.is_some()) {
            return Err("ice_servers: give username and credential, or secret".to_owned());
        }
        let relays = self.urls.iter().any(|url| url.starts_with("turn"));
        if relays && !fixed && self.secret.is_none() {
            return Err("ice_servers: a TURN server wants username and credential, or secret".to_owned());
        }
        if self.username.as_ref().is_some_and(|name| !is_quotable(name))
            || self.credential.as_ref().is_some_and(|credential| !is_quotable(&credential.0))
        {
            return Err("ice_servers: username and credential are ASCII without quotes".to_owned());
        }
        if self.secret.as_ref().is_some_and(|secret| secret.0.is_empty()) {
            return Err("ice_servers: the secret is empty".to_owned());
        }
        if self.ttl_s < TTL_S_MIN {
            return Err(format!("ice_servers: ttl_s is at least {TTL_S_MIN}"));
        }
        Ok(())
    }

    /// What a client that is called `name` is told now (Unix seconds).
    pub(crate) fn issue(&self, now: u64, name: &str) -> IceServer {
        let (username, credential) = match &self.secret {
            Some(secret) => {
                let username = format!("{}:{name}", now + self.ttl_s);
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.0.as_bytes());
                let tag = hmac::sign(&key, username.as_bytes());
                let credential = base64::engine::general_purpose::STANDARD.encode(tag.as_ref());
                (Some(username), Some(credential))
            }
            None => (self.username.clone(), self.credential.as_ref().map(|credential| credential.0.clone())),
        };
        IceServer { urls: self.urls.clone(), username, credential }
    }
}

/// Whether it can stand in a quoted string of HTTP as it is (RFC 9110 section 5.6.4).
fn is_quotable(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(fields: &str) -> IceServerConfig {
        let text = format!(r#"{{"urls": ["turn:turn.example.org:3478"]{fields}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn made_credentials_are_those_of_the_rest_api() {
        let config = turn(r#", "secret": "north", "ttl_s": 600"#);
        assert_eq!(config.validate(), Ok(()));
        let server = config.issue(1_433_895_918 - 600, "peer1");
        assert_eq!(server.username.as_deref(), Some("1433895918:peer1"));
        // printf 1433895918:peer1 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(server.credential.as_deref(), Some("34gxmF1z+VcBpH4OJ4sIo9a5SeY="));
    }

    #[test]
    fn fixed_credentials_are_told_as_they_are_and_stun_needs_none() {
        let config = turn(r#", "username": "ana", "credential": "pass""#);
        let server = config.issue(7, "peer1");
        assert_eq!((server.username.as_deref(), server.credential.as_deref()), (Some("ana"), Some("pass")));
        let stun: IceServerConfig = serde_json::from_str(r#"{"urls": ["stun:stun.example.org"]}"#).unwrap();
        assert_eq!(stun.validate(), Ok(()));
        let told = serde_json::to_string(&stun.issue(7, "peer1")).unwrap();
        assert_eq!(told, r#"{"urls":["stun:stun.example.org"]}"#);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let urls = |list: &str| -> IceServerConfig {
            serde_json::from_str(&format!(r#"{{"urls": {list}, "secret": "s"}}"#)).unwrap()
        };
        for config in [
            urls("[]"),
            urls(r#"["http://turn.example.org"]"#),
            urls(r#"["turn:a b"]"#),
            urls(r#"["turn:a>; rel=x"]"#),
            turn(""),
            turn(r#", "username": "ana""#),
            turn(r#", "username": "ana", "credential": "p", "secret": "s""#),
            turn(r#", "username": "a\"b", "credential": "p""#),
            turn(r#", "secret": """#),
            turn(r#", "secret": "s", "ttl_s": 5"#),
        ] {
            let error = config.validate().unwrap_err();
            assert!(error.starts_with("ice_servers: "), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = turn(r#", "username": "ana", "credential": "hunter2""#);
        let shown =
            format!("{config:?} {} {:?}", serde_json::to_string(&config).unwrap(), config.issue(1, "p"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
