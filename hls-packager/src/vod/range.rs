//! Byte ranges (RFC 9110 section 14). Pure.

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, one that cannot be read, or several. A server may ignore those (section 14.2).
    All,
    /// The bytes from the first number to before the second.
    Range(u64, u64),
    /// A range of which there is nothing: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads a Range header for a file of `len` bytes.
    pub(crate) fn parse(header: Option<&str>, len: u64) -> Self {
        let Some((unit, set)) = header.and_then(|header| header.split_once('=')) else { return Self::All };
        if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
            return Self::All;
        }
        let Some((first, last)) = set.trim().split_once('-') else { return Self::All };
        match (number(first), number(last)) {
            (Some(Some(first)), Some(None)) => Self::between(first, len, len),
            (Some(Some(first)), Some(Some(last))) if first <= last => {
                Self::between(first, last.saturating_add(1), len)
            }
            // The last so many bytes.
            (Some(None), Some(Some(count))) if count > 0 => {
                Self::between(len.saturating_sub(count), len, len)
            }
            (Some(None), Some(Some(_))) => Self::Unsatisfiable,
            _ => Self::All,
        }
    }

    fn between(from: u64, to: u64, len: u64) -> Self {
        if from >= len { Self::Unsatisfiable } else { Self::Range(from, to.min(len)) }
    }
}

/// `Some(None)`: nothing stands there. Digits that are too many stand for the largest number.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_rfc_9110_has_them() {
        for (header, wanted) in [
            (None, Wanted::All),
            (Some("bytes=0-"), Wanted::Range(0, 1000)),
            (Some("bytes=0-0"), Wanted::Range(0, 1)),
            (Some("bytes=500-999"), Wanted::Range(500, 1000)),
            (Some("bytes=500-99999999999999999999999"), Wanted::Range(500, 1000)),
            (Some("Bytes=-300"), Wanted::Range(700, 1000)),
            (Some("bytes=-5000"), Wanted::Range(0, 1000)),
            (Some("bytes=1000-"), Wanted::Unsatisfiable),
            (Some("bytes=1000-1001"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=5-3"), Wanted::All),
            (Some("bytes=0-1,5-6"), Wanted::All),
            (Some("bytes=a-b"), Wanted::All),
            (Some("bytes=--1"), Wanted::All),
            (Some("bytes="), Wanted::All),
            (Some("seconds=0-1"), Wanted::All),
        ] {
            assert_eq!(Wanted::parse(header, 1000), wanted, "{header:?}");
        }
        assert_eq!(Wanted::parse(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }
}
