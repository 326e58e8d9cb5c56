//! How often a shard looks at its UDP sockets, mailbox and bus: at once while little comes, and at intervals while much does.
//!
//! Thousands of viewers send feedback and consent checks one datagram at a time, and a wake-up with its system calls costs
//! more than what most of them need. It is what network cards do with their interrupts.

use std::time::{Duration, Instant};

/// A shard that gets more than this many datagrams per second looks at intervals.
const BUSY_PER_SECOND: u64 = 1000;
/// What is measured at once.
const WINDOW: Duration = Duration::from_millis(250);
/// Between two looks. Answers to NACKs and checks, and media, are later by half of it on average.
const INTERVAL: Duration = Duration::from_millis(2);

/// When they are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moderation {
    began: Instant,
    /// Since then.
    datagrams: u64,
    busy: bool,
    next: Instant,
}

impl Moderation {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, datagrams: 0, busy: false, next: now }
    }

    /// So many were received; `more` wait.
    pub(crate) fn received(&mut self, now: Instant, datagrams: usize, more: bool) {
        self.datagrams += datagrams as u64;
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= WINDOW {
            self.busy = self.datagrams * 1000 > BUSY_PER_SECOND * elapsed.as_millis() as u64;
            (self.began, self.datagrams) = (now, 0);
        }
        self.next = if self.busy && !more { now + INTERVAL } else { now };
    }

    /// When they may be looked at. `None`: at once.
    pub(crate) fn closed_until(&self, now: Instant) -> Option<Instant> {
        Some(self.next).filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    /// Looks in a second in which so many datagrams come, evenly, after a second of the same.
    fn looks(per_second: u64) -> usize {
        let start = beginning();
        let mut moderation = Moderation::new(start);
        let (mut waiting, mut looks) = (0, 0);
        for microsecond in (0..2_000_000).step_by(50) {
            let now = start + Duration::from_micros(microsecond);
            waiting += u64::from(
                microsecond / 50 * per_second / 20_000 != (microsecond / 50 + 1) * per_second / 20_000,
            );
            if waiting > 0 && moderation.closed_until(now).is_none() {
                moderation.received(now, waiting as usize, false);
                waiting = 0;
                looks += usize::from(microsecond >= 1_000_000);
            }
        }
        looks
    }

    #[test]
    fn who_gets_little_looks_at_once_and_who_gets_much_at_intervals() {
        assert_eq!(looks(200), 200);
        assert_eq!(looks(900), 900);
        for busy in [1100, 2000, 10_000] {
            assert!((330..=500).contains(&looks(busy)), "{busy}: {}", looks(busy));
        }
    }

    #[test]
    fn what_did_not_fit_is_read_at_once() {
        let start = beginning();
        let mut moderation = Moderation::new(start);
        for turn in 0..1000 {
            let now = start + Duration::from_millis(turn);
            moderation.received(now, 64, true);
            assert_eq!(moderation.closed_until(now), None);
        }
        let now = start + Duration::from_secs(1);
        moderation.received(now, 3, false);
        assert_eq!(moderation.closed_until(now), Some(now + INTERVAL));
        assert_eq!(moderation.closed_until(now + INTERVAL), None);
    }
}
