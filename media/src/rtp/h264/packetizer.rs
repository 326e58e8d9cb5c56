//! Frames to packets.

use bytes::{BufMut, Bytes, BytesMut};

use crate::h264::{LengthPrefixed, unit_type};
use crate::{CodecConfig, Frame, RtpPacket};

use super::{FU_END, FU_START, PAYLOAD_BYTES_MAX};

/// Frames to packets: parameter sets in one STAP-A before each IDR picture, small NAL units aggregated, large
/// ones in fragments of equal size.
#[derive(Debug, Default)]
pub struct Packetizer {
    /// NAL units that may leave together in one STAP-A.
    small: Vec<Bytes>,
    /// Their bytes as STAP-A payload.
    small_bytes: usize,
}

impl Packetizer {
    /// A packetizer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the packets of `frame`; their `seq` and `reorders` are for the caller to set.
    pub fn packetize(&mut self, frame: &Frame, out: &mut Vec<RtpPacket>) {
        let from = out.len();
        if frame.keyframe
            && let CodecConfig::H264(config) = &*frame.config
        {
            for nal in config.sps.iter().chain(&config.pps) {
                self.push(frame, nal.clone(), out);
            }
            self.flush(frame, out);
        }
        for nal in LengthPrefixed::new(&frame.data, 4).map_while(Result::ok) {
            self.push(frame, frame.data.slice_ref(nal), out);
        }
        self.flush(frame, out);
        if let Some(first) = out.get_mut(from) {
            first.frame_start = true;
            first.starts_keyframe = frame.keyframe;
        }
        if let [.., last] = &mut out[from..] {
            last.marker = true;
        }
    }

    fn push(&mut self, frame: &Frame, nal: Bytes, out: &mut Vec<RtpPacket>) {
        if nal.is_empty() {
            return;
        }
        if nal.len() > PAYLOAD_BYTES_MAX {
            self.flush(frame, out);
            fragment(frame, &nal, out);
            return;
        }
        // One byte of STAP-A header, two of length per unit (RFC 6184 section 5.7.1).
        if 1 + self.small_bytes + 2 + nal.len() > PAYLOAD_BYTES_MAX {
            self.flush(frame, out);
        }
        self.small_bytes += 2 + nal.len();
        self.small.push(nal);
    }

    /// Sends the small units: one by itself, several as STAP-A.
    fn flush(&mut self, frame: &Frame, out: &mut Vec<RtpPacket>) {
        match &self.small[..] {
            [] => return,
            [single] => out.push(packet(frame, single.clone())),
            several => {
                let mut payload = BytesMut::with_capacity(1 + self.small_bytes);
                // Section 5.7.1: the highest nal_ref_idc of them.
                let ref_idc = several.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0);
                payload.put_u8(ref_idc | unit_type::STAP_A);
                for nal in several {
                    // No longer than PAYLOAD_BYTES_MAX.
                    payload.put_u16(nal.len() as u16);
                    payload.put_slice(nal);
                }
                out.push(packet(frame, payload.freeze()));
            }
        }
        self.small.clear();
        self.small_bytes = 0;
    }
}

/// Fragments of equal size, so that a frame leaves in one GSO run; only the last may be shorter.
fn fragment(frame: &Frame, nal: &[u8], out: &mut Vec<RtpPacket>) {
    let Some((&header, body)) = nal.split_first() else { return };
    let count = body.len().div_ceil(PAYLOAD_BYTES_MAX - 2);
    let size = body.len().div_ceil(count);
    // One buffer for all: fragments differ from the frame's bytes by two in front of each.
    let mut buffer = BytesMut::with_capacity(body.len() + 2 * count);
    let indicator = header & 0xe0 | unit_type::FU_A;
    for (index, chunk) in body.chunks(size).enumerate() {
        let start = if index == 0 { FU_START } else { 0 };
        let end = if index + 1 == count { FU_END } else { 0 };
        buffer.put_slice(&[indicator, start | end | header & 0x1f]);
        buffer.put_slice(chunk);
    }
    let buffer = buffer.freeze();
    for at in (0..buffer.len()).step_by(size + 2) {
        out.push(packet(frame, buffer.slice(at..buffer.len().min(at + size + 2))));
    }
}

fn packet(frame: &Frame, payload: Bytes) -> RtpPacket {
    RtpPacket {
        seq: 0,
        time: frame.pts,
        lag_micros: 0,
        payload,
        marker: false,
        frame_start: false,
        starts_keyframe: false,
        discardable: frame.discardable,
        reorders: false,
        temporal_id: 0,
        epoch: frame.epoch,
        arrival: frame.arrival,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::h264::tests::{frame, nal};

    fn packets(frame: &Frame) -> Vec<RtpPacket> {
        let mut out = Vec::new();
        Packetizer::new().packetize(frame, &mut out);
        out
    }

    #[test]
    fn fragments_have_equal_size_and_only_the_last_is_shorter() {
        for length in [PAYLOAD_BYTES_MAX + 1, 1_341, 1_342, 2_342, 10_000, 65_001, 300_007] {
            let packets = packets(&frame(0, false, &[nal(0x41, length)]));
            let (last, others) = packets.split_last().expect("some");
            let size = others[0].payload.len();
            assert!(size <= PAYLOAD_BYTES_MAX && last.payload.len() <= size, "{length}");
            assert!(others.iter().all(|packet| packet.payload.len() == size), "{length}");
            // Not one packet more than needed.
            assert_eq!(packets.len(), (length - 1).div_ceil(PAYLOAD_BYTES_MAX - 2), "{length}");
            assert!(size - last.payload.len() < packets.len(), "as equal as can be: {length}");
        }
    }

    #[test]
    fn flags_stand_on_the_first_and_the_last_packet() {
        let packets = packets(&frame(7, true, &[nal(0x06, 10), nal(0x65, 4_000), nal(0x65, 4_000)]));
        let first = packets.first().expect("some");
        assert_eq!(first.payload[0] & 0x1f, unit_type::STAP_A);
        assert!(first.frame_start && first.starts_keyframe);
        assert!(packets[1..].iter().all(|packet| !packet.frame_start && !packet.starts_keyframe));
        assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
        assert!(packets.last().expect("some").marker);
        assert!(packets.iter().all(|packet| packet.time.ticks() == 7));
    }

    #[test]
    fn small_units_share_a_packet() {
        let types = |units: &[Bytes]| -> Vec<u8> {
            packets(&frame(0, false, units)).iter().map(|packet| packet.payload[0] & 0x1f).collect()
        };
        assert_eq!(types(&[nal(0x41, 900)]), [1]);
        assert_eq!(types(&[nal(0x06, 20), nal(0x41, 900)]), [24]);
        assert_eq!(types(&[nal(0x06, 20), nal(0x41, PAYLOAD_BYTES_MAX)]), [6, 1]);
        assert_eq!(types(&[nal(0x41, 400), nal(0x41, 400), nal(0x41, 400)]), [24, 1]);
        assert_eq!(types(&[]), []);
    }
}
