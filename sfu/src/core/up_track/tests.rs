use std::task::{Context, Poll, Waker};
use std::time::Duration;

use media::{ChannelName, Hub, Publication, StreamWriter, TrackReader, TrackSpec};

use super::*;

const KEYFRAME: &[u8] = &[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 1];
const INTERFRAME: &[u8] = &[0x10, 0x11, 0, 0];

struct World {
    start: Instant,
    stream: StreamWriter,
    clock: PublisherClock,
    track: UpTrack,
    reader: TrackReader<RtpPacket>,
}

impl World {
    fn new() -> Self {
        Self::of(Codec::Vp8)
    }

    fn of(codec: Codec) -> Self {
        let start = beginning();
        let hub = Hub::new(Duration::from_secs(10));
        let channel = ChannelName::parse("ana").unwrap();
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let mut stream = hub.publish(&channel, Publication::default(), start, wall).unwrap();
        let clock = stream.stream().clock();
        let track = stream.track(TrackSpec {
            codec,
            timescale: timescale(codec),
            keyframes_on_request: true,
            derived: false,
        });
        let reader = track.track().read(&Rid::single());
        let spec = UpSpec { codec, nack: true, pli: true, fir: false };
        let track = UpTrack::new(spec, track, clock, &[]);
        Self { start, stream, clock: PublisherClock::new(clock), track, reader }
    }

    /// A packet of each number, in that order; `None` is the payload of padding.
    fn arrive(&mut self, ssrc: u32, packets: &[(u16, Option<&'static [u8]>)]) {
        for (seq, payload) in packets {
            let packet = Arrived {
                ssrc,
                seq: *seq,
                timestamp: u32::from(*seq) * 3000,
                marker: true,
                payload: Bytes::from_static(payload.unwrap_or_default()),
                arrival: self.start + Duration::from_millis(33) * u32::from(*seq),
                retransmission: false,
            };
            self.track.handle_packet(&mut self.clock, 0, packet);
        }
    }

    fn packets(&mut self) -> Vec<RtpPacket> {
        let mut packets = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let _: Poll<()> = self.reader.poll_drain(&mut context, &mut packets);
        packets
    }

    fn seqs(&mut self) -> Vec<u64> {
        self.packets().iter().map(|packet| packet.seq).collect()
    }

    fn counters(&self) -> UpCounters {
        self.track.counters().next().unwrap().1
    }
}

#[test]
fn padding_makes_no_holes() {
    let frame = Some(INTERFRAME);
    let mut world = World::new();
    world.arrive(
        1,
        &[(5, Some(KEYFRAME)), (6, None), (7, None), (8, frame), (9, None), (11, frame), (10, frame)],
    );
    let seqs = world.seqs();
    let first = seqs[0];
    assert_eq!(seqs.iter().map(|seq| seq - first).collect::<Vec<_>>(), [0, 1, 3, 2]);
    assert_eq!((world.counters().paddings, world.counters().lost), (3, 0));
    let mut feedback = Vec::new();
    world.track.poll_feedback(world.start + Duration::from_secs(60), &mut feedback);
    assert_eq!(feedback, []);
}

/// A sound card that runs fast, much: its packets come every 19 ms and say 20.
#[test]
fn sound_that_runs_fast_loses_packets_and_has_no_holes() {
    let mut world = World::of(Codec::Opus);
    for seq in 0..500_u16 {
        let packet = Arrived {
            ssrc: 1,
            seq,
            timestamp: u32::from(seq) * 960,
            marker: false,
            // CELT, 20 ms.
            payload: Bytes::from_static(&[0xfc, 1, 2]),
            arrival: world.start + Duration::from_millis(19) * u32::from(seq),
            retransmission: false,
        };
        world.track.handle_packet(&mut world.clock, 0, packet);
    }
    let left_out = world.counters().left_out;
    assert!((15..=25).contains(&left_out), "500 ms are 25 packets: {left_out}");
    let packets = world.packets();
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        assert_eq!(pair[1].time.ticks(), pair[0].time.ticks() + 960);
    }
    assert_eq!(packets.len() as u64 + left_out, 500);
    assert_eq!(world.counters().lost, 0);
}

#[test]
fn packets_come_once() {
    let frame = Some(INTERFRAME);
    let mut world = World::new();
    world.arrive(1, &[(65_535, Some(KEYFRAME)), (0, frame), (0, frame), (65_535, frame), (65_534, frame)]);
    assert_eq!(world.seqs().len(), 2);
    assert_eq!((world.counters().duplicates, world.counters().late), (2, 1));
}

#[test]
fn a_new_source_goes_on_where_the_old_one_ended() {
    let frame = Some(INTERFRAME);
    let mut world = World::new();
    world.arrive(1, &[(100, Some(KEYFRAME)), (101, frame)]);
    world.arrive(2, &[(40_000, Some(KEYFRAME)), (40_001, frame)]);
    let seqs = world.seqs();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert_eq!(seqs.len(), 4);
    assert!(!world.stream.replaced());
}

#[test]
fn what_is_lost_for_good_brings_a_keyframe() {
    let frame = Some(INTERFRAME);
    let mut world = World::new();
    world.arrive(1, &[(0, Some(KEYFRAME)), (1, frame), (3, frame)]);
    let mut feedback = Vec::new();
    let mut asked = Vec::new();
    let first = world.start + Duration::from_millis(99);
    for millis in (0..1000).step_by(20) {
        world.track.poll_feedback(first + Duration::from_millis(millis), &mut feedback);
        asked.append(&mut feedback);
    }
    let nacks = asked.iter().filter(|it| **it == Feedback::Nack { ssrc: 1, missing: vec![2] }).count();
    assert_eq!(nacks, 6, "every 90 ms, looked at every 20");
    assert_eq!(asked.last(), Some(&Feedback::Pli { ssrc: 1 }));
    assert_eq!(asked.len(), 7);
    assert_eq!(world.counters().lost, 1);
}
