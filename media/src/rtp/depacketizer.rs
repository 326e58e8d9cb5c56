//! RTP packets to frames: one face of a Track into the other.

use crate::{Codec, Frame, RtpPacket};

use super::{h264, opus};

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
pub enum Depacketizer {
    /// RFC 6184.
    H264(Box<h264::Depacketizer>),
    /// RFC 7587.
    Opus(opus::Depacketizer),
}

impl Depacketizer {
    /// A depacketizer for `codec`, or `None` if the codec has no frame face from RTP here.
    pub fn for_codec(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(Self::H264(Box::default())),
            Codec::Opus => Some(Self::Opus(opus::Depacketizer::new())),
            Codec::Vp8 | Codec::Aac => None,
        }
    }

    /// Takes the next packet; appends every frame that it completes to `out`.
    ///
    /// A hole in the sequence numbers drops the frame that it fell into, and for video every frame up to
    /// the next keyframe.
    pub fn depacketize(&mut self, packet: &RtpPacket, out: &mut Vec<Frame>) {
        match self {
            Self::H264(format) => format.depacketize(packet, out),
            Self::Opus(format) => format.depacketize(packet, out),
        }
    }

    /// What did not become a frame so far.
    pub fn losses(&self) -> Losses {
        match self {
            Self::H264(format) => format.losses(),
            Self::Opus(format) => format.losses(),
        }
    }
}
