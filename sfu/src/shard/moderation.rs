//! How often a shard looks at its UDP sockets, mailbox and bus: at once while little comes, and at intervals while much does.
//!
//! Thousands of viewers send feedback and consent checks one datagram at a time, and a wake-up with its system calls costs
//! more than what most of them need. It is what network cards do with their interrupts.

use std::time::{Duration, Instant};

/// What is measured at once.
const WINDOW: Duration = Duration::from_millis(250);
/// From this many datagrams per second on, a shard without publishers looks at its UDP sockets at intervals: what they bring is
/// feedback and checks, and no media waits for it.
const VIEWERS_PER_SECOND: u64 = 200;
/// Between two such looks. Answers to NACKs and checks are later by half of it on average.
const VIEWERS_INTERVAL: Duration = Duration::from_millis(5);
/// From this many on, a shard with publishers looks at intervals, for mailbox and bus too.
const BUSY_PER_SECOND: u64 = 1000;
/// Between two such looks. Media is later by half of it on average, so it is shorter.
const BUSY_INTERVAL: Duration = Duration::from_millis(2);

/// What a look takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) udp: bool,
    /// Mailbox and bus.
    pub(crate) bus: bool,
}

impl Open {
    pub(crate) const ALL: Self = Self { udp: true, bus: true };
}

/// When they are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moderation {
    began: Instant,
    /// Since then.
    datagrams: u64,
    /// Between two looks.
    udp_interval: Duration,
    bus_interval: Duration,
    udp_next: Instant,
    bus_next: Instant,
}

impl Moderation {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            datagrams: 0,
            udp_interval: Duration::ZERO,
            bus_interval: Duration::ZERO,
            udp_next: now,
            bus_next: now,
        }
    }

    /// What may be looked at now, and when that will be more.
    pub(crate) fn open(&self, now: Instant) -> (Open, Option<Instant>) {
        let closed = [self.udp_next, self.bus_next].into_iter().filter(|next| *next > now);
        (Open { udp: self.udp_next <= now, bus: self.bus_next <= now }, closed.min())
    }

    /// A look that took that in has ended.
    pub(crate) fn looked(&mut self, now: Instant, open: Open) {
        if open.udp {
            self.udp_next = now + self.udp_interval;
        }
        if open.bus {
            self.bus_next = now + self.bus_interval;
        }
    }

    /// So many datagrams were received, on a shard with or without `publishers`; `more` wait.
    pub(crate) fn received(&mut self, now: Instant, datagrams: usize, publishers: bool, more: bool) {
        self.datagrams += datagrams as u64;
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= WINDOW {
            let over = |per_second| self.datagrams * 1000 > per_second * elapsed.as_millis() as u64;
            (self.udp_interval, self.bus_interval) = match publishers {
                true if over(BUSY_PER_SECOND) => (BUSY_INTERVAL, BUSY_INTERVAL),
                // Each gate that opens is a wake-up: there is one only.
                false if over(VIEWERS_PER_SECOND) => (VIEWERS_INTERVAL, Duration::ZERO),
                _ => (Duration::ZERO, Duration::ZERO),
            };
            (self.began, self.datagrams) = (now, 0);
        }
        if more {
            self.udp_next = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    /// Looks at UDP and at the bus in a second in which so many datagrams come, evenly, and something by the bus every
    /// `bus_us`, after a second of the same.
    fn looks(per_second: u64, publishers: bool, bus_us: u64) -> [usize; 2] {
        let start = beginning();
        let mut moderation = Moderation::new(start);
        let (mut waiting, mut rung, mut looks) = (0, false, [0, 0]);
        for microsecond in (0..2_000_000).step_by(50) {
            let now = start + Duration::from_micros(microsecond);
            waiting += u64::from(
                microsecond / 50 * per_second / 20_000 != (microsecond / 50 + 1) * per_second / 20_000,
            );
            rung |= microsecond % bus_us == 0;
            let (mut open, _) = moderation.open(now);
            let bus = rung && open.bus;
            if bus {
                open = Open::ALL;
            }
            let udp = waiting > 0 && open.udp;
            if !udp && !bus {
                continue;
            }
            moderation.looked(now, open);
            if udp {
                moderation.received(now, waiting as usize, publishers, false);
                waiting = 0;
            }
            rung &= !bus;
            if microsecond >= 1_000_000 {
                looks[0] += usize::from(udp);
                looks[1] += usize::from(bus);
            }
        }
        looks
    }

    const SELDOM: u64 = 40_000;

    #[test]
    fn who_gets_little_looks_at_once_and_who_gets_much_at_intervals() {
        for publishers in [false, true] {
            assert_eq!(looks(150, publishers, SELDOM), [150, 25]);
        }
        assert_eq!(looks(900, true, SELDOM), [900, 25], "it may be media");
        for busy in [1100, 2000, 10_000] {
            let [udp, _] = looks(busy, true, SELDOM);
            assert!((330..=500).contains(&udp), "{busy}: {udp}");
        }
        for busy in [300, 900, 2000, 10_000] {
            let [udp, bus] = looks(busy, false, SELDOM);
            assert!((120..=220).contains(&udp), "{busy}: {udp}");
            assert_eq!(bus, 25);
        }
    }

    #[test]
    fn who_is_busy_with_media_takes_the_bus_at_intervals_and_others_at_once() {
        for per_second in [900, 2000] {
            assert_eq!(looks(per_second, false, 500)[1], 2000);
        }
        let [_, bus] = looks(2000, true, 500);
        assert!((330..=500).contains(&bus), "{bus}");
    }

    #[test]
    fn a_look_for_the_bus_takes_the_feedback_too() {
        let [udp, bus] = looks(900, false, 3000);
        assert!(udp <= bus, "{udp} looks at UDP, {bus} at the bus");
    }

    #[test]
    fn what_did_not_fit_is_read_at_once() {
        let start = beginning();
        let mut moderation = Moderation::new(start);
        for turn in 0..1000 {
            let now = start + Duration::from_millis(turn);
            moderation.looked(now, Open::ALL);
            moderation.received(now, 64, true, true);
            assert!(moderation.open(now).0.udp);
        }
        let now = start + Duration::from_secs(1);
        moderation.looked(now, Open::ALL);
        moderation.received(now, 3, true, false);
        assert_eq!(moderation.open(now), (Open { udp: false, bus: false }, Some(now + BUSY_INTERVAL)));
        assert_eq!(moderation.open(now + BUSY_INTERVAL), (Open::ALL, None));
    }
}
