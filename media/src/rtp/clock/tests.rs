//! A sender and its clocks in virtual time.

use std::time::Duration;

use super::*;
use crate::rtp::packet::tests::Random;
use crate::time::tests::origin;

/// A sender with two sources. Times in microseconds on the receiver's clock.
struct Sender {
    /// The clock of its sound card and camera runs this many parts per million fast, and its wall clock.
    skew_ppm: i64,
    wall_ppm: i64,
    /// Encoder and network: the least delay of sound and picture, and jitter on top.
    delay: [i64; 2],
    jitter: u64,
    /// When the first sender report of each comes.
    first_report: [i64; 2],
    report_interval: usize,
    /// By how much at most the reports of sound name a timestamp that is too low.
    report_noise: u64,
    /// When its microphone loses samples, and how many: the timestamps go on as if nothing were missing.
    losses: &'static [(i64, i64)],
    /// When packets wait on the line, and how long.
    queue: (std::ops::Range<i64>, i64),
    /// What its wall clock says at zero, per source: sane senders have one.
    wall: [u64; 2],
    random: Random,
}

const SCALES: [Timescale; 2] = [Timescale::OPUS, Timescale::VIDEO];
const INTERVALS: [i64; 2] = [20_000, 33_333];
const PACKETS: [u32; 2] = [960, 0];

impl Default for Sender {
    fn default() -> Self {
        let wall = 1_700_000_000_000_000;
        Self {
            skew_ppm: 0,
            wall_ppm: 0,
            delay: [20_000, 30_000],
            jitter: 0,
            first_report: [1_000_000, 1_300_000],
            report_interval: 1_000_000,
            report_noise: 0,
            losses: &[],
            queue: (0..0, 0),
            wall: [wall, wall],
            random: Random::new(7),
        }
    }
}

impl Sender {
    fn noise(&mut self) -> i64 {
        if self.report_noise == 0 { 0 } else { (self.random.next() % self.report_noise) as i64 }
    }

    /// How much of a source was lost until then.
    fn lost(&self, source: usize, at: i64) -> i64 {
        let losses = self.losses.iter().filter(|(lost_at, _)| source == 0 && *lost_at <= at);
        losses.map(|(_, micros)| micros).sum()
    }
}

struct Run {
    /// Per source: time of capture, the time that it got, and that which sender reports tell.
    told: [Vec<(i64, i64, i64)>; 2],
    ticks: [Vec<i64>; 2],
    stats: [ClockStats; 2],
}

impl Run {
    /// How far picture is behind sound at a time of capture, in microseconds: as stamped, and as reported.
    fn lip_error(&self, at: i64) -> (i64, i64) {
        let [sound, picture] = [0, 1].map(|source: usize| {
            let told = &self.told[source];
            let &(captured, told, reported) =
                told.iter().min_by_key(|(captured, ..)| (captured - at).abs()).expect("some");
            (told - captured, reported - captured)
        });
        (picture.0 - sound.0, picture.1 - sound.1)
    }

    /// How much the times of sound grow from one packet to the next, in packets; `None`: by no whole packets.
    fn packets_apart(&self) -> Vec<Option<i64>> {
        let mut ticks = self.ticks[0].clone();
        // Jitter reorders.
        ticks.sort_unstable();
        ticks
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) % 960 == 0)
            .zip(ticks.windows(2))
            .map(|(whole, pair)| whole.then(|| (pair[1] - pair[0]) / 960))
            .collect()
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
            // By its own clock it captures each `interval`.
            let stamp = n * interval;
            let captured = stamp - stamp * sender.skew_ppm / 1_000_000 + sender.lost(source, stamp);
            let jitter = if sender.jitter == 0 { 0 } else { (sender.random.next() % sender.jitter) as i64 };
            let queued = if sender.queue.0.contains(&captured) { sender.queue.1 } else { 0 };
            events.push((captured + sender.delay[source] + jitter + queued, source, captured, stamp, false));
        }
        for report in (sender.first_report[source]..seconds * 1_000_000).step_by(sender.report_interval) {
            let late = if source == 0 { sender.noise() } else { 0 };
            let stamp = report + report * sender.skew_ppm / 1_000_000 - late - sender.lost(source, report);
            events.push((report, source, report, stamp, true));
        }
    }
    events.sort_unstable();
    for (arrival, source, captured, stamp, report) in events {
        let timestamp = (1 << 32) + MediaTime::from_micros(stamp, SCALES[source]).ticks() as u64 + 77;
        if report {
            let wall =
                sender.wall[source].saturating_add_signed(captured + captured * sender.wall_ppm / 1_000_000);
            clocks[source].handle_sender_report(NtpTime::from_unix_micros(wall), timestamp);
            continue;
        }
        let arrival = start + Duration::from_micros(arrival as u64);
        let Some(place) = clocks[source].place(&mut publisher, timestamp, PACKETS[source], arrival) else {
            continue;
        };
        let told = place.time.as_micros();
        run.told[source].push((captured, told, told + i64::from(place.lag_micros)));
        run.ticks[source].push(place.time.ticks());
    }
    run.stats = [clocks[0].stats(), clocks[1].stats()];
    run
}

