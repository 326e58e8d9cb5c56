//! A normalised RTP packet.

use std::time::Instant;

use bytes::Bytes;

use crate::MediaTime;

/// A packet of one Layer: what a forwarder must know, with no wrap-around left in it.
#[derive(Clone, Debug)]
pub struct RtpPacket {
    /// Extended sequence number of the Layer. Grows by one per packet sent by the source, across
    /// reconnects too; a hole is a lost packet.
    pub seq: u64,
    /// Presentation time on the Stream's clock, in the Track's timescale (90 kHz video, 48 kHz Opus).
    pub time: MediaTime,
    /// How much later than `time` it really belongs, in microseconds: what its source's clock is off and is not
    /// corrected (see [`super::SourceClock`]). For sender reports.
    pub lag_micros: i32,
    /// The RTP payload, without header, extensions and padding.
    pub payload: Bytes,
    /// Last packet of a frame (video); start of a talk spurt (audio).
    pub marker: bool,
    /// First packet of a frame.
    pub frame_start: bool,
    /// First packet of a keyframe: a viewer can start here. True for every audio packet.
    pub starts_keyframe: bool,
    /// No other frame refers to the frame that this packet is of.
    pub discardable: bool,
    /// Its frame is shown before one that was already sent (a B-frame): WebRTC cannot carry it in order.
    pub reorders: bool,
    /// Temporal layer, 0 if the codec or the encoder has none.
    pub temporal_id: u8,
    /// Which publication of the Stream it is from; see [`crate::Frame::epoch`].
    pub epoch: u32,
    /// When the last byte of what it was made from was read from the network.
    pub arrival: Instant,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Timescale;
    use crate::time::tests::origin;

    /// A small generator of numbers, so that a failure can be repeated from its seed.
    pub(crate) struct Random(u64);

    impl Random {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed)
        }

        pub(crate) fn next(&mut self) -> u64 {
            // Steele, Lea, Flood: SplitMix64.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    /// A packet with a number and nothing else.
    pub(crate) fn packet(seq: u64) -> RtpPacket {
        RtpPacket {
            seq,
            time: MediaTime::zero(Timescale::VIDEO),
            lag_micros: 0,
            payload: Bytes::from_static(&[0x41, 0x9a]),
            marker: false,
            frame_start: false,
            starts_keyframe: false,
            discardable: false,
            reorders: false,
            temporal_id: 0,
            epoch: 0,
            arrival: origin(),
        }
    }
}
