//! What waits for one viewer whose line is thin: frames leave in small pieces, and whole ones are dropped when too many
//! wait.
//!
//! The packets stay in the feed's history; a queue is two numbers.

use std::time::{Duration, Instant};

/// What is due within this goes at once: fewer wake-ups, and runs of more than one packet.
pub(crate) const QUANTUM: Duration = Duration::from_millis(5);
/// How old a packet may be when its turn comes. A keyframe of a Layer that just fits takes about half of it; beyond it
/// every frame comes later than the one before, and it is better to begin again with the next keyframe
/// (`paced_frames_dropped`).
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(600);
/// From half of that on, frames that no other refers to are left out.
pub(crate) const WAIT_LONG: Duration = Duration::from_millis(300);

/// One viewer's queue of live pictures.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate_bps: u64,
    /// The source's number of the next packet, and the one after the last.
    pub(crate) next: u64,
    pub(crate) end: u64,
    due: Instant,
    /// The frame under way is left out.
    pub(crate) leaving_out: bool,
}

impl Pacer {
    pub(crate) fn new(now: Instant, rate_bps: u64) -> Self {
        Self { rate_bps, next: 0, end: 0, due: now, leaving_out: false }
    }

    /// Bits per second, from now on.
    pub(crate) fn set_rate(&mut self, rate_bps: u64) {
        self.rate_bps = rate_bps.max(1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.end
    }

    /// Packets of the source wait from now on. False: they are of what was sent already, and go at once.
    pub(crate) fn push(&mut self, from: u64, to: u64) -> bool {
        if self.is_empty() {
            if to <= self.end {
                return false;
            }
            (self.next, self.end) = (from.max(self.next), to);
        } else if to <= self.next {
            return false;
        }
        self.end = self.end.max(to);
        true
    }

    /// Nothing waits any more; other numbers may come.
    pub(crate) fn clear(&mut self) {
        (self.next, self.end, self.leaving_out) = (0, 0, false);
    }

    /// When the next packet may go. `None`: now.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        (self.due > now + QUANTUM).then_some(self.due)
    }

    /// The next packet was sent, with so many bytes, or left out.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        self.next += 1;
        self.charge(now, bytes);
    }

    /// Something else took so much of the line.
    pub(crate) fn charge(&mut self, now: Instant, bytes: usize) {
        // Time in which nothing waited is not saved up.
        self.due = self.due.max(now) + Duration::from_micros(bytes as u64 * 8_000_000 / self.rate_bps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    /// Sends what may go at each millisecond; how many packets of 1000 bytes went when.
    fn run(pacer: &mut Pacer, start: Instant, millis: u64) -> Vec<u64> {
        let mut went = Vec::new();
        for at in 0..millis {
            let now = start + Duration::from_millis(at);
            while !pacer.is_empty() && pacer.wait(now).is_none() {
                pacer.sent(now, 1000);
                went.push(at);
            }
        }
        went
    }

    #[test]
    fn packets_leave_at_the_rate_and_not_faster_after_a_pause() {
        let start = beginning();
        let mut pacer = Pacer::new(start, 1_000_000);
        assert!(pacer.push(0, 10));
        // 8 ms each; what is due within 5 ms goes along.
        assert_eq!(run(&mut pacer, start, 100), [0, 3, 11, 19, 27, 35, 43, 51, 59, 67]);
        let later = start + Duration::from_secs(5);
        assert!(pacer.push(10, 13));
        assert_eq!(run(&mut pacer, later, 100), [0, 3, 11]);
    }

    #[test]
    fn what_is_late_does_not_wait_behind_what_is_newer() {
        let mut pacer = Pacer::new(beginning(), 1_000_000);
        assert!(pacer.push(5, 8));
        pacer.sent(beginning(), 1000);
        assert!(!pacer.push(4, 5), "its turn is over");
        assert!(pacer.push(6, 7), "its turn comes");
        assert_eq!((pacer.next, pacer.end), (6, 8));
        pacer.sent(beginning(), 1000);
        pacer.sent(beginning(), 1000);
        assert!(pacer.is_empty());
        assert!(!pacer.push(7, 8));
        assert!(pacer.push(8, 9));
    }
}
