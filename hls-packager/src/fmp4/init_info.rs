//! What an init segment says about its Track, read back from its boxes.

use media::{Kind, Timescale};

use super::movie::child;

/// What an init segment says. For repairs: the journal of a recording says it better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitInfo {
    pub(crate) kind: Kind,
    pub(crate) scale: Timescale,
    /// RFC 6381, as far as the boxes tell.
    pub(crate) codecs: String,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) channels: Option<u8>,
}

impl InitInfo {
    /// Reads an init segment of ours; `None` if it is not whole.
    pub(crate) fn read(init: &[u8]) -> Option<Self> {
        let mdia = child(child(child(init, b"moov")?, b"trak")?, b"mdia")?;
        let kind = match child(mdia, b"hdlr")?.get(8..12)? {
            b"vide" => Kind::Video,
            b"soun" => Kind::Audio,
            _ => return None,
        };
        let mdhd = child(mdia, b"mdhd")?;
        let at = if mdhd.first()? == &1 { 20 } else { 12 };
        let scale = Timescale::new(u32::from_be_bytes(mdhd.get(at..at + 4)?.try_into().ok()?))?;
        let stsd = child(child(child(mdia, b"minf")?, b"stbl")?, b"stsd")?;
        let entry = stsd.get(8..)?;
        let name = std::str::from_utf8(entry.get(4..8)?).ok()?;
        let half = |at: usize| Some(u16::from_be_bytes(entry.get(at..at + 2)?.try_into().ok()?));
        let (size, channels) = match kind {
            Kind::Video => (Some((u32::from(half(32)?), u32::from(half(34)?))), None),
            Kind::Audio => (None, u8::try_from(half(24)?).ok()),
        };
        let codecs = match name {
            // The boxes of a visual sample entry begin behind its 78 bytes.
            "avc1" => {
                let avcc = child(entry.get(86..)?, b"avcC")?;
                let [_, profile, flags, level] = avcc.get(..4)? else { return None };
                format!("avc1.{profile:02x}{flags:02x}{level:02x}")
            }
            "mp4a" => "mp4a.40.2".to_owned(),
            "Opus" => "opus".to_owned(),
            other => other.to_owned(),
        };
        Some(Self { kind, scale, codecs, size, channels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_says_what_it_was_made_of() {
        let config = crate::tests::source::video_config(crate::tests::SPS);
        let init = super::super::init(&config, Timescale::VIDEO).expect("an init");
        let found = InitInfo::read(&init).expect("whole");
        assert_eq!((found.kind, found.scale, found.size), (Kind::Video, Timescale::VIDEO, Some((1280, 720))));
        assert_eq!(found.codecs, config.rfc6381());
        let config = crate::tests::source::audio_config(44_100);
        let init = super::super::init(&config, Timescale::new(44_100).expect("a rate")).expect("an init");
        let found = InitInfo::read(&init).expect("whole");
        assert_eq!((found.kind, found.scale.hz(), found.channels), (Kind::Audio, 44_100, Some(2)));
        assert_eq!(found.codecs, config.rfc6381());
        for cut in 0..init.len() {
            let _ = InitInfo::read(&init[..cut]);
        }
    }
}
