//! What is said, and by whom, as it stands on the wire (`message`, `emote`).

use serde::Serialize;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Stable id, for example `gst_01J…`.
    pub id: String,
    /// Unique name, lower case.
    pub login: String,
    /// The name to show.
    pub display: String,
    /// Marks of honour.
    pub badges: Vec<Badge>,
}

/// A mark beside a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Badge {
    /// Which kind, for example `broadcaster`.
    pub set: String,
    /// Which of the kind.
    pub version: String,
}

/// The two types of the seed protocol that people send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    Message,
    /// Emotes only; shown large.
    Emote,
}

/// A piece of a message: clients never parse text themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Fragment {
    /// Plain text.
    Text {
        /// The text.
        v: String,
    },
    /// `@name`.
    Mention {
        /// With the `@`.
        v: String,
    },
}

/// One message of a Room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `message` or `emote`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// ULID; sorts by time.
    pub id: String,
    /// The channel address, for example `stream:ana`.
    pub ch: String,
    /// Grows by one per message of the Room's epoch.
    pub seq: u64,
    /// Unix milliseconds.
    pub ts: u64,
    /// Who.
    pub user: User,
    /// The text, trimmed.
    pub text: String,
    /// The same in pieces.
    pub frags: Vec<Fragment>,
}

/// Splits a text into plain text and mentions.
pub(crate) fn fragments(text: &str) -> Vec<Fragment> {
    let mut fragments: Vec<Fragment> = Vec::new();
    let mut plain = String::new();
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(' ');
        let name = bare.strip_prefix('@').unwrap_or("");
        let is_mention =
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if !is_mention {
            plain.push_str(word);
            continue;
        }
        if !plain.is_empty() {
            fragments.push(Fragment::Text { v: std::mem::take(&mut plain) });
        }
        fragments.push(Fragment::Mention { v: bare.to_owned() });
        plain.push_str(&word[bare.len()..]);
    }
    if !plain.is_empty() {
        fragments.push(Fragment::Text { v: plain });
    }
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_told_from_text() {
        let text = |v: &str| Fragment::Text { v: v.to_owned() };
        let mention = |v: &str| Fragment::Mention { v: v.to_owned() };
        for (from, to) in [
            ("hi @bo you", vec![text("hi "), mention("@bo"), text(" you")]),
            ("@bo", vec![mention("@bo")]),
            ("a@b @ @!", vec![text("a@b @ @!")]),
            ("", vec![]),
        ] {
            assert_eq!(fragments(from), to, "{from}");
        }
    }
}
