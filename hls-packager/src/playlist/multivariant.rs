//! The Multivariant Playlist.

use std::fmt;

/// `EXT-X-VERSION`, the same as in the Media Playlists.
const VERSION: u8 = super::media::VERSION;

/// A Multivariant Playlist.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Multivariant {
    /// `EXT-X-INDEPENDENT-SEGMENTS`: every segment of every rendition starts with a keyframe.
    pub independent_segments: bool,
    /// `EXT-X-MEDIA`.
    pub media: Vec<AudioMedia>,
    /// `EXT-X-STREAM-INF`.
    pub variants: Vec<StreamInf>,
}

/// `EXT-X-MEDIA` with `TYPE=AUDIO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioMedia {
    /// `GROUP-ID`.
    pub group_id: &'static str,
    /// `NAME`.
    pub name: &'static str,
    /// `CHANNELS`.
    pub channels: u8,
    /// `URI`.
    pub uri: String,
}

/// `EXT-X-STREAM-INF`.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamInf {
    /// `BANDWIDTH`: bits per second of the largest segment.
    pub bandwidth: u64,
    /// `AVERAGE-BANDWIDTH`.
    pub average_bandwidth: u64,
    /// `CODECS`.
    pub codecs: Vec<String>,
    /// `RESOLUTION`.
    pub resolution: Option<(u32, u32)>,
    /// `FRAME-RATE`.
    pub frame_rate: Option<f64>,
    /// `AUDIO`.
    pub audio: Option<&'static str>,
    /// The Media Playlist.
    pub uri: String,
}

impl fmt::Display for Multivariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#EXTM3U")?;
        writeln!(f, "#EXT-X-VERSION:{VERSION}")?;
        if self.independent_segments {
            writeln!(f, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        for media in &self.media {
            writeln!(f, "{media}")?;
        }
        for variant in &self.variants {
            writeln!(f, "{variant}\n{}", variant.uri)?;
        }
        Ok(())
    }
}

impl fmt::Display for AudioMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Encoders do not say the language: "und" is what ISO 639-2 has for that.
        write!(
            f,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"{}\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,\
             CHANNELS=\"{}\",URI=\"{}\"",
            self.group_id, self.name, self.channels, self.uri
        )
    }
}

impl fmt::Display for StreamInf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            self.bandwidth,
            self.average_bandwidth,
            self.codecs.join(",")
        )?;
        if let Some((width, height)) = self.resolution {
            write!(f, ",RESOLUTION={width}x{height}")?;
        }
        if let Some(rate) = self.frame_rate {
            write!(f, ",FRAME-RATE={rate:.3}")?;
        }
        if let Some(group) = self.audio {
            write!(f, ",AUDIO=\"{group}\"")?;
        }
        // Captions in SEI are not looked for; without this attribute a player may offer empty ones.
        if self.resolution.is_some() { f.write_str(",CLOSED-CAPTIONS=NONE") } else { Ok(()) }
    }
}
