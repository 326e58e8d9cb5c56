//! Frames to RTP packets: one face of a Track into the other.

use crate::{Codec, Frame, RtpPacket};

use super::{h264, opus};

/// Splits the frames of one Layer into RTP packets. Owns the sequence number.
#[derive(Debug)]
pub struct Packetizer {
    seq: u64,
    format: Format,
}

#[derive(Debug)]
enum Format {
    H264(h264::Packetizer),
    Opus,
}

impl Packetizer {
    /// A packetizer for `codec`, or `None` if the codec has no RTP face here (AAC, and what only comes from WebRTC).
    pub fn for_codec(codec: Codec) -> Option<Self> {
        let format = match codec {
            Codec::H264 => Format::H264(h264::Packetizer::new()),
            Codec::Opus => Format::Opus,
            Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Aac => return None,
        };
        Some(Self { seq: 0, format })
    }

    /// The number that the next packet gets.
    pub fn next_seq(&self) -> u64 {
        self.seq
    }

    /// Goes on from `seq`: something else filled the packet face meanwhile.
    pub(crate) fn continue_at(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Appends the packets of `frame` to `out`. `reorders`: the frame is shown before one already sent.
    pub fn packetize(&mut self, frame: &Frame, reorders: bool, out: &mut Vec<RtpPacket>) {
        let from = out.len();
        match &mut self.format {
            Format::H264(format) => format.packetize(frame, out),
            Format::Opus => opus::packetize(frame, out),
        }
        for packet in &mut out[from..] {
            packet.seq = self.seq;
            packet.reorders = reorders;
            self.seq += 1;
        }
    }
}
