//! Which packets of a source arrived, which are missing, and which of those to ask for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets remembered for telling a duplicate from a late one: 1.7 s at 8 Mbit/s, longer than
/// [`REPAIR_DEADLINE`]. What is older is dropped as too late.
const WINDOW_PACKETS: u64 = 2048;
/// Most packets waited for at a time. A larger hole is an outage: asking for all of it would only add load,
/// so the oldest are given up (`lost`).
const MISSING_MAX: usize = 256;
/// Reordering on a path is rarely longer; a packet that comes within it is not asked for.
const REORDER_TOLERANCE: Duration = Duration::from_millis(10);
/// Between two requests for the same packet: about a round trip on a bad path.
const NACK_INTERVAL: Duration = Duration::from_millis(80);
/// Requests per packet.
const NACKS_MAX: u8 = 5;
/// After that a packet is of no use: viewers have shown or dropped its frame.
const REPAIR_DEADLINE: Duration = Duration::from_millis(600);

/// The sequence numbers of one source.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// First number seen; nothing before it is wanted.
    first: u64,
    highest: u64,
    seen: Box<[u64; (WINDOW_PACKETS / 64) as usize]>,
    missing: VecDeque<Missing>,
    repair: bool,
}

#[derive(Debug)]
struct Missing {
    seq: u64,
    since: Instant,
    next: Instant,
    asked: u8,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    New,
    Duplicate,
    TooLate,
}

impl Arrivals {
    /// Begins with a first packet. `repair`: the source answers NACKs.
    pub(super) fn new(first: u64, repair: bool) -> Self {
        let mut arrivals = Self {
            first,
            highest: first,
            seen: Box::new([0; (WINDOW_PACKETS / 64) as usize]),
            missing: VecDeque::new(),
            repair,
        };
        arrivals.mark(first);
        arrivals
    }

    /// The full number of `wire`, given that it is near the highest one (RFC 3550 appendix A.1).
    pub(super) fn extend(&self, wire: u16) -> u64 {
        let step = wire.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(step.into())
    }

    /// Takes note of `seq`; `lost` counts the packets that are given up by it.
    pub(super) fn insert(&mut self, now: Instant, seq: u64, lost: &mut u64) -> Arrival {
        if seq < self.first || seq + WINDOW_PACKETS <= self.highest {
            return Arrival::TooLate;
        }
        if seq <= self.highest {
            if self.is_marked(seq) {
                return Arrival::Duplicate;
            }
            self.mark(seq);
            self.missing.retain(|missing| missing.seq != seq);
            return Arrival::New;
        }
        // Of a jump over the whole window nothing needs to be looked at but the window.
        let begin = (self.highest + 1).max(seq.saturating_sub(WINDOW_PACKETS - 1));
        *lost += begin - (self.highest + 1);
        for hole in begin..seq {
            self.unmark(hole);
            if hole + MISSING_MAX as u64 >= seq {
                self.missing.push_back(Missing {
                    seq: hole,
                    since: now,
                    next: now + REORDER_TOLERANCE,
                    asked: 0,
                });
            } else {
                *lost += 1;
            }
        }
        while self.missing.len() > MISSING_MAX {
            self.missing.pop_front();
            *lost += 1;
        }
        self.highest = seq;
        self.mark(seq);
        Arrival::New
    }

    /// Fills `wire` with the numbers to ask for now. Says how many packets were given up.
    pub(super) fn poll_missing(&mut self, now: Instant, wire: &mut Vec<u16>) -> u64 {
        let before = self.missing.len();
        self.missing.retain(|missing| now.saturating_duration_since(missing.since) < REPAIR_DEADLINE);
        if self.repair {
            for missing in self.missing.iter_mut() {
                if missing.asked < NACKS_MAX && now >= missing.next {
                    missing.asked += 1;
                    missing.next = now + NACK_INTERVAL;
                    wire.push(missing.seq as u16);
                }
            }
        }
        (before - self.missing.len()) as u64
    }

    /// When [`Self::poll_missing`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |missing: &Missing| match self.repair && missing.asked < NACKS_MAX {
            true => missing.next.min(missing.since + REPAIR_DEADLINE),
            false => missing.since + REPAIR_DEADLINE,
        };
        self.missing.iter().map(due).min()
    }

    fn place(seq: u64) -> (usize, u64) {
        let bit = seq % WINDOW_PACKETS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn mark(&mut self, seq: u64) {
        let (word, bit) = Self::place(seq);
        self.seen[word] |= bit;
    }

    fn unmark(&mut self, seq: u64) {
        let (word, bit) = Self::place(seq);
        self.seen[word] &= !bit;
    }

    fn is_marked(&self, seq: u64) -> bool {
        let (word, bit) = Self::place(seq);
        self.seen[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    #[test]
    fn a_hole_is_asked_for_until_it_is_filled_or_given_up() {
        let start = beginning();
        let at = |millis| start + Duration::from_millis(millis);
        let mut arrivals = Arrivals::new(65_536 + 65_534, true);
        let mut lost = 0;
        let seq = arrivals.extend(1);
        assert_eq!(arrivals.insert(at(0), seq, &mut lost), Arrival::New);
        let mut wire = Vec::new();
        arrivals.poll_missing(at(5), &mut wire);
        assert!(wire.is_empty(), "reordering gets its time");
        arrivals.poll_missing(at(10), &mut wire);
        assert_eq!(wire, [65_535, 0], "across the wrap");
        let repaired = arrivals.extend(65_535);
        assert_eq!(arrivals.insert(at(40), repaired, &mut lost), Arrival::New);
        assert_eq!(arrivals.insert(at(41), repaired, &mut lost), Arrival::Duplicate);
        wire.clear();
        for millis in (50..600).step_by(10) {
            assert_eq!(arrivals.poll_missing(at(millis), &mut wire), 0);
        }
        assert_eq!(wire, [0; NACKS_MAX as usize - 1]);
        assert_eq!(arrivals.poll_missing(at(600), &mut wire), 1);
        assert_eq!(arrivals.poll_timeout(), None);
        assert_eq!(lost, 0);
    }

    #[test]
    fn an_outage_does_not_grow_the_list() {
        let now = beginning();
        let mut arrivals = Arrivals::new(70_000, true);
        let mut lost = 0;
        arrivals.insert(now, 70_000 + 30_000, &mut lost);
        assert_eq!(arrivals.missing.len(), MISSING_MAX);
        assert_eq!(lost, 29_999 - MISSING_MAX as u64);
        assert_eq!(arrivals.insert(now, 70_001, &mut lost), Arrival::TooLate);
        // A number whose place in the window was used before the outage is not taken for a duplicate.
        assert_eq!(arrivals.insert(now, 100_000 - WINDOW_PACKETS + 1, &mut lost), Arrival::New);
    }
}