#[test]
fn sound_and_picture_stay_together() {
    let noisy = |skew_ppm, wall_ppm| Sender {
        skew_ppm,
        wall_ppm,
        jitter: 10_000,
        report_noise: 40_000,
        ..Sender::default()
    };
    let senders: [(&str, Sender); 11] = [
        ("plain", Sender::default()),
        ("jitter", Sender { jitter: 60_000, ..Sender::default() }),
        ("all clocks fast", noisy(200, 200)),
        ("all clocks slow", noisy(-200, -200)),
        ("fast crystals", noisy(200, 0)),
        ("slow crystals", noisy(-200, 0)),
        ("late reports", Sender { first_report: [8_000_000, 9_000_000], jitter: 5_000, ..Sender::default() }),
        ("no reports", Sender { first_report: [i64::MAX; 2], jitter: 10_000, ..Sender::default() }),
        ("one reports", Sender { first_report: [1_000_000, i64::MAX], ..Sender::default() }),
        ("unrelated wall clocks", Sender { wall: [5, 1_700_000_000_000_000], ..Sender::default() }),
        ("noisy reports", noisy(0, 0)),
    ];
    for (what, sender) in senders {
        let drift = sender.skew_ppm.unsigned_abs();
        let run = run(sender, 600);
        for at in [1, 5, 10, 30, 60, 300, 599] {
            let (stamped, reported) = run.lip_error(at * 1_000_000);
            assert!(stamped.abs() <= 20_000, "{what}: picture {stamped} µs behind at {at} s");
            // Without reports, or with few of them that are noisy, there is nothing better to tell.
            if at >= 30 && what != "jitter" {
                assert!(reported.abs() <= 20_000, "{what}: {reported} µs behind at {at} s, as reported");
            }
        }
        for source in 0..2 {
            let mut told = run.told[source].clone();
            // Jitter reorders; by time of capture nothing steps back.
            told.sort_unstable_by_key(|(captured, ..)| *captured);
            assert!(told[30..].is_sorted_by(|a, b| a.1 < b.1), "{what}: time steps back");
            assert_eq!(run.stats[source].reanchored, 0, "{what}");
        }
        let steps = run.packets_apart();
        assert!(steps.iter().all(Option::is_some), "{what}: sound grows by whole packets");
        // 120 ms in ten minutes are six packets of 20 ms.
        let corrected = steps.iter().skip(25).filter(|step| **step != Some(1)).count() as u64;
        let corrected = corrected + run.stats[0].left_out;
        assert!(corrected <= drift * 600 / 20_000 + 3, "{what}: {corrected} corrections");
    }
}

