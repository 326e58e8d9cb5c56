//! Names and ids. Newtypes, so that a channel never stands where a stream should.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// Longest channel name in bytes: fits a DNS label, a path segment and a mobile screen.
pub const CHANNEL_NAME_BYTES_MAX: usize = 40;

/// The name of a Channel as it stands in URLs: `[a-z0-9_-]{1,40}`, lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks and lower-cases `name`.
    ///
    /// # Errors
    /// [`Error::ChannelName`] if it is empty, too long or has a character outside `[A-Za-z0-9_-]`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let valid = !name.is_empty()
            && name.len() <= CHANNEL_NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !valid {
            return Err(Error::ChannelName { length: name.len() });
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One broadcast. Shown as `s` and 13 base-32 digits, so that it can stand in URLs and file names.
///
/// Ids grow with time (unix milliseconds in the upper bits), so a list of them sorts by start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// Makes an id from its number. The caller sees to it that it is unique on this node.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Reads what [`fmt::Display`] printed.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('s')?;
        if digits.len() != 13 {
            return None;
        }
        let mut raw: u64 = 0;
        for digit in digits.bytes() {
            let value = BASE32.iter().position(|&b| b == digit)?;
            raw = raw.checked_mul(32)?.checked_add(value as u64)?;
        }
        Some(Self(raw))
    }
}

/// Crockford's base 32, lower case: no `i l o u`.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b's'; 14];
        let mut rest = self.0;
        for place in text[1..].iter_mut().rev() {
            *place = BASE32[(rest % 32) as usize];
            rest /= 32;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or("s"))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Longest RID: RFC 8852 section 3.1 allows 255 characters; encoders use one or two.
pub const RID_BYTES_MAX: usize = 32;

/// The name of a Layer: an RTP stream id (RFC 8852) or the name of a ladder rung. Empty for the only Layer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Rid(Arc<str>);

impl Rid {
    /// The Layer of a Track that has just one.
    pub fn single() -> Self {
        Self::default()
    }

    /// Checks a RID: alphanumeric, `-` and `_` (RFC 8852 section 3.1 and its erratum).
    ///
    /// # Errors
    /// [`Error::Rid`] if it is too long or has another character.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let valid = text.len() <= RID_BYTES_MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if valid { Ok(Self(text.into())) } else { Err(Error::Rid { length: text.len() }) }
    }

    /// The RID as text; empty for [`Rid::single`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_are_checked_and_lowered() {
        for (text, name) in
            [("Ana", Some("ana")), ("a_b-9", Some("a_b-9")), ("", None), ("a/b", None), ("ä", None)]
        {
            assert_eq!(ChannelName::parse(text).ok().as_ref().map(ChannelName::as_str), name, "{text}");
        }
        assert!(ChannelName::parse(&"a".repeat(CHANNEL_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn stream_ids_survive_text() {
        for raw in [0, 1, 31, 32, u64::MAX] {
            let id = StreamId::from_raw(raw);
            assert_eq!(StreamId::parse(&id.to_string()), Some(id));
        }
        for bad in ["", "s", "s00000000000", "x0000000000000", "szzzzzzzzzzzzz", "s000000000000!"] {
            assert_eq!(StreamId::parse(bad), None, "{bad}");
        }
    }
}
