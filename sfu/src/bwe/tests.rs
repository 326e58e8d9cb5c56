//! The whole estimator against a line that is known: a rate, a queue, losses, and a receiver that reports.

use std::collections::VecDeque;

use super::*;
use crate::core::up_track::beginning;

const MS: Duration = Duration::from_millis(1);

/// Transport-wide feedback for packets from `base` on; `None` is lost. Arrivals in microseconds.
fn feedback(base: u16, arrivals: &[Option<i64>]) -> Vec<u8> {
    let first = arrivals.iter().flatten().min().copied().unwrap_or(0);
    let reference = first.div_euclid(64_000);
    let mut bytes = base.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(arrivals.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
    bytes.push(0);
    for seven in arrivals.chunks(7) {
        let statuses = (0..7).map(|at| u16::from(seven.get(at).is_some_and(Option::is_some)) * 2);
        let chunk = statuses.fold(3, |chunk, status| chunk << 2 | status);
        bytes.extend_from_slice(&chunk.to_be_bytes());
    }
    let mut last = reference * 64_000;
    for arrival in arrivals.iter().flatten() {
        let delta = (arrival - last) / 250;
        bytes.extend_from_slice(&(delta as i16).to_be_bytes());
        last += delta * 250;
    }
    bytes
}

/// A sender of frames, a line, a receiver. Times in microseconds since the beginning.
struct Bench {
    congestion: Congestion,
    start: Instant,
    now: i64,
    number: u16,
    /// The line.
    bps: f64,
    queue_max: i64,
    loss_percent: u64,
    /// How many packets in a row are lost, on average; up to 1: each by itself.
    loss_row: u64,
    losing: bool,
    free: i64,
    /// What is on its way: number, arrival.
    flying: VecDeque<(u16, Option<i64>)>,
    random: u64,
    /// Longest wait lately.
    waits: Vec<i64>,
    dropped: u64,
}

const LATENCY: i64 = 20_000;

impl Bench {
    fn new(bps: f64, queue_ms: i64) -> Self {
        let start = beginning();
        Self {
            congestion: Congestion::new(start, 1_000_000),
            start,
            now: 0,
            number: 65_000,
            bps,
            queue_max: queue_ms * 1000,
            loss_percent: 0,
            loss_row: 1,
            losing: false,
            free: 0,
            flying: VecDeque::new(),
            random: 5,
            waits: Vec::new(),
            dropped: 0,
        }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_micros(self.now as u64)
    }

    fn send(&mut self, bytes: usize) {
        self.congestion.sent(self.at(), self.number, bytes);
        let wait = (self.free - self.now).max(0);
        let lost = self.loses();
        let full = wait > self.queue_max;
        self.dropped += u64::from(full);
        let arrival = (!lost && !full).then(|| {
            self.waits.push(wait);
            self.free = self.now + wait + (bytes as f64 * 8e6 / self.bps) as i64;
            self.free + LATENCY
        });
        self.flying.push_back((self.number, arrival));
        self.number = self.number.wrapping_add(1);
    }

    fn loses(&mut self) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let dice = ((self.random >> 33) % 1_000_000) as f64 / 10_000.0;
        let percent = self.loss_percent as f64;
        if self.loss_row <= 1 {
            return dice < percent;
        }
        // Gilbert: out of a row with one chance in its length, and into one so often that the mean is right.
        let leave = 100.0 / self.loss_row as f64;
        let enter = leave * percent / (100.0 - percent);
        self.losing ^= dice < if self.losing { leave } else { enter };
        self.losing
    }

    /// Runs; a frame every 33 ms at what `rate` says of the estimate.
    fn run(&mut self, millis: i64, rate: impl Fn(Option<u64>) -> f64) -> u64 {
        let end = self.now + millis * 1000;
        let (mut frame, mut report, mut tick) = (self.now, self.now, self.now);
        while self.now < end {
            self.now += 1000;
            if self.now >= frame {
                frame += 33_333;
                let mut bytes = (rate(self.congestion.estimate_bps()) / 30.0 / 8.0) as usize;
                while bytes > 0 {
                    self.send(bytes.min(1150));
                    bytes = bytes.saturating_sub(1150);
                }
            }
            while let Some(bytes) = self.congestion.poll_probe(self.at()) {
                self.send(bytes);
            }
            if self.now >= report {
                report += 100_000;
                self.report();
            }
            if self.now >= tick {
                tick += 25_000;
                self.congestion.handle_timeout(self.at(), true);
            }
        }
        self.congestion.estimate_bps().unwrap_or(0)
    }

    /// What has arrived until one way ago.
    fn report(&mut self) {
        let seen = self.now - LATENCY;
        let last = self.flying.iter().rposition(|(_, arrival)| arrival.is_some_and(|at| at <= seen));
        let Some(last) = last else { return };
        let told: Vec<(u16, Option<i64>)> = self.flying.drain(..=last).collect();
        let arrivals: Vec<Option<i64>> = told.iter().map(|(_, arrival)| *arrival).collect();
        self.congestion.handle_transport_cc(self.at(), &feedback(told[0].0, &arrivals));
    }

    fn p95_wait_ms(&mut self) -> i64 {
        let mut waits = std::mem::take(&mut self.waits);
        waits.sort_unstable();
        waits.get(waits.len() * 95 / 100).map_or(0, |wait| wait / 1000)
    }
}