#[test]
fn a_slow_encoder_is_brought_together_by_reports() {
    let run = run(Sender { delay: [10_000, 150_000], ..Sender::default() }, 60);
    assert!(run.lip_error(500_000).0 > 100_000, "by arrival the picture is late");
    assert!(
        run.lip_error(1_500_000).1.abs() <= 5_000,
        "reports tell at once: {}",
        run.lip_error(1_500_000).1
    );
    assert!(run.lip_error(5_000_000).0.abs() <= 20_000, "{}", run.lip_error(5_000_000).0);
    // 50 ms per second, not faster.
    for pair in run.told[1].windows(2).skip(20) {
        let (media, told) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!((told - media).abs() <= media * SLEW_PER_MILLE / 1000 + 25, "{media} became {told}");
    }
    assert!(run.packets_apart().iter().all(|step| *step == Some(1)), "sound is left alone");
}

/// A microphone whose buffer is long: its sound comes 150 ms late, and the reports say so.
#[test]
fn late_sound_is_brought_together_by_whole_packets() {
    let run = run(Sender { delay: [150_000, 10_000], ..Sender::default() }, 60);
    assert!(
        run.lip_error(1_500_000).1.abs() <= 5_000,
        "reports tell at once: {}",
        run.lip_error(1_500_000).1
    );
    assert!(run.lip_error(10_000_000).0.abs() <= 20_000, "{}", run.lip_error(10_000_000).0);
    assert!(run.packets_apart().iter().all(|step| *step == Some(1)), "no gap");
    assert!((6..=8).contains(&run.stats[0].left_out), "{}", run.stats[0].left_out);
}

/// A microphone that underruns: what is missing is believed when a report says so and packets come as much later.
#[test]
fn sound_that_lost_samples_is_brought_back_to_its_picture() {
    let single: [&[(i64, i64)]; 4] = [
        &[(20_000_000, 15_000)],
        &[(20_000_000, 41_000)],
        &[(20_000_000, 100_000)],
        &[(20_000_000, 250_000)],
    ];
    for losses in single {
        for report_noise in [0, 8_000] {
            let sender = Sender {
                losses,
                report_noise,
                jitter: 4_000,
                report_interval: 5_000_000,
                ..Sender::default()
            };
            let run = run(sender, 60);
            for at in [1, 10, 19, 32, 40, 59] {
                let (stamped, reported) = run.lip_error(at * 1_000_000);
                assert!(stamped.abs() <= 20_000, "{losses:?}, {report_noise}: {stamped} µs behind at {at} s");
                assert!(
                    reported.abs() <= 18_000,
                    "{losses:?}, {report_noise}: {reported} µs as told at {at} s"
                );
            }
        }
    }
    let worst = |run: &Run, seconds: std::ops::Range<i64>| {
        seconds.map(|at| run.lip_error(at * 1_000_000).0.abs()).max().expect("some")
    };
    // Small ones that add up: 0.2 % of the sound.
    let sender = Sender {
        losses: &SOME,
        report_noise: 8_000,
        jitter: 4_000,
        report_interval: 5_000_000,
        ..Sender::default()
    };
    let small = run(sender, 80);
    assert!(worst(&small, 1..79) <= 40_000, "{}", worst(&small, 1..79));
    assert!(worst(&small, 50..79) <= 20_000, "{}", worst(&small, 50..79));
    // A machine that is too slow: 2 % all the time. No report is older than 5 s.
    let sender = Sender {
        losses: &MANY,
        report_noise: 20_000,
        jitter: 10_000,
        report_interval: 5_000_000,
        ..Sender::default()
    };
    let busy = run(sender, 80);
    assert!(worst(&busy, 1..79) <= 150_000, "{}", worst(&busy, 1..79));
    assert!(worst(&busy, 50..79) <= 25_000, "{}", worst(&busy, 50..79));
}

/// 6 ms at a time, every third second from the tenth on, and ten times per second.
const SOME: [(i64, i64); 10] = losses(3_000_000, 6_000);
const MANY: [(i64, i64); 300] = losses(100_000, 2_000);

const fn losses<const N: usize>(interval: i64, micros: i64) -> [(i64, i64); N] {
    let mut losses = [(0, micros); N];
    let mut n = 0;
    while n < N {
        losses[n].0 = 10_000_000 + n as i64 * interval;
        n += 1;
    }
    losses
}

