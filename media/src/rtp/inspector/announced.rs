//! What the first packets of a keyframe tell about the stream.

use crate::av1::{self, Obu, obu};
use crate::h265::{self, NalHeader};
use crate::rtp::av1::AggregationHeader;
use crate::rtp::h265::Aggregated;
use crate::rtp::{vp8, vp9};
use crate::vp9::FrameHeader;
use crate::{Codec, CodecConfig, h264};

/// What a stream is, from its parameter sets or the header of a keyframe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Width and height in pixels, of the highest layer in it.
    pub size: (u32, u32),
    /// The `codecs` string (RFC 6381).
    pub codecs: String,
    /// How many frames may precede one in decoding order and follow it in presentation, if it says.
    pub reorder_frames: Option<u32>,
}

impl Announced {
    /// Reads it from a payload; `None` if it does not stand there.
    pub fn read(codec: Codec, payload: &[u8]) -> Option<Self> {
        match codec {
            Codec::H264 => read_h264(payload),
            Codec::H265 => read_h265(payload),
            Codec::Vp8 => {
                let descriptor = vp8::Descriptor::parse(payload).filter(vp8::Descriptor::starts_frame)?;
                let tag = crate::vp8::FrameTag::parse(payload.get(descriptor.length..)?)?;
                Some(Self { size: tag.size?, codecs: "vp8".to_owned(), reorder_frames: Some(0) })
            }
            Codec::Vp9 => read_vp9(payload),
            Codec::Av1 => read_av1(payload),
            Codec::Opus | Codec::Aac => None,
        }
    }

    fn of_config(config: &CodecConfig, reorder_frames: u32) -> Option<Self> {
        Some(Self { size: config.size()?, codecs: config.rfc6381(), reorder_frames: Some(reorder_frames) })
    }
}

/// The sequence parameter set that a packet begins with.
fn read_h264(payload: &[u8]) -> Option<Announced> {
    let nal = match payload {
        [first, rest @ ..] if first & 0x1f == h264::unit_type::STAP_A => {
            let (&size, rest) = rest.split_first_chunk()?;
            rest.get(..usize::from(u16::from_be_bytes(size)))?
        }
        nal => nal,
    };
    let sps = h264::Sps::parse(nal).ok()?;
    Some(Announced {
        size: (sps.width, sps.height),
        codecs: sps.rfc6381(),
        reorder_frames: sps.reorder_frames,
    })
}

/// The sequence parameter set of the base layer in a packet: behind the video parameter set, if both are there.
fn read_h265(payload: &[u8]) -> Option<Announced> {
    let is_sps = |nal: &&[u8]| {
        NalHeader::split(nal)
            .is_some_and(|(header, _)| header.unit_type() == h265::unit_type::SPS && header.layer_id() == 0)
    };
    let (header, rest) = NalHeader::split(payload)?;
    let nal = match header.unit_type() {
        h265::unit_type::AGGREGATION => Aggregated(rest).map_while(|unit| unit).find(is_sps),
        _ => Some(payload).filter(is_sps),
    };
    let sps = h265::Sps::parse(nal?).ok()?;
    Some(Announced {
        size: (sps.width, sps.height),
        codecs: sps.profile.rfc6381(),
        reorder_frames: Some(u32::from(sps.reorder_frames)),
    })
}

fn read_vp9(payload: &[u8]) -> Option<Announced> {
    let descriptor = vp9::Descriptor::parse(payload).filter(vp9::Descriptor::starts_picture)?;
    let Some(FrameHeader::Key(Some(mut config))) = FrameHeader::parse(&payload[descriptor.length..]) else {
        return None;
    };
    // The frame itself says only the size of the lowest spatial layer.
    if let Some((width, height)) = descriptor.size {
        (config.width, config.height) = (width, height);
    }
    Announced::of_config(&CodecConfig::Vp9(config), 0)
}

fn read_av1(payload: &[u8]) -> Option<Announced> {
    let (header, mut elements) = AggregationHeader::parse(payload)?;
    if header.continues {
        return None;
    }
    let sequence = elements
        .by_ref()
        .map_while(|element| Obu::parse(element?))
        .find(|obu| obu.kind == obu::kind::SEQUENCE_HEADER)?;
    let config = av1::Config::from_sequence_header(sequence.payload).ok()?;
    Announced::of_config(&CodecConfig::Av1(config), 0)
}
