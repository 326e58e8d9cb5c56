//! Writers, readers and what lies between them, without any task or clock.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::ring::RING_ITEMS_MAX;
use crate::rtp::h264::tests::{frame, nal};
use crate::rtp::packet::tests::packet;
use crate::time::tests::origin;
use crate::{ChannelName, Hub, MediaTime, NtpTime, Publication, Reordering, Stream, StreamWriter};

const VIDEO: TrackSpec = TrackSpec {
    codec: Codec::H264,
    timescale: Timescale::VIDEO,
    keyframes_on_request: false,
    derived: false,
};
const OPUS: TrackSpec =
    TrackSpec { codec: Codec::Opus, timescale: Timescale::OPUS, keyframes_on_request: false, derived: false };

struct Live {
    hub: Arc<Hub>,
    publisher: StreamWriter,
    rid: Rid,
}

impl Live {
    fn new() -> Self {
        let hub = Hub::new(Duration::from_secs(10));
        let publisher = publish(&hub);
        Self { hub, publisher, rid: Rid::single() }
    }

    fn stream(&self) -> Arc<Stream> {
        Arc::clone(self.publisher.stream())
    }

    fn video(&mut self) -> TrackWriter {
        self.publisher.track(VIDEO)
    }

    /// The same Publisher comes back.
    fn reconnect(self) -> Self {
        let Self { hub, publisher, rid } = self;
        drop(publisher);
        let publisher = publish(&hub);
        Self { hub, publisher, rid }
    }
}

fn publish(hub: &Arc<Hub>) -> StreamWriter {
    let channel = ChannelName::parse("ana").expect("a name");
    hub.publish(&channel, Publication::default(), origin(), NtpTime::from_unix_micros(0)).expect("free")
}

/// A picture of one slice.
fn picture(time: i64, keyframe: bool) -> Frame {
    frame(time, keyframe, &[nal(if keyframe { 0x65 } else { 0x41 }, 2_000)])
}

/// Its packets, numbered from `seq`, as a WebRTC source sends them.
fn rtp(frames: &[Frame], seq: u64) -> Vec<RtpPacket> {
    let (mut packetizer, mut out) =
        (crate::rtp::Packetizer::for_codec(Codec::H264).expect("has RTP"), Vec::new());
    for frame in frames {
        packetizer.packetize(frame, false, &mut out);
    }
    out.iter_mut().for_each(|packet| packet.seq += seq);
    out
}

fn drain<T: FaceItem>(reader: &mut TrackReader<T>) -> Vec<T> {
    let mut out = Vec::new();
    let _ = reader.poll_drain(&mut Context::from_waker(Waker::noop()), &mut out);
    out
}

fn times(frames: &[Frame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.pts.ticks()).collect()
}

/// Times of the frames that packets are of.
fn packet_times(packets: &[RtpPacket]) -> Vec<i64> {
    packets.iter().filter(|packet| packet.frame_start).map(|packet| packet.time.ticks()).collect()
}

fn assert_contiguous(packets: &[RtpPacket]) {
    assert!(packets.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "a hole in the numbers");
}

#[test]
fn the_first_reader_of_the_other_face_gets_the_cached_gop() {
    let mut live = Live::new();
    let mut writer = live.video();
    for time in 0..6 {
        writer.write_frame(&live.rid, picture(time * 3000, time == 0 || time == 3));
    }
    let mut reader = writer.track().read::<RtpPacket>(&live.rid);
    let cached = drain(&mut reader);
    assert_eq!(packet_times(&cached), [9000, 12_000, 15_000]);
    assert!(cached[0].starts_keyframe);
    writer.write_frame(&live.rid, picture(18_000, false));
    let more = drain(&mut reader);
    assert_eq!(packet_times(&more), [18_000]);
    assert_contiguous(&[cached, more].concat());
}

