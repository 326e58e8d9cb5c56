//! The names of the Renditions of a Stream.

use media::Kind;

/// Video Renditions of a Stream at most: simulcast has three Layers, a ladder five rungs. Layers beyond are not
/// packaged; logged.
pub(crate) const VIDEO_MAX: usize = VIDEO.len();

/// As they stand in URLs. The first one is as it was before there were several.
const VIDEO: [&str; 8] = ["video", "video1", "video2", "video3", "video4", "video5", "video6", "video7"];
const AUDIO: &str = "audio";

/// Which Rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// A video Rendition, by number; below [`VIDEO_MAX`].
    Video(u8),
    /// The audio Rendition.
    Audio,
}

impl Name {
    /// Names that there can be.
    pub(crate) const COUNT: usize = VIDEO_MAX + 1;

    /// The only video Rendition of most Streams.
    #[cfg(test)]
    pub(crate) const VIDEO: Self = Self::Video(0);

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..VIDEO_MAX).map(Self::video).chain([Self::Audio])
    }

    /// The video Rendition of that number.
    pub(crate) fn video(number: usize) -> Self {
        Self::Video(u8::try_from(number).unwrap_or(u8::MAX))
    }

    /// As it stands in URLs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Video(number) => VIDEO.get(usize::from(number)).copied().unwrap_or_default(),
            Self::Audio => AUDIO,
        }
    }

    /// Reads [`Self::as_str`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::all().find(|name| name.as_str() == text)
    }

    /// Its place in tables of [`Self::COUNT`].
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::Video(number) => usize::from(number) % VIDEO_MAX,
            Self::Audio => VIDEO_MAX,
        }
    }

    /// Audio or video.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Video(_) => Kind::Video,
            Self::Audio => Kind::Audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_have_places_of_their_own() {
        let mut slots = std::collections::HashSet::new();
        for name in Name::all() {
            assert_eq!(Name::parse(name.as_str()), Some(name));
            assert!(name.slot() < Name::COUNT && slots.insert(name.slot()));
        }
        for text in ["", "video0", "video8", "video01", "Audio"] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
