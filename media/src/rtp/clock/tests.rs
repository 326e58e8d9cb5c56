//! A sender and its clocks in virtual time.

use std::time::Duration;

use super::*;
use crate::rtp::packet::tests::Random;
use crate::time::tests::origin;

/// A sender with two sources. Times in microseconds on the receiver's clock.
struct Sender {
    /// Its clocks run this many parts per million fast.
    skew_ppm: i64,
    /// Encoder and network: the least delay of sound and picture, and jitter on top.
    delay: [i64; 2],
    jitter: u64,
    /// When the first sender report of each comes.
    first_report: [i64; 2],
    /// What its wall clock says at zero, per source: sane senders have one.
    wall: [u64; 2],
    random: Random,
}

const SCALES: [Timescale; 2] = [Timescale::OPUS, Timescale::VIDEO];
const INTERVALS: [i64; 2] = [20_000, 33_333];

impl Default for Sender {
    fn default() -> Self {
        let wall = 1_700_000_000_000_000;
        Self {
            skew_ppm: 0,
            delay: [20_000, 30_000],
            jitter: 0,
            first_report: [1_000_000, 1_300_000],
            wall: [wall, wall],
            random: Random::new(7),
        }
    }
}

struct Run {
    /// Per source: time of capture, and the time that it got.
    told: [Vec<(i64, i64)>; 2],
    ticks: [Vec<i64>; 2],
    stats: [ClockStats; 2],
}

impl Run {
    /// How far picture is behind sound at a time of capture, in microseconds.
    fn lip_error(&self, at: i64) -> i64 {
        let [sound, picture] = [0, 1].map(|source: usize| {
            let told = &self.told[source];
            let &(captured, told) =
                told.iter().min_by_key(|(captured, _)| (captured - at).abs()).expect("some");
            told - captured
        });
        picture - sound
    }
}

fn run(mut sender: Sender, seconds: i64) -> Run {
    let start = origin();
    let mut publisher = PublisherClock::new(StreamClock::new(start, NtpTime::from_unix_micros(0)));
    let mut clocks = SCALES.map(|scale| publisher.source(scale));
    let mut run = Run { told: Default::default(), ticks: Default::default(), stats: Default::default() };
    let mut events = Vec::new();
    for (source, interval) in INTERVALS.into_iter().enumerate() {
        for n in 0..seconds * 1_000_000 / interval {
            let captured = n * interval;
            let jitter = if sender.jitter == 0 { 0 } else { (sender.random.next() % sender.jitter) as i64 };
            events.push((captured + sender.delay[source] + jitter, source, captured, false));
        }
        for report in (sender.first_report[source]..seconds * 1_000_000).step_by(1_000_000) {
            events.push((report, source, report, true));
        }
    }
    events.sort_unstable();
    for (arrival, source, captured, report) in events {
        let skewed = captured + captured * sender.skew_ppm / 1_000_000;
        let timestamp = (1 << 32) + MediaTime::from_micros(skewed, SCALES[source]).ticks() as u64 + 77;
        if report {
            let wall = sender.wall[source].saturating_add_signed(skewed);
            clocks[source].handle_sender_report(NtpTime::from_unix_micros(wall), timestamp);
            continue;
        }
        let arrival = start + Duration::from_micros(arrival as u64);
        let time = clocks[source].media_time(&mut publisher, timestamp, arrival);
        run.told[source].push((captured, time.as_micros()));
        run.ticks[source].push(time.ticks());
    }
    run.stats = [clocks[0].stats(), clocks[1].stats()];
    run
}

#[test]
fn sound_and_picture_stay_together() {
    let senders: [(&str, Sender); 8] = [
        ("plain", Sender::default()),
        ("jitter", Sender { jitter: 60_000, ..Sender::default() }),
        ("fast clock", Sender { skew_ppm: 200, jitter: 10_000, ..Sender::default() }),
        ("slow clock", Sender { skew_ppm: -200, jitter: 10_000, ..Sender::default() }),
        ("late reports", Sender { first_report: [8_000_000, 9_000_000], jitter: 5_000, ..Sender::default() }),
        ("no reports", Sender { first_report: [i64::MAX; 2], jitter: 10_000, ..Sender::default() }),
        ("one reports", Sender { first_report: [1_000_000, i64::MAX], ..Sender::default() }),
        ("unrelated wall clocks", Sender { wall: [5, 1_700_000_000_000_000], ..Sender::default() }),
    ];
    for (what, sender) in senders {
        let run = run(sender, 120);
        for at in [1, 5, 30, 60, 119] {
            let error = run.lip_error(at * 1_000_000);
            assert!(error.abs() <= 20_000, "{what}: picture {error} µs behind at {at} s");
        }
        for source in 0..2 {
            let mut told = run.told[source].clone();
            // Jitter reorders; by time of capture nothing steps back.
            told.sort_unstable_by_key(|(captured, _)| *captured);
            assert!(told[30..].is_sorted_by(|a, b| a.1 < b.1), "{what}: time steps back");
            assert_eq!(run.stats[source].reanchored, 0, "{what}");
        }
    }
}