#[test]
fn without_feedback_there_is_no_estimate() {
    let mut bench = Bench::new(3e6, 200);
    for _ in 0..100 {
        bench.now += 10_000;
        bench.send(1000);
        bench.flying.clear();
    }
    assert_eq!(bench.congestion.estimate_bps(), None);
    bench.congestion.handle_remb(bench.at(), 700_000);
    assert_eq!(bench.congestion.estimate_bps(), Some(700_000));
}

#[test]
fn the_estimate_follows_the_line_down_and_up() {
    let mut bench = Bench::new(3e6, 300);
    bench.congestion.set_wanted_bps(2_500_000);
    let follow = |estimate: Option<u64>| (estimate.unwrap_or(1_000_000) as f64 * 0.9).min(2.5e6);
    let high = bench.run(5000, follow);
    assert!((2_300_000..3_200_000).contains(&high), "{high}");
    bench.bps = 6e5;
    let low = bench.run(2000, follow);
    assert!((350_000..620_000).contains(&low), "{low} after 2 s");
    bench.run(3000, follow);
    bench.waits.clear();
    let low = bench.run(20_000, follow);
    assert!((400_000..630_000).contains(&low), "{low}");
    let wait = bench.p95_wait_ms();
    assert!(wait < 120, "{wait} ms");
    bench.bps = 3e6;
    let back = bench.run(8000, follow);
    assert!(back > 2_000_000, "{back} after 8 s");
}

#[test]
fn a_sender_that_has_little_to_send_neither_falls_nor_rises() {
    let mut bench = Bench::new(3e6, 300);
    bench.congestion.set_wanted_bps(2_500_000);
    let before = bench.run(4000, |estimate| (estimate.unwrap_or(1_000_000) as f64 * 0.9).min(2.5e6));
    bench.congestion.set_wanted_bps(0);
    let after = bench.run(60_000, |_| 3e5);
    assert!(after.abs_diff(before) < before / 50, "nothing was learnt: {before} {after}");
    // One that begins with little finds more only by probes.
    let mut bench = Bench::new(3e6, 300);
    let little = bench.run(20_000, |_| 3e5);
    assert!(little <= 1_000_000, "{little}");
    bench.congestion.set_wanted_bps(2_000_000);
    let probed = bench.run(3000, |_| 3e5);
    assert!(probed > 1_800_000, "{probed}");
}

