//! What a backend's answer means. Anything that does not clearly allow refuses.

use media::ChannelName;
use serde_json::Value;

/// Longest sentence of a backend that is handed to an encoder or a viewer.
const MESSAGE_CHARS_MAX: usize = 200;

/// What a backend said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It may be. The Channel, if it named one.
    Allowed { channel: Option<ChannelName> },
    /// It may not be: why, if it said so.
    Refused { message: Option<String> },
    /// It said neither: it is broken, busy, or no such backend.
    Broken(String),
}

/// Reads an answer: `0` or `{"code": 0}` with a 2xx allows, another code or a 4xx refuses.
pub(super) fn read(status: u16, body: &[u8]) -> Answer {
    match status {
        200..=299 => read_body(body),
        300..=399 => Answer::Broken(format!("it redirects (status {status}), which is not followed")),
        // It would answer if it could.
        408 | 425 | 429 => Answer::Broken(format!("it is busy (status {status})")),
        400..=499 => {
            Answer::Refused { message: serde_json::from_slice(body).ok().and_then(|it| message(&it)) }
        }
        _ => Answer::Broken(format!("status {status}")),
    }
}

fn read_body(body: &[u8]) -> Answer {
    if body.trim_ascii().is_empty() {
        return Answer::Broken("the answer is empty: 0 or {\"code\": 0} allows".to_owned());
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Answer::Broken("the answer is no JSON: 0 or {\"code\": 0} allows".to_owned());
    };
    let code = match &value {
        Value::Object(fields) => fields.get("code"),
        other => Some(other),
    };
    match code.and_then(Value::as_i64) {
        Some(0) => Answer::Allowed { channel: channel(&value) },
        Some(_) => Answer::Refused { message: message(&value) },
        None => Answer::Broken("the answer has no number `code`".to_owned()),
    }
}

/// `{"code": 0, "data": {"channel": "ana"}}`: a backend that knows the keys says whose they are.
fn channel(value: &Value) -> Option<ChannelName> {
    ChannelName::parse(value.get("data")?.get("channel")?.as_str()?).ok()
}

/// The sentence: `msg` or `message` of SRS-like backends, `detail` of FastAPI and of problem documents.
fn message(value: &Value) -> Option<String> {
    let text = ["msg", "message", "detail"].iter().find_map(|key| value.get(key)?.as_str())?;
    let text: String = text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        let allowed = |channel: Option<&str>| Answer::Allowed {
            channel: channel.map(|name| ChannelName::parse(name).expect("a name")),
        };
        let refused = |message: Option<&str>| Answer::Refused { message: message.map(str::to_owned) };
        for (status, body, answer) in [
            (200, "0", allowed(None)),
            (200, " 0\n", allowed(None)),
            (201, r#"{"code":0}"#, allowed(None)),
            (204, r#"{"code":0,"data":null}"#, allowed(None)),
            (200, r#"{"code":0,"data":{"channel":"ana"}}"#, allowed(Some("ana"))),
            (200, r#"{"code":0,"data":{"channel":"not a name!"}}"#, allowed(None)),
            (200, "1", refused(None)),
            (200, "-1", refused(None)),
            (200, r#"{"code":100,"msg":"not today"}"#, refused(Some("not today"))),
            (403, r#"{"detail":"Invalid stream key"}"#, refused(Some("Invalid stream key"))),
            (403, r#"{"code":0}"#, refused(None)),
            (404, "<h1>404</h1>", refused(None)),
            (422, r#"{"detail":[{"loc":["body"]}]}"#, refused(None)),
            (401, "{\"detail\":\"a\\u0000b\\n\"}", refused(Some("ab"))),
        ] {
            assert_eq!(read(status, body.as_bytes()), answer, "{status} {body}");
        }
        assert_eq!(
            read(403, format!("{{\"detail\":\"{}\"}}", "x".repeat(9999)).as_bytes()),
            refused(Some(&"x".repeat(200)))
        );
    }

    #[test]
    fn a_liar_is_no_yes() {
        let deep = "[".repeat(10_000);
        for (status, body) in [
            (200, ""),
            (200, "  "),
            (200, "OK"),
            (200, "<html>0</html>"),
            (200, "true"),
            (200, "null"),
            (200, "[0]"),
            (200, "\"0\""),
            (200, "0.5"),
            (200, "00"),
            (200, "0 0"),
            (200, "{}"),
            (200, r#"{"code":"0"}"#),
            (200, r#"{"code":null}"#),
            (200, r#"{"code":[0]}"#),
            (200, r#"{"code":1e999}"#),
            (200, r#"{"code":0"#),
            (200, r#"{"Code":0}"#),
            (200, &deep),
            (302, "0"),
            (301, r#"{"code":0}"#),
            (429, "0"),
            (500, "0"),
            (503, r#"{"code":0}"#),
            (101, "0"),
            (999, "0"),
        ] {
            assert!(matches!(read(status, body.as_bytes()), Answer::Broken(_)), "{status} {body:.40}");
        }
    }
}