#[test]
fn packets_become_frames_for_the_first_who_reads_them() {
    let mut live = Live::new();
    let mut writer = live.video();
    let frames: Vec<Frame> = (0..5).map(|time| picture(time * 3000, time == 2)).collect();
    for packet in rtp(&frames, 900) {
        writer.write_rtp(&live.rid, packet);
    }
    let mut reader = writer.track().read::<Frame>(&live.rid);
    let joined = drain(&mut reader);
    assert_eq!(times(&joined), [6000, 9000, 12_000]);
    assert_eq!(joined[0].data, frames[2].data);
    // Gone and here again: the same frames with the same times.
    drop(reader);
    let mut reader = writer.track().read::<Frame>(&live.rid);
    assert_eq!(times(&drain(&mut reader)), [6000, 9000, 12_000]);
    assert_eq!(writer.track().layers()[0].info().clamped, 0);
    assert_eq!(writer.track().layers()[0].info().size, Some((64, 64)));
}

#[test]
fn a_reader_of_the_written_face_does_not_disturb_the_other() {
    let mut live = Live::new();
    let mut writer = live.video();
    writer.write_frame(&live.rid, picture(0, true));
    let mut packets = writer.track().read::<RtpPacket>(&live.rid);
    let before = drain(&mut packets);
    let mut frames = writer.track().read::<Frame>(&live.rid);
    assert_eq!(times(&drain(&mut frames)), [0]);
    writer.write_frame(&live.rid, picture(3000, false));
    let after = drain(&mut packets);
    assert_eq!((packet_times(&after), packets.lagged()), (vec![3000], 0));
    assert_contiguous(&[before, after].concat());
}

#[test]
fn a_reader_that_lags_goes_on_at_a_keyframe_and_is_counted() {
    let mut live = Live::new();
    let mut writer = live.video();
    let mut reader = writer.track().read::<Frame>(&live.rid);
    writer.write_frame(&live.rid, picture(0, true));
    assert_eq!(drain(&mut reader).len(), 1);
    for time in 1..2000 {
        writer.write_frame(&live.rid, picture(time, time == 1900));
    }
    let out = drain(&mut reader);
    assert!(out[0].keyframe && times(&out)[0] == 1900);
    assert_eq!((out.len(), reader.lagged()), (100, 1));
}

#[test]
fn without_a_keyframe_in_reach_a_reader_waits_for_the_next() {
    let mut live = Live::new();
    let mut writer = live.video();
    let small = |time, keyframe| frame(time, keyframe, &[nal(if keyframe { 0x65 } else { 0x41 }, 9)]);
    writer.write_frame(&live.rid, small(0, true));
    for time in 1..=RING_ITEMS_MAX as i64 {
        writer.write_frame(&live.rid, small(time, false));
    }
    let mut reader = writer.track().read::<Frame>(&live.rid);
    writer.write_frame(&live.rid, small(20_000, false));
    assert!(drain(&mut reader).is_empty());
    writer.write_frame(&live.rid, small(20_001, true));
    assert_eq!(times(&drain(&mut reader)), [20_001]);
}

#[test]
fn a_reconnect_continues_the_track() {
    let mut live = Live::new();
    let mut writer = live.video();
    let track = Arc::clone(writer.track());
    let mut reader = track.read::<RtpPacket>(&live.rid);
    for packet in rtp(&[picture(0, true)], 65_000) {
        writer.write_rtp(&live.rid, packet);
    }
    let before = drain(&mut reader);
    drop(writer);
    let mut live = live.reconnect();
    let mut writer = live.video();
    assert!(Arc::ptr_eq(writer.track(), &track));
    for packet in rtp(&[picture(9000, true)], 17) {
        writer.write_rtp(&live.rid, packet);
    }
    let after = drain(&mut reader);
    assert_eq!((before[0].epoch, after[0].epoch), (0, 1));
    assert_contiguous(&[before, after].concat());
    // The number before the first one of this publication belongs to the last publication.
    writer.write_rtp(&live.rid, packet(16));
    assert!(drain(&mut reader).is_empty());
}

#[test]
fn another_codec_ends_the_track_and_begins_a_new_one() {
    let mut live = Live::new();
    let old = live.video();
    let mut reader = old.track().read::<Frame>(&live.rid);
    let version = live.stream().tracks_version();
    let new = live.publisher.track(TrackSpec { codec: Codec::Vp8, ..VIDEO });
    assert!(old.track().ended() && !new.track().ended());
    assert_eq!(
        reader.poll_next(&mut Context::from_waker(Waker::noop())).map(|frame| frame.is_none()),
        Poll::Ready(true)
    );
    assert!(live.stream().tracks_version() > version);
    assert_eq!(live.stream().tracks().len(), 1);
}

