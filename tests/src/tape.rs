//! A tape: what a WebRTC viewer was sent, packet by packet, to be looked at when the broadcast is over.
//!
//! A packet lies on the wall clock by the sender report that came last before it, as receivers place it; those before the
//! first report by the first. Nothing else is corrected: not the look-ahead of the Opus encoder (6.5 ms of libopus), which is
//! in what everybody hears who plays a packet at its time. A server that encodes Opus has to place its packets accordingly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use media::rtp::{Depacketizer, vp8};
use media::{Codec, CodecConfig, MediaTime, Timescale};
use str0m::rtp::RtpPacket;

use crate::container;
use crate::film::{self, Film};

/// Ten minutes of 500 packets per second. What comes after that is not kept.
const PACKETS_MAX: usize = 300_000;

/// A tape in a viewer's machine. Clones are the same tape.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Packet>>>);

/// What a packet says, and what was known of its source's clock when it came.
struct Packet {
    payload_type: u8,
    seq: u64,
    timestamp: u32,
    payload: Bytes,
    arrival: Instant,
    report: Option<Report>,
}

/// Of a sender report: the same moment on both clocks.
#[derive(Clone, Copy)]
struct Report {
    unix_ms: f64,
    timestamp: u32,
}

/// Packets of one kind in the order of their numbers, each with its time on the wall clock.
type Placed<'a> = Vec<(&'a Packet, f64)>;

impl Tape {
    /// Keeps a packet.
    pub(crate) fn keep(&self, packet: &RtpPacket) {
        let report = packet.last_sender_info.map(|info| Report {
            unix_ms: info.ntp_time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0,
            // What was on the wire: the lowest bits of what was made of it.
            timestamp: info.rtp_time.numer() as u32,
        });
        let packet = Packet {
            payload_type: *packet.header.payload_type,
            seq: *packet.seq_no,
            timestamp: packet.header.timestamp,
            payload: Bytes::copy_from_slice(&packet.payload),
            arrival: packet.timestamp,
            report,
        };
        let mut packets = self.0.lock().expect("nobody panics with it");
        if packets.len() < PACKETS_MAX {
            packets.push(packet);
        }
    }

    /// Decodes what is on it. `answer`: the server's, which says what is what; `video`: the codec that it must be. Files are
    /// put into `dir`. Packets must not be missing: on loopback none is.
    pub fn develop(&self, answer: &str, video: Codec, dir: &Path) -> Film {
        let packets = self.0.lock().expect("nobody panics with it");
        let pictures = if video == Codec::Vp8 { "VP8" } else { "H264" };
        let pictures = place(&packets, &payload_types(answer, pictures), 90.0);
        let frames = if video == Codec::Vp8 { vp8_frames(&pictures) } else { h264_frames(&pictures) };
        let file = write(dir, "webrtc.ivf", &container::ivf(video, frames.iter().map(|(data, _)| &data[..])));
        let seen = film::pictures(&file).into_iter();
        // In that container a frame's time is its index.
        let pictures =
            seen.map(|it| film::Picture { at_ms: frames[it.at_ms.round() as usize].1, ..it }).collect();
        let sounds = place(&packets, &payload_types(answer, "opus"), 48.0);
        let file = write(dir, "webrtc.ogg", &container::ogg(sounds.iter().map(|(it, _)| &it.payload[..])));
        let heard = film::sound(&file);
        assert_eq!(heard.len(), sounds.len(), "a stretch of sound per packet");
        let heard = heard.into_iter().zip(&sounds);
        let sound = heard.map(|(it, (_, at_ms))| film::Stretch { at_ms: *at_ms, ..it }).collect();
        Film { pictures, sound }
    }
}

/// The payload types of an answer that are of a codec: H.264 has one for each profile.
fn payload_types(answer: &str, codec: &str) -> Vec<u8> {
    let maps = answer.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let ours = maps.filter(|(_, map)| map.split('/').next() == Some(codec));
    ours.filter_map(|(number, _)| number.parse().ok()).collect()
}

fn place<'a>(packets: &'a [Packet], payload_types: &[u8], ticks_per_ms: f64) -> Placed<'a> {
    let mine = packets.iter().filter(|it| payload_types.contains(&it.payload_type) && !it.payload.is_empty());
    let mine: BTreeMap<u64, &Packet> = mine.map(|it| (it.seq, it)).collect();
    let first = mine.values().find_map(|it| it.report).expect("a sender report");
    let at_ms = |packet: &Packet| {
        let report = packet.report.unwrap_or(first);
        report.unix_ms + f64::from(packet.timestamp.wrapping_sub(report.timestamp) as i32) / ticks_per_ms
    };
    mine.into_values().map(|packet| (packet, at_ms(packet))).collect()
}

/// Pictures as a decoder takes them, with their times.
fn h264_frames(packets: &Placed<'_>) -> Vec<(Vec<u8>, f64)> {
    let mut depacketizer = Depacketizer::for_codec(Codec::H264).expect("known");
    let mut times = media::rtp::TimestampUnwrapper::new();
    let mut at = BTreeMap::new();
    let mut frames = Vec::new();
    for (packet, at_ms) in packets {
        let ticks = times.unwrap(packet.timestamp) as i64;
        at.entry(ticks).or_insert(*at_ms);
        let packet = media::RtpPacket {
            seq: packet.seq,
            time: MediaTime::new(ticks, Timescale::VIDEO),
            lag_micros: 0,
            payload: packet.payload.clone(),
            // The next timestamp ends a picture as well.
            marker: false,
            frame_start: false,
            starts_keyframe: false,
            discardable: false,
            reorders: false,
            temporal_id: 0,
            epoch: 0,
            arrival: packet.arrival,
        };
        depacketizer.depacketize(&packet, &mut frames);
    }
    let annex_b = frames.into_iter().map(|frame| {
        let CodecConfig::H264(config) = &*frame.config else { panic!("{:?}", frame.config) };
        let mut data = Vec::new();
        media::h264::write_annex_b(&frame.data, frame.keyframe.then_some(config), &mut data);
        (data, at[&frame.pts.ticks()])
    });
    annex_b.collect()
}

/// The same of VP8: payloads without their descriptors, one after the other.
fn vp8_frames(packets: &Placed<'_>) -> Vec<(Vec<u8>, f64)> {
    let mut frames: Vec<(Vec<u8>, f64)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (packet, at_ms) in packets {
        let descriptor = vp8::Descriptor::parse(&packet.payload).expect("a descriptor");
        let data = &packet.payload[descriptor.length..];
        // P of the frame's header, inverted, says keyframe (RFC 6386 section 9.1): decoding begins there.
        let keyframe = descriptor.starts_frame() && data.first().is_some_and(|first| first & 1 == 0);
        if frames.is_empty() && !keyframe {
            continue;
        }
        if seen.insert(packet.timestamp) {
            frames.push((Vec::new(), *at_ms));
        }
        frames.last_mut().expect("begun").0.extend_from_slice(data);
    }
    frames
}

fn write(dir: &Path, name: &str, data: &[u8]) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, data).expect("a temporary file");
    file
}
