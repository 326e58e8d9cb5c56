//! RTP packets to frames: one face of a Track into the other.

use crate::{Codec, Frame, RtpPacket};

use super::{av1, h264, h265, opus, vp9};

/// What did not become a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Holes in the sequence numbers.
    pub holes: u64,
    /// Frames dropped: with a hole in them, behind one and before the next keyframe, or too large.
    pub frames: u64,
    /// Payloads that break their format, or use a part of it that nobody negotiated.
    pub refused: u64,
}

impl std::ops::Add for Losses {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            holes: self.holes + other.holes,
            frames: self.frames + other.frames,
            refused: self.refused + other.refused,
        }
    }
}

/// Joins the packets of one Layer, given in order of sequence number, to frames.
#[derive(Debug)]
pub struct Depacketizer(Format);

#[derive(Debug)]
enum Format {
    H264(Box<h264::Depacketizer>),
    H265(Box<h265::Depacketizer>),
    Vp9(Box<vp9::Depacketizer>),
    Av1(Box<av1::Depacketizer>),
    Opus(opus::Depacketizer),
}

impl Depacketizer {
    /// A depacketizer for `codec`, or `None` if the codec has no frame face from RTP here.
    pub fn for_codec(codec: Codec) -> Option<Self> {
        let format = match codec {
            Codec::H264 => Format::H264(Box::default()),
            Codec::H265 => Format::H265(Box::default()),
            Codec::Vp9 => Format::Vp9(Box::default()),
            Codec::Av1 => Format::Av1(Box::default()),
            Codec::Opus => Format::Opus(opus::Depacketizer::new()),
            Codec::Vp8 | Codec::Aac => return None,
        };
        Some(Self(format))
    }

    /// Takes the next packet; appends every frame that it completes to `out`.
    ///
    /// A hole in the sequence numbers drops the frame that it fell into, and for video every frame up to
    /// the next keyframe.
    pub fn depacketize(&mut self, packet: &RtpPacket, out: &mut Vec<Frame>) {
        match &mut self.0 {
            Format::H264(format) => format.depacketize(packet, out),
            Format::H265(format) => format.depacketize(packet, out),
            Format::Vp9(format) => format.depacketize(packet, out),
            Format::Av1(format) => format.depacketize(packet, out),
            Format::Opus(format) => format.depacketize(packet, out),
        }
    }

    /// What did not become a frame so far.
    pub fn losses(&self) -> Losses {
        match &self.0 {
            Format::H264(format) => format.losses(),
            Format::H265(format) => format.losses(),
            Format::Vp9(format) => format.losses(),
            Format::Av1(format) => format.losses(),
            Format::Opus(format) => format.losses(),
        }
    }
}
