//! The frames of `live.v1.json`. Unknown keys are ignored, unknown types answered with `unknown_type`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A correlation id chosen by the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    /// A number.
    Number(u64),
    /// A short string.
    Text(String),
}

/// Longest correlation id in characters.
const ID_CHARS_MAX: usize = 32;

/// What a client asks.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Request {
    /// The first frame.
    #[serde(rename = "hello")]
    Hello {
        /// Protocol version: 1.
        v: u32,
        /// The name that a guest wants.
        #[serde(default)]
        name: Option<String>,
        /// Who it is, if not a guest: the gateway token of `GET /api/v1/me`.
        #[serde(default)]
        token: Option<String>,
        /// Continue a session whose socket was lost.
        #[serde(default)]
        resume: Option<Resume>,
    },
    /// Answer to `ping`.
    #[serde(rename = "pong")]
    Pong {},
    /// Become a member of a channel.
    #[serde(rename = "join")]
    Join {
        id: Id,
        ch: String,
        #[serde(default)]
        since: Option<Since>,
        #[serde(default)]
        history: Option<usize>,
        /// A grant, for a channel that is not for everybody. It counts for `rtc.play` too.
        #[serde(default)]
        token: Option<String>,
    },
    /// Leave it.
    #[serde(rename = "leave")]
    Leave { id: Option<Id>, ch: String },
    /// Say something.
    #[serde(rename = "message", alias = "emote")]
    Message { id: Option<Id>, ch: String, text: String },
    /// Change a guest's name.
    #[serde(rename = "name")]
    Name { id: Option<Id>, name: String },
    /// Watch by WebRTC.
    #[serde(rename = "rtc.play")]
    Play {
        id: Id,
        ch: String,
        sdp: String,
        /// A grant, if `join` brought none.
        #[serde(default)]
        token: Option<String>,
    },
    /// Restart ICE of a peer connection: another network, or a way that broke.
    #[serde(rename = "rtc.restart")]
    Restart { id: Id, pc: String, sdp: String },
    /// Stop or continue sending a kind: `audio` or `video`.
    #[serde(rename = "rtc.pause")]
    Pause { id: Option<Id>, pc: String, kind: String },
    /// See `rtc.pause`.
    #[serde(rename = "rtc.resume")]
    ResumeKind { id: Option<Id>, pc: String, kind: String },
    /// Choose what to see: a layer's `rid`, `none` for sound alone, or `auto` up to `maxHeight` pixels.
    #[serde(rename = "rtc.layer")]
    Layer {
        id: Option<Id>,
        pc: String,
        #[serde(default)]
        rid: Option<String>,
        #[serde(default, rename = "maxHeight")]
        max_height: Option<u32>,
    },
    /// How a peer connection is doing, as the server sees it. Once in ten seconds.
    #[serde(rename = "rtc.stats")]
    Stats { id: Id, pc: String },
    /// A trickled candidate. The answer holds all of ours and we learn the client's from its checks.
    #[serde(rename = "rtc.candidate")]
    Candidate {},
    /// Stop watching.
    #[serde(rename = "rtc.close")]
    Close { id: Option<Id>, pc: String },
}

/// Which session to continue.
#[derive(Debug, Deserialize)]
pub(crate) struct Resume {
    /// From `welcome`.
    pub(crate) session: String,
}

/// What a member has seen of a room.
#[derive(Debug, Deserialize)]
pub(crate) struct Since {
    /// From `joined`.
    pub(crate) epoch: String,
    /// The newest number seen.
    pub(crate) seq: u64,
}

/// Why a frame is refused, as `error.code`.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The request's id.
    pub(crate) re: Option<Id>,
    /// Stable name.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
}

impl Refusal {
    /// A refusal that stays.
    pub(crate) fn new(re: Option<Id>, code: &'static str, message: impl Into<String>) -> Self {
        Self { re, code, message: message.into(), retryable: false }
    }

    /// A refusal that may pass.
    pub(crate) fn retryable(re: Option<Id>, code: &'static str, message: impl Into<String>) -> Self {
        Self { re, code, message: message.into(), retryable: true }
    }

    /// The `error` frame.
    pub(crate) fn frame(&self) -> Value {
        let error = json!({ "code": self.code, "message": self.message, "retryable": self.retryable });
        with_re(json!({ "type": "error", "error": error }), self.re.as_ref())
    }
}

/// Adds `re` to an answer.
pub(crate) fn with_re(mut frame: Value, re: Option<&Id>) -> Value {
    if let (Some(re), Value::Object(fields)) = (re, &mut frame) {
        fields.insert("re".to_owned(), json!(re));
    }
    frame
}

/// Reads one line.
///
/// # Errors
/// The refusal to send back; it carries the request's id if that much could be read.
pub(crate) fn parse(line: &str) -> Result<Request, Refusal> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| Refusal::new(None, "bad_request", format!("not a JSON object: {error}")))?;
    let id = value.get("id").cloned().and_then(|id| serde_json::from_value::<Id>(id).ok());
    if matches!(&id, Some(Id::Text(text)) if text.chars().count() > ID_CHARS_MAX) {
        return Err(Refusal::new(None, "bad_request", "id is longer than 32 characters"));
    }
    let Some(kind) = value.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err(Refusal::new(id, "bad_request", "type is missing"));
    };
    serde_json::from_value(value).map_err(|error| {
        let code =
            if error.to_string().starts_with("unknown variant") { "unknown_type" } else { "bad_request" };
        Refusal::new(id, code, format!("{kind}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_bad_ones_named() {
        assert!(matches!(parse(r#"{"type":"hello","v":1,"extra":true}"#), Ok(Request::Hello { v: 1, .. })));
        assert!(matches!(
            parse(r#"{"type":"emote","ch":"stream:a","text":":)"}"#),
            Ok(Request::Message { .. })
        ));
        for (line, code, re) in [
            ("", "bad_request", None),
            ("[]", "bad_request", None),
            (r#"{"v":1,"id":7}"#, "bad_request", Some(Id::Number(7))),
            (r#"{"type":"nope","id":"x"}"#, "unknown_type", Some(Id::Text("x".into()))),
            (r#"{"type":"join","id":1}"#, "bad_request", Some(Id::Number(1))),
            (r#"{"type":"join","id":{},"ch":"x"}"#, "bad_request", None),
        ] {
            let refusal = parse(line).expect_err(line);
            assert_eq!((refusal.code, refusal.re), (code, re), "{line}");
        }
    }
}
