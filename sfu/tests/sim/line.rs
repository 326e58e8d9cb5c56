//! The way between the server and one viewer: delay, loss, and a bottleneck with a queue.

use std::time::{Duration, Instant};

/// IPv4 and UDP headers: they take their part of a line.
const HEADERS: usize = 28;

/// A small generator with a seed that can be printed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True once in a while.
    pub(crate) fn chance(&mut self, percent: f64) -> bool {
        (self.next() % 1_000_000) as f64 / 10_000.0 < percent
    }
}

/// What a line is like. May be changed while the world runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// One way.
    pub(crate) latency: Duration,
    /// Up to so much more, for each packet by itself: packets overtake each other.
    pub(crate) jitter: Duration,
    /// Of all packets, both ways; handshakes excepted.
    pub(crate) loss_percent: f64,
    /// How many packets in a row are lost, on average (Gilbert-Elliott: in the bad state all are). Up to 1: each by
    /// itself.
    pub(crate) loss_burst: f64,
    /// Bits per second to the viewer, headers included. `None`: as many as are sent.
    pub(crate) capacity_bps: Option<u64>,
    /// Bytes that wait at the bottleneck at most; media that finds it full is dropped.
    pub(crate) queue_bytes: usize,
    /// Packets that come twice.
    pub(crate) duplicate_percent: f64,
    /// Packets that take three times as long.
    pub(crate) reorder_percent: f64,
    /// Until then the viewer reads nothing of what comes.
    pub(crate) unread_until: Option<Instant>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss_percent: 0.0,
            loss_burst: 1.0,
            capacity_bps: None,
            queue_bytes: usize::MAX,
            duplicate_percent: 0.0,
            reorder_percent: 0.0,
            unread_until: None,
        }
    }
}

impl Line {
    /// A bottleneck of so many bits per second, with a queue of so many milliseconds at that rate.
    pub(crate) fn thin(capacity_bps: u64, queue_ms: u64) -> Self {
        let queue_bytes = (capacity_bps * queue_ms / 8000) as usize;
        Self { capacity_bps: Some(capacity_bps), queue_bytes, ..Self::default() }
    }
}

/// A media packet to the viewer as the bottleneck saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) at: Instant,
    /// How long it waited. `None`: there was no room.
    pub(crate) waited: Option<Duration>,
}

/// Where a line is.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineState {
    /// When the bottleneck will have sent all that waits.
    free: Option<Instant>,
    /// Down and up: in the state in which everything is lost.
    bad: [bool; 2],
    /// What came to the bottleneck.
    pub(crate) passed: Vec<Passed>,
}

impl LineState {
    /// When a datagram that is sent now arrives: never, once, or twice. `media`: it is no handshake.
    pub(crate) fn pass(
        &mut self,
        now: Instant,
        line: &Line,
        random: &mut Random,
        to_server: bool,
        media: bool,
        bytes: usize,
    ) -> [Option<Instant>; 2] {
        if media && self.loses(line, random, to_server) {
            return [None; 2];
        }
        let mut leaves = now;
        // The way up has no bottleneck.
        if let Some(bps) = line.capacity_bps.filter(|_| !to_server) {
            let free = self.free.map_or(now, |free| free.max(now));
            let waiting = (free - now).as_secs_f64() * bps as f64 / 8.0;
            let drop = media && waiting + bytes as f64 > line.queue_bytes as f64;
            if media {
                self.passed.push(Passed { at: now, waited: (!drop).then(|| free - now) });
            }
            if drop {
                return [None; 2];
            }
            leaves = free + Duration::from_secs_f64((bytes + HEADERS) as f64 * 8.0 / bps as f64);
            self.free = Some(leaves);
        }
        let jitter = line.jitter.as_micros() as u64;
        let jitter = if jitter == 0 { 0 } else { random.next() % jitter };
        let late = line.reorder_percent > 0.0 && random.chance(line.reorder_percent);
        let mut arrives = leaves + line.latency * if late { 3 } else { 1 } + Duration::from_micros(jitter);
        if let Some(until) = line.unread_until.filter(|_| !to_server) {
            arrives = arrives.max(until);
        }
        let twice = line.duplicate_percent > 0.0 && random.chance(line.duplicate_percent);
        [Some(arrives), twice.then(|| arrives + Duration::from_millis(1))]
    }

    fn loses(&mut self, line: &Line, random: &mut Random, to_server: bool) -> bool {
        if line.loss_burst <= 1.0 {
            return random.chance(line.loss_percent);
        }
        // The bad state lasts for a burst, on average, and the good one so long that the mean loss is right.
        let leave_bad = 100.0 / line.loss_burst;
        let leave_good = leave_bad * line.loss_percent / (100.0 - line.loss_percent);
        let bad = &mut self.bad[usize::from(to_server)];
        *bad ^= random.chance(if *bad { leave_bad } else { leave_good });
        *bad
    }

    /// Of the packets since then: how long the given percentile of them waited, and the share that was dropped.
    pub(crate) fn waits(&self, since: Instant, percent: usize) -> (Duration, f64) {
        let seen = || self.passed.iter().filter(|packet| packet.at >= since);
        let mut waits: Vec<Duration> = seen().filter_map(|packet| packet.waited).collect();
        waits.sort_unstable();
        let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
        let dropped = seen().filter(|packet| packet.waited.is_none()).count();
        (waits.get(at).copied().unwrap_or_default(), dropped as f64 / seen().count().max(1) as f64)
    }
}
