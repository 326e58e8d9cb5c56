//! Codecs, and what a decoder must know before the first frame.

use crate::{aac, av1, h264, h265, opus, vp8, vp9};

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
    /// ITU-T H.265 (HEVC), RTP by RFC 7798.
    H265,
    /// RFC 6386, RTP by RFC 7741.
    Vp8,
    /// VP9, RTP by RFC 9628.
    Vp9,
    /// AV1, RTP by the RTP Payload Format For AV1.
    Av1,
    /// MPEG-4 AAC. No RTP face here: browsers do not receive it.
    Aac,
    /// RFC 6716, RTP by RFC 7587.
    Opus,
}

impl Codec {
    /// Audio or video.
    pub const fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => Kind::Video,
            Self::Aac | Self::Opus => Kind::Audio,
        }
    }

    /// The name as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
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
    /// Parameter sets.
    H265(h265::Config),
    /// Size.
    Vp8(vp8::Config),
    /// Profile, colours, size.
    Vp9(vp9::Config),
    /// Sequence header.
    Av1(av1::Config),
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
            Self::H265(_) => Codec::H265,
            Self::Vp8(_) => Codec::Vp8,
            Self::Vp9(_) => Codec::Vp9,
            Self::Av1(_) => Codec::Av1,
            Self::Aac(_) => Codec::Aac,
            Self::Opus(_) => Codec::Opus,
        }
    }

    /// The `codecs` parameter of RFC 6381, for example `avc1.64001f` or `mp4a.40.2`.
    pub fn rfc6381(&self) -> String {
        match self {
            Self::H264(config) => config.rfc6381(),
            Self::H265(config) => config.rfc6381(),
            Self::Vp8(_) => "vp8".to_owned(),
            Self::Vp9(config) => config.rfc6381(),
            Self::Av1(config) => config.rfc6381(),
            Self::Aac(config) => config.rfc6381(),
            Self::Opus(_) => "opus".to_owned(),
        }
    }

    /// Width and height in pixels, for video whose configuration says it.
    pub fn size(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => Some((config.width, config.height)),
            Self::H265(config) => Some((config.sequence.width, config.sequence.height)),
            Self::Vp8(config) => Some((config.width, config.height)),
            Self::Vp9(config) => Some((config.width, config.height)),
            Self::Av1(config) => Some((config.sequence.width, config.sequence.height)),
            Self::Aac(_) | Self::Opus(_) => None,
        }
    }
}
