//! Entries of the fuzz targets in `tests/fuzz`: RTP payloads, as an authenticated publisher may send them.

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;
#[path = "../../tests/fuzz/script.rs"]
mod script;

use std::time::{Duration, Instant};

use bytes::Bytes;

use self::script::Script;
use crate::rtp::inspector::Announced;
use crate::rtp::{Depacketizer, Inspector, Packetizer, Reorder};
use crate::{Codec, MediaTime, RtpPacket, Timescale};

const CODECS: [Codec; 6] = [Codec::H264, Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H265];

/// The packet comes so many numbers after the last one: holes, and duplicates.
const STEP: u8 = 0b0000_0011;
const MARKER: u8 = 0b0000_0100;
/// It begins a new frame.
const NEXT_FRAME: u8 = 0b0000_1000;
/// It comes after some that follow it.
const LATE: u8 = 0b0001_0000;
/// Of another publication.
const NEXT_EPOCH: u8 = 0b0010_0000;
/// It comes after a pause.
const PAUSE: u8 = 0b0100_0000;

/// A codec, then packets: one byte of the flags above, and a payload behind its length. The payloads go the way
/// from packets to frames, and what comes out of it goes back to packets.
pub fn depacketizer(start: Instant, data: &[u8]) {
    let mut script = Script(data);
    let Some(codec) = script.byte().and_then(|byte| CODECS.get(usize::from(byte))).copied() else { return };
    let scale = if codec == Codec::Opus { Timescale::OPUS } else { Timescale::VIDEO };
    let (mut inspector, mut reorder) = (Inspector::for_codec(codec), Reorder::default());
    let mut depacketizer = Depacketizer::for_codec(codec);
    let mut packetizer = Packetizer::for_codec(codec);
    let (mut now, mut newest, mut ticks, mut epoch) = (start, 1000_u64, 0_i64, 0);
    let (mut frames, mut packets, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let (Some(flags), Some(payload)) = (script.byte(), script.block()) {
        newest += u64::from(flags & STEP);
        ticks += if flags & NEXT_FRAME == 0 { 0 } else { 3000 };
        epoch += u32::from(flags & NEXT_EPOCH != 0);
        now += if flags & PAUSE == 0 { Duration::from_millis(1) } else { Duration::from_millis(200) };
        bytes += payload.len();
        let found = inspector.inspect(ticks as u64, flags & MARKER != 0, payload);
        assert!(!found.starts_keyframe || !payload.is_empty());
        let _announced = Announced::read(codec, payload);
        reorder.push(RtpPacket {
            seq: if flags & LATE == 0 { newest } else { newest - 5 },
            time: MediaTime::new(ticks, scale),
            lag_micros: 0,
            payload: Bytes::copy_from_slice(payload),
            marker: flags & MARKER != 0,
            frame_start: found.frame_start,
            starts_keyframe: found.starts_keyframe,
            discardable: found.discardable,
            reorders: false,
            temporal_id: found.temporal_id,
            epoch,
            arrival: now,
        });
        while let Some(packet) = reorder.pop(now) {
            if let Some(depacketizer) = &mut depacketizer {
                depacketizer.depacketize(&packet, &mut frames);
            }
        }
        for frame in frames.drain(..) {
            // Each unit of an access unit has a length of 4 bytes where its packet had one of 2, or none.
            assert!(frame.data.len() <= 5 * bytes, "{} bytes out of {bytes}", frame.data.len());
            if let Some(packetizer) = &mut packetizer {
                packetizer.packetize(&frame, false, &mut packets);
            }
        }
        packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpus_is_replayed() {
        replay("depacketizer", super::depacketizer);
    }
}
