//! The names of the files of a Rendition.

/// The name of a file of a Rendition, without its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    /// `init{generation}.mp4`.
    Init(u64),
    /// `p{number}.m4s`. Numbered through the Stream, not per segment: the hint for the next part is right
    /// whichever segment it falls into.
    Part(u64),
    /// `s{msn}.m4s`.
    Segment(u64),
}

impl FileName {
    /// Reads a file name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| -> Option<u64> {
            let canonical = text == "0" || !text.starts_with('0');
            (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
        };
        if let Some(generation) = text.strip_prefix("init").and_then(|text| text.strip_suffix(".mp4")) {
            return digits(generation).map(Self::Init);
        }
        let text = text.strip_suffix(".m4s")?;
        match text.strip_prefix('p') {
            Some(number) => digits(number).map(Self::Part),
            None => digits(text.strip_prefix('s')?).map(Self::Segment),
        }
    }

    /// As it stands in a playlist.
    pub(crate) fn uri(self) -> String {
        match self {
            Self::Init(generation) => format!("init{generation}.mp4"),
            Self::Part(number) => format!("p{number}.m4s"),
            Self::Segment(msn) => format!("s{msn}.m4s"),
        }
    }
}