#[test]
fn random_loss_leaves_the_estimate_usable() {
    for (loss_percent, least) in [(2, 2_300_000), (5, 2_200_000), (10, 1_500_000)] {
        let mut bench = Bench::new(4e6, 300);
        bench.loss_percent = loss_percent;
        bench.congestion.set_wanted_bps(2_500_000);
        let estimate = bench.run(30_000, |estimate| (estimate.unwrap_or(1_000_000) as f64).min(2.4e6));
        assert!(estimate >= least, "{loss_percent} %: {estimate}");
    }
}

#[test]
fn probes_of_a_thin_line_lose_nothing_and_fill_no_queue() {
    for queue_ms in [60, 120, 300] {
        let mut bench = Bench::new(6e5, queue_ms);
        bench.congestion.set_wanted_bps(2_500_000);
        let below = |_: Option<u64>| 4.5e5;
        bench.run(10_000, below);
        (bench.dropped, bench.waits) = (0, Vec::new());
        let estimate = bench.run(60_000, below);
        assert!((450_000..650_000).contains(&estimate), "{estimate}");
        assert_eq!(bench.dropped, 0, "queue of {queue_ms} ms");
        let wait = bench.p95_wait_ms();
        assert!(wait < 60, "{wait} ms");
    }
}

#[test]
fn a_line_that_says_nothing_any_more_is_trusted_less_and_less() {
    let mut bench = Bench::new(3e6, 300);
    let before = bench.run(4000, |_| 1e6);
    for _ in 0..400 {
        bench.now += 10_000;
        bench.send(1000);
        bench.congestion.handle_timeout(bench.at(), true);
    }
    let after = bench.congestion.estimate_bps().expect("still known");
    assert!(after <= before / 4, "{before} {after}");
    for _ in 0..1000 {
        bench.now += 10_000;
        bench.send(1000);
        bench.congestion.handle_timeout(bench.at(), true);
    }
    assert_eq!(bench.congestion.estimate_bps(), None);
}

#[test]
fn garbage_changes_nothing_but_a_counter() {
    let mut bench = Bench::new(3e6, 300);
    let before = bench.run(3000, |_| 1e6);
    let mut state = 9_u64;
    for length in 0..3000_usize {
        let bytes: Vec<u8> = (0..length % 61)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        bench.congestion.handle_transport_cc(bench.start + MS * 3000, &bytes);
    }
    assert!(bench.congestion.take_happened().feedback_refused > 1000);
    let after = bench.run(3000, |_| 1e6);
    assert!(after > before / 2, "{before} {after}");
}

#[test]
fn losses_in_rows_neither_fill_a_line_nor_thin_the_picture() {
    // Three Layers, repair and all, on a line of 50 Mbit/s.
    let layered = |estimate: Option<u64>| match estimate.unwrap_or(3_000_000) {
        1_700_000.. => 1.6e6,
        600_000.. => 5.7e5,
        _ => 2.2e5,
    };
    for (loss, row, highest_percent) in [(5, 1, 100), (10, 1, 99), (5, 4, 99), (10, 4, 99)] {
        let (mut looks, mut high) = (0, 0);
        for seed in 0..10 {
            let mut bench = Bench::new(5e7, 100);
            (bench.loss_percent, bench.loss_row, bench.random) = (loss, row, seed * 7919 + 5);
            for _ in 0..300 {
                bench.congestion.set_wanted_bps(2_200_000);
                let estimate = bench.run(100, layered);
                looks += 1;
                high += u64::from(layered(Some(estimate)) > 1e6 || estimate == 0);
                assert!(!bench.congestion.is_full(bench.at()), "{loss} % in rows of {row}, seed {seed}");
            }
        }
        assert!(high * 100 >= looks * highest_percent, "{loss} % in rows of {row}: {high} of {looks}");
    }
}

#[test]
fn more_loss_than_any_line_has_by_itself_fills_it() {
    let mut bench = Bench::new(5e7, 100);
    bench.loss_percent = 40;
    bench.run(1000, |_| 2.5e6);
    assert!(!bench.congestion.is_full(bench.at()), "it may be over at once");
    bench.run(3000, |_| 2.5e6);
    assert!(bench.congestion.is_full(bench.at()));
}