/// The same key, first by RTMP, then by WHIP, then by RTMP again: one Track, numbers that only grow.
#[test]
fn a_change_of_transport_keeps_numbers_and_readers() {
    let mut live = Live::new();
    let mut writer = live.video();
    let track = Arc::clone(writer.track());
    let (mut packets, mut frames) = (track.read::<RtpPacket>(&live.rid), track.read::<Frame>(&live.rid));
    writer.write_frame(&live.rid, picture(0, true));
    let mut live = live.reconnect();
    let mut writer = live.video();
    for packet in rtp(&[picture(3000, true), picture(6000, false)], 5) {
        writer.write_rtp(&live.rid, packet);
    }
    let mut live = live.reconnect();
    live.video().write_frame(&live.rid, picture(9000, true));
    let all = drain(&mut packets);
    assert_eq!(packet_times(&all), [0, 3000, 6000, 9000]);
    assert_contiguous(&all);
    assert_eq!(times(&drain(&mut frames)), [0, 3000, 6000, 9000]);
}

#[test]
fn a_replaced_publisher_writes_nowhere() {
    let mut live = Live::new();
    let mut old = live.video();
    let channel = live.stream().channel().clone();
    let mut new =
        live.hub.take_over(&channel, Publication::default(), origin(), NtpTime::from_unix_micros(0));
    assert!(live.publisher.replaced() && !new.replaced());
    let mut writer = new.track(VIDEO);
    writer.write_frame(&live.rid, picture(0, true));
    old.write_frame(&live.rid, picture(3000, true));
    let mut late = live.publisher.track(TrackSpec { codec: Codec::Vp8, ..VIDEO });
    late.write_frame(&live.rid, picture(3000, true));
    let mut reader = writer.track().read::<Frame>(&live.rid);
    assert_eq!(times(&drain(&mut reader)), [0]);
    assert_eq!(writer.track().layers()[0].info().stale, 1);
    assert!(!writer.track().ended());
    drop(live.publisher);
    assert_eq!(new.stream().state(), crate::StreamState::Live);
}