#[test]
fn a_slow_encoder_is_brought_together_by_reports() {
    let run = run(Sender { delay: [10_000, 150_000], ..Sender::default() }, 60);
    assert!(run.lip_error(500_000) > 100_000, "by arrival the picture is late");
    assert!(run.lip_error(59_000_000).abs() <= 20_000, "{}", run.lip_error(59_000_000));
    // 5 ms per second, not faster.
    for pair in run.told[1].windows(2).skip(20) {
        let (media, told) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!((told - media).abs() <= media * SLEW_PER_MILLE / 1000 + 25, "{media} became {told}");
    }
}

#[test]
fn increments_survive_exactly_while_nothing_is_wrong() {
    let run = run(Sender { jitter: 8_000, ..Sender::default() }, 60);
    let uneven = run.ticks[0].windows(2).skip(100).filter(|pair| pair[1] - pair[0] != 960).count();
    assert_eq!(uneven, 0);
}

fn one() -> (Instant, PublisherClock, SourceClock) {
    let start = origin();
    let mut publisher = PublisherClock::new(StreamClock::new(start, NtpTime::from_unix_micros(0)));
    let source = publisher.source(Timescale::VIDEO);
    (start, publisher, source)
}

/// Both ways of jumping, and a pause in which the timestamps stood still.
#[test]
fn jumps_begin_anew_near_arrival() {
    for jump in [90_000 * 20, -90_000 * 20] {
        let (start, mut publisher, mut source) = one();
        let mut last = i64::MIN;
        for n in 0..300u64 {
            let base = (1i64 << 33) + if n >= 150 { jump } else { 0 };
            let arrival = start + Duration::from_millis(n * 33);
            let timestamp = base as u64 + n * 2970;
            let time = source.media_time(&mut publisher, timestamp, arrival);
            // The first packets after a jump back look like late ones.
            if !(150..153).contains(&n) {
                assert!(time.ticks() > last, "jump {jump}, frame {n}");
                let error = time.as_micros() - n as i64 * 33_000;
                assert!(error.abs() <= 100_000, "jump {jump}, frame {n}: {error}");
                last = time.ticks();
            }
        }
        assert_eq!(source.stats().reanchored, 1, "jump {jump}");
    }
    let (start, mut publisher, mut source) = one();
    for n in 0..200u64 {
        let arrival = start + Duration::from_millis(n * 33 + if n >= 100 { 60_000 } else { 0 });
        let time = source.media_time(&mut publisher, (1 << 32) + n * 2970, arrival);
        if n == 100 {
            assert_eq!(time.as_micros(), 63_300_000);
        }
    }
    assert_eq!(source.stats().reanchored, 1);
}

#[test]
fn all_packets_of_a_timestamp_get_one_time() {
    let (start, mut publisher, mut source) = one();
    let at = |millis| start + Duration::from_millis(millis);
    let first = source.media_time(&mut publisher, 1 << 32, at(100));
    // The next frame is less delayed, so the offset steps; the late packet keeps its frame's time.
    let second = source.media_time(&mut publisher, (1 << 32) + 3000, at(103));
    assert_eq!(source.media_time(&mut publisher, 1 << 32, at(104)), first);
    assert_eq!(source.media_time(&mut publisher, (1 << 32) + 3000, at(140)), second);
    assert!(second > first);
}

#[test]
fn reports_without_wall_clock_are_ignored() {
    let (_, _, mut source) = one();
    source.handle_sender_report(NtpTime::from_bits(0), 1 << 32);
    assert_eq!(source.stats(), ClockStats { reports_ignored: 1, ..ClockStats::default() });
}

/// Whatever a peer sends: no panic.
#[test]
fn any_numbers_are_survived() {
    let mut random = Random::new(3);
    let (start, mut publisher, mut source) = one();
    for _ in 0..20_000 {
        let wild = random.next() >> (random.next() % 64);
        if wild.is_multiple_of(7) {
            source.handle_sender_report(NtpTime::from_bits(random.next()), wild);
        }
        source.media_time(&mut publisher, wild, start + Duration::from_millis(random.next() % 100_000));
    }
}

/// A sound card that underruns: 200 ms of samples are missing, and the timestamps do not show it.
#[test]
fn a_gap_that_the_timestamps_hide_is_stepped_over() {
    let (origin, mut publisher, mut source) = one();
    let mut last = 0;
    for packet in 0..700_u64 {
        let late = if packet >= 250 { 200 } else { 0 };
        let arrival = origin + Duration::from_millis(packet * 20 + late);
        let time = source.media_time(&mut publisher, packet * 1800, arrival).as_micros();
        assert!(time > last || packet == 0, "time goes on");
        last = time;
    }
    let due = (699 * 20 + 200) * 1000;
    assert!((last - due).abs() <= 40_000, "{last} is near {due}");
    assert_eq!(source.stats().stepped, 1);
}
