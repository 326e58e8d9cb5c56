//! RFC 7587: Opus in RTP.

use crate::{Frame, RtpPacket};

/// One packet per frame.
pub fn packetize(_frame: &Frame, _out: &mut Vec<RtpPacket>) {}

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
