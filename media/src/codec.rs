//! Codecs, and what a decoder must know before the first frame.

use crate::{aac, h264, opus, vp8};

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

impl Kind {
    /// `audio` or `video`, as in SDP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// A codec that Swiftwater carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Codec {
    /// ITU-T H.264, RTP by RFC 6184.
    H264,
    /// RFC 6386, RTP by RFC 7741.
    Vp8,
    /// MPEG-4 AAC. No RTP face here: browsers do not receive it.
    Aac,
    /// RFC 6716, RTP by RFC 7587.
    Opus,
}

impl Codec {
    /// Audio or video.
    pub const fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::Vp8 => Kind::Video,
            Self::Aac | Self::Opus => Kind::Audio,
        }
    }

    /// The name as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Vp8 => "VP8",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
        }
    }
}

/// What a decoder must know, per codec.
#[derive(Clone, PartialEq, Debug)]
pub enum CodecConfig {
    /// Parameter sets.
    H264(h264::Config),
    /// Size.
    Vp8(vp8::Config),
    /// AudioSpecificConfig.
    Aac(aac::Config),
    /// Channels and pre-skip.
    Opus(opus::Config),
}

impl CodecConfig {
    /// Whose configuration this is.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::Vp8(_) => Codec::Vp8,
            Self::Aac(_) => Codec::Aac,
            Self::Opus(_) => Codec::Opus,
        }
    }

    /// The `codecs` parameter of RFC 6381, for example `avc1.64001f` or `mp4a.40.2`.
    pub fn rfc6381(&self) -> String {
        match self {
            Self::H264(config) => config.rfc6381(),
            Self::Vp8(_) => "vp8".to_owned(),
            Self::Aac(config) => config.rfc6381(),
            Self::Opus(_) => "opus".to_owned(),
        }
    }

    /// Width and height in pixels, for video whose configuration says it.
    pub fn size(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => Some((config.width, config.height)),
            Self::Vp8(config) => Some((config.width, config.height)),
            Self::Aac(_) | Self::Opus(_) => None,
        }
    }
}
