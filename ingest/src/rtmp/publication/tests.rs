use std::time::Duration;

use media::{ChannelName, Hub, Kind, NtpTime, Publication as Who, Stream};

use super::*;

/// 320x180 and 640x360 baseline by x264, as it wrote them.
const SMALL: (&[u8], &[u8]) = (
    &[
        0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0xa4, 0x80,
    ],
    &[0x68, 0xcb, 0x83, 0xcb, 0x20],
);
const LARGE: (&[u8], &[u8]) = (
    &[
        0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
        0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
    ],
    &[0x68, 0xcb, 0x83, 0xcb, 0x20],
);

/// Slices with PPS 0: an IDR picture, and one that refers to it.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x21];
const INTER: &[u8] = &[0x41, 0x9a, 0x02, 0x03];

struct Bench {
    publication: Publication,
    stream: Arc<Stream>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let hub = Hub::new(Duration::from_secs(10));
        let now = crate::clock::now();
        let name = ChannelName::parse("ana").unwrap();
        let writer = hub.publish(&name, Who::default(), now, NtpTime::from_unix_micros(1)).unwrap();
        let stream = Arc::clone(writer.stream());
        Self { publication: Publication::new(writer), stream, now }
    }

    fn video(&mut self, millis: u32, body: &[&[u8]]) -> Result<Outcome, Error> {
        let arrival = self.now + Duration::from_millis(millis.into());
        self.publication.handle_video(millis, body.concat().into(), arrival)
    }

    fn audio(&mut self, millis: u32, body: &[&[u8]]) -> Result<Outcome, Error> {
        let arrival = self.now + Duration::from_millis(millis.into());
        self.publication.handle_audio(millis, body.concat().into(), arrival)
    }

    /// All frames from the last keyframe on.
    fn frames(&self, kind: Kind) -> Vec<Frame> {
        let track = self.stream.source(kind).expect("a track");
        let mut reader = track.read::<Frame>(&Rid::single());
        let mut frames = Vec::new();
        let waker = std::task::Waker::noop();
        let _ = reader.poll_drain(&mut std::task::Context::from_waker(waker), &mut frames);
        frames
    }
}

fn record((sps, pps): (&[u8], &[u8]), length_size: u8) -> Vec<u8> {
    let length = |nal: &[u8]| (nal.len() as u16).to_be_bytes();
    let head = [1, sps[1], sps[2], sps[3], 0xfc | (length_size - 1), 0xe1];
    [&head[..], &length(sps), sps, &[1], &length(pps), pps].concat()
}

const CONFIG: &[u8] = &[0x17, 0, 0, 0, 0];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0];
const OTHER: &[u8] = &[0x27, 1, 0, 0, 0];

fn nal(nal: &[u8]) -> Vec<u8> {
    [&(nal.len() as u32).to_be_bytes()[..], nal].concat()
}

#[test]
fn frames_wait_for_the_configuration_and_a_keyframe() {
    let mut bench = Bench::new();
    assert_eq!(bench.video(0, &[KEY, &nal(IDR)]).unwrap(), Outcome::Dropped, "no configuration");
    assert_eq!(bench.video(0, &[CONFIG, &record(SMALL, 4)]).unwrap(), Outcome::Nothing);
    assert_eq!(bench.video(0, &[OTHER, &nal(INTER)]).unwrap(), Outcome::Dropped, "no keyframe");
    assert_eq!(bench.video(33, &[KEY, &nal(IDR)]).unwrap(), Outcome::Written);
    assert_eq!(bench.video(67, &[OTHER, &nal(INTER)]).unwrap(), Outcome::Written);
    let frames = bench.frames(Kind::Video);
    assert_eq!(frames.iter().map(|frame| frame.keyframe).collect::<Vec<_>>(), [true, false]);
    assert_eq!(frames[0].config.size(), Some((320, 180)));
    // Anchored by what came first, even though it was dropped.
    assert!((frames[0].dts.as_micros() - 33_000).abs() < 2000);
}

#[test]
fn shorter_lengths_become_four_bytes() {
    for (size, prefix) in [(1u8, &[4u8][..]), (2, &[0, 4])] {
        let mut bench = Bench::new();
        bench.video(0, &[CONFIG, &record(SMALL, size)]).unwrap();
        assert_eq!(bench.video(0, &[KEY, prefix, IDR]).unwrap(), Outcome::Written);
        assert_eq!(bench.frames(Kind::Video)[0].data, nal(IDR), "{size}");
    }
}

