//! What the backend is asked and told: the JSON of SRS.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;

use media::ChannelName;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest text of a caller that is handed on. A URL of an honest client is shorter.
const TEXT_BYTES_MAX: usize = 2048;

/// What SRS calls the host that nobody configured.
const VHOST: &str = "__defaultVhost__";

/// Who is at the door, in the words of SRS: `app`, `stream` and `param` as he wrote them.
#[derive(Clone)]
pub struct Caller {
    /// By which protocol: `rtmp`, `whip`, `whep`, `webrtc` (the gateway), `hls`.
    pub transport: &'static str,
    /// From where.
    pub remote: IpAddr,
    /// The Channel, if it is known: a key need not say which.
    pub channel: Option<ChannelName>,
    /// The path before the stream's name: `live`, or `live/ana`.
    pub app: String,
    /// The publish name, which may be the stream key; of a viewer, the Channel.
    pub stream: SecretString,
    /// The query with its `?`, or nothing. It may have a key or a token.
    pub param: SecretString,
    /// The page that a viewer is on, if he says so.
    pub page: Option<String>,
}

impl Caller {
    /// A viewer of `channel`, who sent this query (without `?`) and this token.
    pub fn viewer(
        transport: &'static str,
        remote: IpAddr,
        channel: ChannelName,
        query: &str,
        bearer: Option<&SecretString>,
    ) -> Self {
        let mut param = String::new();
        if !query.is_empty() {
            let _ = write!(param, "?{query}");
        }
        // SRS knows no other place for it than the query.
        if let Some(token) = bearer {
            let separator = if param.is_empty() { '?' } else { '&' };
            let _ = write!(param, "{separator}token={}", token.expose_secret());
        }
        let stream = channel.as_str().to_owned().into();
        Self {
            transport,
            remote,
            channel: Some(channel),
            app: "live".to_owned(),
            stream,
            param: param.into(),
            page: None,
        }
    }

    /// With the page that he is on.
    #[must_use]
    pub fn on_page(mut self, page: Option<String>) -> Self {
        self.page = page;
        self
    }

    /// Whether a text of it is longer than any honest one.
    pub(super) fn too_long(&self) -> bool {
        let texts = [self.app.as_str(), self.stream.expose_secret(), self.param.expose_secret()];
        texts.iter().any(|text| text.len() > TEXT_BYTES_MAX)
    }

    /// The same for whoever asks the same: a name for it that gives nothing away.
    pub(super) fn digest(&self, action: Action) -> [u8; 32] {
        let mut hash = Sha256::new();
        let remote = self.remote.to_canonical().to_string();
        for text in
            [action.as_str(), &remote, &self.app, self.stream.expose_secret(), self.param.expose_secret()]
        {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// The name of what he publishes, whoever he is.
    pub(super) fn stream_digest(&self) -> [u8; 32] {
        Sha256::digest(self.stream.expose_secret()).into()
    }

    /// `text` without the caller's secrets: a backend may say them back.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let param = self.param.expose_secret();
        let values = param.split(['?', '&']).filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
        // A stream that is the channel's name is no secret, and sentences have it.
        let stream = Some(self.stream.expose_secret())
            .filter(|stream| self.channel.as_ref().is_none_or(|channel| channel.as_str() != *stream));
        for secret in [param].into_iter().chain(values).chain(stream).filter(|secret| secret.len() > 3) {
            text = text.replace(secret, "…");
        }
        text
    }
}

/// Without its secrets.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("transport", &self.transport)
            .field("remote", &self.remote)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Publish,
    Unpublish,
    Play,
    Stop,
}

impl Action {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
        }
    }

    /// What the backend is told when it is over.
    pub(super) const fn end(self) -> Self {
        match self {
            Self::Publish | Self::Unpublish => Self::Unpublish,
            Self::Play | Self::Stop => Self::Stop,
        }
    }
}

/// A name for one visit, the same when it begins and when it ends.
pub(super) fn fresh_client_id() -> String {
    let mut bytes = [0u8; 8];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The body. SRS's fields, then ours: `protocol` and `channel`.
pub(super) fn body(action: Action, client_id: &str, caller: &Caller) -> Vec<u8> {
    let (stream, app) = (caller.stream.expose_secret(), caller.app.as_str());
    let mut body = json!({
        "action": action.as_str(),
        "client_id": client_id,
        "ip": caller.remote.to_canonical().to_string(),
        "vhost": VHOST,
        "app": app,
        "stream": stream,
        "param": caller.param.expose_secret(),
        "tcUrl": format!("rtmp://{VHOST}/{app}"),
        "stream_url": format!("/{app}/{stream}"),
        "stream_id": caller.channel.as_ref().map_or("", ChannelName::as_str),
        "server_id": "swiftwater",
        "service_id": "swiftwater",
        "protocol": caller.transport,
        "channel": caller.channel.as_ref().map(ChannelName::as_str),
    });
    if action == Action::Play {
        body["pageUrl"] = Value::from(caller.page.as_deref().unwrap_or_default());
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(query: &str, bearer: Option<&str>) -> Caller {
        let channel = ChannelName::parse("ana").expect("a name");
        let bearer = bearer.map(|it| SecretString::from(it.to_owned()));
        Caller::viewer("whep", [192, 0, 2, 7].into(), channel, query, bearer.as_ref())
    }

    #[test]
    fn a_token_is_where_srs_has_it() {
        for (query, bearer, param) in [
            ("", None, ""),
            ("token=a&b=c", None, "?token=a&b=c"),
            ("", Some("t1"), "?token=t1"),
            ("x=1", Some("t1"), "?x=1&token=t1"),
        ] {
            assert_eq!(viewer(query, bearer).param.expose_secret(), param);
        }
    }

    #[test]
    fn the_body_is_that_of_srs() {
        let body = body(
            Action::Play,
            "c1",
            &viewer("token=abc", None).on_page(Some("https://a.example/ana".into())),
        );
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        for (key, value) in [
            ("action", "on_play"),
            ("client_id", "c1"),
            ("ip", "192.0.2.7"),
            ("vhost", "__defaultVhost__"),
            ("app", "live"),
            ("stream", "ana"),
            ("param", "?token=abc"),
            ("stream_url", "/live/ana"),
            ("pageUrl", "https://a.example/ana"),
        ] {
            assert_eq!(body[key], value, "{key}");
        }
    }

    #[test]
    fn who_asks_the_same_has_the_same_digest() {
        let one = viewer("token=abc", None);
        assert_eq!(one.digest(Action::Play), viewer("token=abc", None).digest(Action::Play));
        assert_ne!(one.digest(Action::Play), one.digest(Action::Publish));
        assert_ne!(one.digest(Action::Play), viewer("token=abd", None).digest(Action::Play));
        let other = Caller { remote: [192, 0, 2, 8].into(), ..one.clone() };
        assert_ne!(one.digest(Action::Play), other.digest(Action::Play));
    }

    #[test]
    fn secrets_that_a_backend_says_back_are_taken_out() {
        let mut caller = viewer("token=live_abc&x=1", None);
        assert_eq!(caller.redact("token live_abc is not of ana"), "token … is not of ana");
        caller.stream = "sk_secret".to_owned().into();
        assert_eq!(caller.redact("no key sk_secret"), "no key …");
        assert!(!format!("{caller:?}").contains("sk_secret"));
    }
}
