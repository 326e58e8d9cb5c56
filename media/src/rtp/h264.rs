//! RFC 6184: H.264 in RTP, packetization mode 1.

use crate::{Frame, RtpPacket};

/// Frames to packets.
#[derive(Debug, Default)]
pub struct Packetizer {}

impl Packetizer {
    /// A packetizer.
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends the packets of `frame`.
    pub fn packetize(&mut self, _frame: &Frame, _out: &mut Vec<RtpPacket>) {}
}

/// Packets to frames.
#[derive(Debug, Default)]
pub struct Depacketizer {}

impl Depacketizer {
    /// A depacketizer.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes the next packet in order.
    pub fn depacketize(&mut self, _packet: &RtpPacket, _out: &mut Vec<Frame>) {}
}