#[test]
fn a_new_size_comes_by_a_new_record_or_inside_the_picture() {
    for inside in [false, true] {
        let mut bench = Bench::new();
        bench.video(0, &[CONFIG, &record(SMALL, 4)]).unwrap();
        bench.video(0, &[KEY, &nal(IDR)]).unwrap();
        let track = bench.stream.source(Kind::Video).unwrap();
        if inside {
            bench.video(33, &[KEY, &nal(LARGE.0), &nal(LARGE.1), &nal(IDR)]).unwrap();
        } else {
            bench.video(33, &[CONFIG, &record(LARGE, 4)]).unwrap();
            bench.video(33, &[KEY, &nal(IDR)]).unwrap();
        }
        let frames = bench.frames(Kind::Video);
        assert_eq!(frames[0].config.size(), Some((640, 360)), "inside: {inside}");
        assert_eq!(frames[0].data, nal(IDR), "without parameter sets");
        assert!(Arc::ptr_eq(&track, &bench.stream.source(Kind::Video).unwrap()), "the same Track");
    }
}

#[test]
fn a_repeated_record_changes_nothing() {
    let mut bench = Bench::new();
    for millis in [0, 33] {
        bench.video(millis, &[CONFIG, &record(SMALL, 4)]).unwrap();
        bench.video(millis, &[KEY, &nal(IDR)]).unwrap();
    }
    bench.video(67, &[OTHER, &nal(INTER)]).unwrap();
    let frames = bench.frames(Kind::Video);
    assert!(Arc::ptr_eq(&frames[0].config, &frames[1].config));
}

#[test]
fn broken_pictures_are_dropped_and_broken_records_end_it() {
    let mut bench = Bench::new();
    bench.video(0, &[CONFIG, &record(SMALL, 4)]).unwrap();
    assert_eq!(bench.video(0, &[KEY, &[0, 0, 9, 9, 1]]).unwrap(), Outcome::Dropped);
    assert_eq!(bench.video(0, &[KEY, &nal(SMALL.0)]).unwrap(), Outcome::Nothing, "no picture in it");
    assert!(matches!(bench.video(0, &[CONFIG, &[1, 2, 3]]), Err(Error::Media(_))));
    assert!(matches!(bench.audio(0, &[&[0xaf, 0], &[0xff]]), Err(Error::Media(_))));
    assert!(matches!(bench.audio(0, &[&[0x2f, 1]]), Err(Error::Unsupported(_))));
}

#[test]
fn audio_of_another_rate_is_another_track() {
    let mut bench = Bench::new();
    assert_eq!(bench.audio(0, &[&[0xaf, 1], b"early"]).unwrap(), Outcome::Dropped);
    bench.audio(0, &[&[0xaf, 0], &[0x11, 0x90]]).unwrap();
    assert_eq!(bench.audio(0, &[&[0xaf, 1], b"raw"]).unwrap(), Outcome::Written);
    let first = bench.stream.source(Kind::Audio).unwrap();
    assert_eq!((first.codec(), first.spec().timescale.hz()), (Codec::Aac, 48_000));
    bench.audio(20, &[&[0xaf, 0], &[0x12, 0x10]]).unwrap();
    assert_eq!(bench.audio(20, &[&[0xaf, 1], b"raw"]).unwrap(), Outcome::Written);
    let second = bench.stream.source(Kind::Audio).unwrap();
    assert_eq!(second.spec().timescale.hz(), 44_100);
    assert!(first.ended() && !second.ended());
}

#[test]
fn opus_by_enhanced_rtmp() {
    let mut bench = Bench::new();
    let head = [&b"OpusHead"[..], &[1, 2, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0, 0, 0]].concat();
    bench.audio(0, &[b"\x90Opus", &head]).unwrap();
    // CELT, 20 ms, one frame.
    assert_eq!(bench.audio(0, &[b"\x91Opus", &[0xfc, 1, 2]]).unwrap(), Outcome::Written);
    assert_eq!(bench.audio(20, &[b"\x91Opus", &[0xfc, 1, 2]]).unwrap(), Outcome::Written);
    assert_eq!(bench.audio(40, &[b"\x91Opus", &[0xff]]).unwrap(), Outcome::Dropped, "malformed");
    let large = vec![0xfc; opus::PACKET_BYTES_MAX + 1];
    assert_eq!(bench.audio(60, &[b"\x91Opus", &large]).unwrap(), Outcome::Dropped, "for no datagram");
    let track = bench.stream.source(Kind::Audio).unwrap();
    assert_eq!((track.codec(), track.spec().timescale.hz()), (Codec::Opus, 48_000));
    assert_eq!(track.layer(&Rid::single()).unwrap().info().items, 2);
}
