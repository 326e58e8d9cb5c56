//! RFC 7587: Opus in RTP.

use std::sync::Arc;

use crate::rtp::depacketizer::Losses;
use crate::{CodecConfig, Frame, RtpPacket, opus};

/// One packet per frame (RFC 7587 section 4.2). None for one of more than [`opus::PACKET_BYTES_MAX`]: no datagram takes it.
pub fn packetize(frame: &Frame, out: &mut Vec<RtpPacket>) {
    if frame.data.len() > opus::PACKET_BYTES_MAX {
        return;
    }
    out.push(RtpPacket {
        seq: 0,
        time: frame.pts,
        lag_micros: 0,
        payload: frame.data.clone(),
        // Section 4.1: set at the start of a talk spurt; broadcast sound has none.
        marker: false,
        frame_start: true,
        starts_keyframe: true,
        discardable: false,
        reorders: false,
        temporal_id: 0,
        epoch: frame.epoch,
        arrival: frame.arrival,
    });
}

/// Packets to frames. A hole is a hole: the next packet decodes by itself.
#[derive(Debug)]
pub struct Depacketizer {
    config: Arc<CodecConfig>,
    next_seq: Option<u64>,
    losses: Losses,
}

impl Default for Depacketizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Depacketizer {
    /// A depacketizer. Opus by RTP is two channels, whatever its packets carry (RFC 7587 section 4.1).
    pub fn new() -> Self {
        Self {
            config: Arc::new(CodecConfig::Opus(opus::Config::default())),
            next_seq: None,
            losses: Losses::default(),
        }
    }

    /// What did not become a frame.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Takes the next packet in order.
    pub fn depacketize(&mut self, packet: &RtpPacket, out: &mut Vec<Frame>) {
        if self.next_seq.is_some_and(|next| next != packet.seq) {
            self.losses.holes += 1;
        }
        self.next_seq = Some(packet.seq + 1);
        // Without payload it is padding, or silence that is not sent.
        if packet.payload.is_empty() {
            return;
        }
        let Ok(duration) = opus::packet_samples(&packet.payload) else {
            self.losses.refused += 1;
            return;
        };
        out.push(Frame {
            dts: packet.time,
            pts: packet.time,
            duration,
            keyframe: true,
            discardable: false,
            data: packet.payload.clone(),
            config: Arc::clone(&self.config),
            epoch: packet.epoch,
            arrival: packet.arrival,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::time::tests::origin;
    use crate::{MediaTime, Timescale};

    #[test]
    fn one_packet_is_one_frame_with_its_duration() {
        let mut depacketizer = Depacketizer::new();
        let mut out = Vec::new();
        let mut frame = Frame {
            dts: MediaTime::new(960, Timescale::OPUS),
            pts: MediaTime::new(960, Timescale::OPUS),
            duration: 960,
            keyframe: true,
            discardable: false,
            data: Bytes::from_static(&[0xfc, 1, 2]),
            config: Arc::new(CodecConfig::Opus(opus::Config::default())),
            epoch: 3,
            arrival: origin(),
        };
        let mut packets = Vec::new();
        packetize(&frame, &mut packets);
        let [mut packet] = packets.try_into().expect("one packet");
        depacketizer.depacketize(&packet, &mut out);
        assert_eq!((out[0].pts, out[0].duration, &out[0].data), (frame.pts, 960, &frame.data));
        frame.data = Bytes::from(vec![0xfc; opus::PACKET_BYTES_MAX + 1]);
        packets = Vec::new();
        packetize(&frame, &mut packets);
        assert!(packets.is_empty(), "too large for a datagram");
        // A hole and a broken packet are counted, and nothing waits.
        packet.seq = 2;
        depacketizer.depacketize(&packet, &mut out);
        (packet.seq, packet.payload) = (3, Bytes::from_static(&[0x03]));
        depacketizer.depacketize(&packet, &mut out);
        assert_eq!((out.len(), depacketizer.losses()), (2, Losses { holes: 1, frames: 0, refused: 1 }));
    }
}