#[test]
fn demand_is_told_once() {
    let mut live = Live::new();
    let mut writer = live.video();
    let track = Arc::clone(writer.track());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert_eq!(writer.poll_demand(&mut Context::from_waker(&waker)), Poll::Pending);
    let readers = [track.read::<RtpPacket>(&live.rid), track.read::<RtpPacket>(&live.rid)];
    let frames = track.read::<Frame>(&live.rid);
    assert_eq!(wakes.count(), 1);
    let layer = Arc::clone(frames.layer());
    layer.request_keyframe();
    layer.request_keyframe();
    let all = |writer: &mut TrackWriter| std::iter::from_fn(|| writer.try_demand()).collect::<Vec<_>>();
    let rid = || live.rid.clone();
    assert_eq!(all(&mut writer), [Demand::LayerWanted(rid(), true), Demand::Keyframe(rid())]);
    drop(readers);
    assert_eq!(all(&mut writer), []);
    drop(frames);
    assert_eq!(all(&mut writer), [Demand::LayerWanted(rid(), false)]);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn every_waiting_reader_is_woken_once_per_wait() {
    let mut live = Live::new();
    let mut writer = live.video();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut readers: Vec<_> = (0..19).map(|_| writer.track().read::<Frame>(&live.rid)).collect();
    for reader in &mut readers {
        assert!(reader.poll_drain(&mut Context::from_waker(&waker), &mut Vec::new()).is_pending());
    }
    writer.write_frame(&live.rid, picture(0, true));
    writer.write_frame(&live.rid, picture(1, false));
    assert_eq!(wakes.count(), 19);
}

#[test]
fn sound_begins_at_the_live_edge() {
    let mut live = Live::new();
    let mut writer = live.publisher.track(OPUS);
    let sound = |time: i64| Frame {
        dts: MediaTime::new(time, Timescale::OPUS),
        pts: MediaTime::new(time, Timescale::OPUS),
        duration: 960,
        keyframe: true,
        discardable: false,
        data: Bytes::from_static(&[0xfc, 1]),
        config: Arc::new(crate::CodecConfig::Opus(crate::opus::Config::default())),
        epoch: 0,
        arrival: origin(),
    };
    writer.write_frame(&live.rid, sound(0));
    let mut packets = writer.track().read::<RtpPacket>(&live.rid);
    let mut frames = writer.track().read::<Frame>(&live.rid);
    writer.write_frame(&live.rid, sound(960));
    assert_eq!(packet_times(&drain(&mut packets)), [960]);
    assert_eq!(times(&drain(&mut frames)), [960]);
}

#[test]
fn time_that_steps_back_is_clamped_and_counted() {
    let mut live = Live::new();
    let mut writer = live.video();
    let mut reader = writer.track().read::<Frame>(&live.rid);
    for time in [3000, 6000, 0, 9000] {
        writer.write_frame(&live.rid, picture(time, time == 3000));
    }
    assert_eq!(times(&drain(&mut reader)), [3000, 6000, 6001, 9000]);
    assert_eq!(reader.layer().info().clamped, 1);
}

/// The cached GOP and the live one are marked alike.
#[test]
fn b_frames_are_marked_in_packets() {
    let decoding_order = [(0, 0x65), (6000, 0x41), (3000, 0x01), (12_000, 0x41), (9000, 0x01)];
    let frames: Vec<Frame> = decoding_order
        .into_iter()
        .enumerate()
        .map(|(n, (pts, header))| {
            let mut frame = frame(pts, header == 0x65, &[nal(header, 2_000)]);
            frame.dts = MediaTime::new(n as i64 * 3000 - 3000, Timescale::VIDEO);
            frame
        })
        .collect();
    let marks = |packets: &[RtpPacket]| -> Vec<(i64, bool, bool)> {
        packets.iter().map(|packet| (packet.time.ticks(), packet.reorders, packet.discardable)).collect()
    };
    let mut live = Live::new();
    let mut writer = live.video();
    let mut before = writer.track().read::<RtpPacket>(&live.rid);
    for frame in frames.clone() {
        writer.write_frame(&live.rid, frame);
    }
    let packets = marks(&drain(&mut before));
    assert!(packets.iter().all(|&(time, reorders, discardable)| {
        let b_frame = time == 3000 || time == 9000;
        (reorders, discardable) == (b_frame, b_frame)
    }));
    drop(before);
    assert_eq!(marks(&drain(&mut writer.track().read::<RtpPacket>(&live.rid))), packets);
    assert_eq!(writer.track().layers()[0].reordering(), Reordering::DropDiscardable);
    // The same from a source of packets, whose frames then need decoding times.
    let mut live = Live::new();
    let mut writer = live.video();
    let mut reader = writer.track().read::<Frame>(&live.rid);
    for packet in rtp(&frames, 1) {
        writer.write_rtp(&live.rid, packet);
    }
    assert_eq!(marks(&drain(&mut writer.track().read::<RtpPacket>(&live.rid))), packets);
    let joined = drain(&mut reader);
    assert_eq!(times(&joined), [0, 6000, 3000, 12_000, 9000]);
    assert!(joined.is_sorted_by(|a, b| a.dts < b.dts));
}

#[test]
fn the_end_reaches_every_reader_and_nothing_comes_after() {
    let mut live = Live::new();
    let mut writer = live.video();
    let mut reader = writer.track().read::<Frame>(&live.rid);
    writer.write_frame(&live.rid, picture(0, true));
    let stream = live.stream();
    live.publisher.finish();
    writer.write_frame(&live.rid, picture(3000, true));
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reader.poll_drain(&mut cx, &mut out).is_ready());
    assert_eq!(times(&out), [0]);
    let mut other = writer.track().read::<Frame>(&Rid::parse("h").expect("a RID"));
    assert!(other.poll_next(&mut cx).is_ready());
    let derived = stream.add_derived_track(OPUS);
    assert!(derived.track().ended());
}