/// A line that begins to queue, or stops for a while, on a machine that reports late: sound and picture come later alike.
#[test]
fn a_queue_is_no_loss_of_sound() {
    for (queue, report_interval) in
        [(30_000, 1_000_000), (30_000, 5_000_000), (150_000, 1_000_000), (150_000, 5_000_000)]
    {
        for begins in (20_000_000..22_000_000).step_by(130_000) {
            let ends = begins + 20_000_000;
            let sender = Sender {
                queue: (begins..ends, queue),
                report_noise: 40_000,
                report_interval,
                ..Sender::default()
            };
            let run = run(sender, 50);
            let moments = (19..49).flat_map(|second| [second * 1_000_000, second * 1_000_000 + 700_000]);
            // Where it ends, the picture follows slowly.
            for at in moments.filter(|at| !(ends - 500_000..ends + 5_000_000).contains(at)) {
                let (before, reported) = (run.lip_error(18_000_000).1, run.lip_error(at).1);
                assert!(
                    (reported - before).abs() <= 15_000,
                    "{before} and {reported} µs behind at {at}, {report_interval}, {begins}"
                );
            }
        }
    }
}

#[test]
fn increments_survive_exactly_while_nothing_is_wrong() {
    let run = run(Sender { jitter: 8_000, report_noise: 30_000, ..Sender::default() }, 60);
    assert!(run.packets_apart().iter().skip(25).all(|step| *step == Some(1)));
    assert_eq!(run.stats[0].left_out, 0);
}

/// What comes late over a correction gets the time that it would have had in time.
#[test]
fn a_late_packet_of_sound_does_not_collide() {
    let start = origin();
    let mut publisher = PublisherClock::new(StreamClock::new(start, NtpTime::from_unix_micros(0)));
    let mut source = publisher.source(Timescale::OPUS);
    let mut place = |n: u64, at: u64| {
        let place = source.place(&mut publisher, (1 << 32) + n * 960, 960, start + Duration::from_millis(at));
        place.map(|place| place.time.ticks())
    };
    for n in 0..100 {
        place(n, n * 20);
    }
    // From here on the source is 100 ms less late; packet 101 comes after the correction.
    let before = place(100, 2000).expect("placed");
    assert_eq!(place(102, 1940), Some(before + 960), "the hole is closed by a packet");
    assert_eq!(place(101, 1941), None, "its place is taken");
    assert_eq!(place(99, 1942), Some(before - 960), "it is known");
    assert_eq!(place(103, 1960), Some(before + 1920));
}

fn one() -> (Instant, PublisherClock, SourceClock) {
    let start = origin();
    let mut publisher = PublisherClock::new(StreamClock::new(start, NtpTime::from_unix_micros(0)));
    let source = publisher.source(Timescale::VIDEO);
    (start, publisher, source)
}

/// Where a packet of a picture lies.
fn place(
    source: &mut SourceClock,
    publisher: &mut PublisherClock,
    timestamp: u64,
    arrival: Instant,
) -> MediaTime {
    source.place(publisher, timestamp, 0, arrival).expect("no picture is left out").time
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
            let time = place(&mut source, &mut publisher, timestamp, arrival);
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
        let time = place(&mut source, &mut publisher, (1 << 32) + n * 2970, arrival);
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
    let first = place(&mut source, &mut publisher, 1 << 32, at(100));
    // The next frame is less delayed, so the offset steps; the late packet keeps its frame's time.
    let second = place(&mut source, &mut publisher, (1 << 32) + 3000, at(103));
    assert_eq!(place(&mut source, &mut publisher, 1 << 32, at(104)), first);
    assert_eq!(place(&mut source, &mut publisher, (1 << 32) + 3000, at(140)), second);
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
        let packet = [0, 120, 960, u32::MAX][wild as usize % 4];
        source.place(&mut publisher, wild, packet, start + Duration::from_millis(random.next() % 100_000));
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
        let time = place(&mut source, &mut publisher, packet * 1800, arrival).as_micros();
        assert!(time > last || packet == 0, "time goes on");
        last = time;
    }
    let due = (699 * 20 + 200) * 1000;
    assert!((last - due).abs() <= 40_000, "{last} is near {due}");
    assert_eq!(source.stats().stepped, 1);
}
