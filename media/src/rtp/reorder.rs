//! Puts packets back in order within a window of time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::RtpPacket;

/// How long a hole is waited for: one retransmission on a common uplink (20 ms until it is noticed, 60 ms
/// round trip) and some jitter. Then the packets behind it go on; [`ReorderStats::lost`] counts the hole.
pub const REORDER_WINDOW: Duration = Duration::from_millis(100);

/// Packets that wait at most: what a 100 Mbit/s source sends in the window. Beyond it the oldest hole is
/// given up early, counted in [`ReorderStats::lost`] too.
pub const REORDER_PACKETS_MAX: usize = 1024;

/// What became of the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReorderStats {
    /// Packets that never came in time.
    pub lost: u64,
    /// Packets that came after their place was given up or taken.
    pub late: u64,
    /// Packets that were there already.
    pub duplicate: u64,
}

impl std::ops::Add for ReorderStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            late: self.late + other.late,
            duplicate: self.duplicate + other.duplicate,
        }
    }
}

/// A reorder window of one Layer.
#[derive(Debug, Default)]
pub struct Reorder {
    /// In order of sequence number, without duplicates.
    waiting: VecDeque<RtpPacket>,
    /// The number that goes out next; `None` before the first packet.
    next: Option<u64>,
    stats: ReorderStats,
}

impl Reorder {
    /// Takes a packet as it arrived.
    pub fn push(&mut self, packet: RtpPacket) {
        if self.next.is_some_and(|next| packet.seq < next) {
            self.stats.late += 1;
            return;
        }
        // Nearly always it belongs at the end.
        let mut place = self.waiting.len();
        while place > 0 && self.waiting[place - 1].seq >= packet.seq {
            if self.waiting[place - 1].seq == packet.seq {
                self.stats.duplicate += 1;
                return;
            }
            place -= 1;
        }
        self.waiting.insert(place, packet);
    }

    /// The next packet in order, if it is there or the wait for what is missing is over.
    pub fn pop(&mut self, now: Instant) -> Option<RtpPacket> {
        let first = self.waiting.front()?;
        let in_order = self.next.is_none_or(|next| next == first.seq);
        let given_up = self.waiting.len() > REORDER_PACKETS_MAX
            || now.saturating_duration_since(first.arrival) >= REORDER_WINDOW;
        if in_order || given_up { self.take() } else { None }
    }

    /// The next packet in order whether or not something is missing before it: the source ended.
    pub fn take(&mut self) -> Option<RtpPacket> {
        let first = self.waiting.pop_front()?;
        self.stats.lost += first.seq - self.next.unwrap_or(first.seq);
        self.next = Some(first.seq + 1);
        Some(first)
    }

    /// When [`Self::pop`] gives up what is missing now; `None` if nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.arrival + REORDER_WINDOW)
    }

    /// What became of the packets so far.
    pub fn stats(&self) -> ReorderStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::tests::packet;
    use crate::time::tests::origin;

    /// Pushes (seq, arrival in ms), popping after each at that time; says what came out.
    fn run(arrivals: &[(u64, u64)]) -> (Vec<u64>, ReorderStats) {
        let start = origin();
        let (mut reorder, mut out) = (Reorder::default(), Vec::new());
        for &(seq, at) in arrivals {
            let now = start + Duration::from_millis(at);
            reorder.push(RtpPacket { arrival: now, ..packet(seq) });
            while let Some(packet) = reorder.pop(now) {
                out.push(packet.seq);
            }
        }
        (out, reorder.stats())
    }

    #[test]
    fn order_is_restored_within_the_window_only() {
        let stats = |lost, late, duplicate| ReorderStats { lost, late, duplicate };
        for (arrivals, out, expected) in [
            (&[(5, 0), (6, 1), (7, 2)][..], &[5, 6, 7][..], stats(0, 0, 0)),
            (&[(5, 0), (7, 1), (8, 2), (6, 3)], &[5, 6, 7, 8], stats(0, 0, 0)),
            (&[(5, 0), (7, 1), (8, 50)], &[5], stats(0, 0, 0)),
            (&[(5, 0), (7, 1), (8, 101), (6, 102)], &[5, 7, 8], stats(1, 1, 0)),
            (&[(5, 0), (7, 1), (7, 2), (5, 3), (6, 4)], &[5, 6, 7], stats(0, 1, 1)),
            (&[(5, 0), (4, 1), (6, 2)], &[5, 6], stats(0, 1, 0)),
        ] {
            assert_eq!(run(arrivals), (out.to_vec(), expected), "{arrivals:?}");
        }
    }

    #[test]
    fn a_full_window_gives_up_early() {
        let many: Vec<(u64, u64)> =
            std::iter::once((0, 0)).chain((2..3_000).rev().map(|seq| (seq, 1))).collect();
        let (out, stats) = run(&many);
        assert!(out.len() <= 3_000 && out.is_sorted());
        assert!(stats.lost > 0 && stats.late > 0);
    }

    #[test]
    fn the_end_flushes() {
        let mut reorder = Reorder::default();
        for seq in [1, 4, 3] {
            reorder.push(packet(seq));
        }
        let out: Vec<u64> = std::iter::from_fn(|| reorder.take()).map(|packet| packet.seq).collect();
        assert_eq!((out, reorder.stats().lost), (vec![1, 3, 4], 1));
        assert_eq!(reorder.deadline(), None);
    }
}
