//! Which packets of a source arrived, which are missing, and which of those to ask for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::Kind;

/// Packets remembered for telling a duplicate from a late one: 1.7 s at 8 Mbit/s, longer than
/// [`VIDEO_DEADLINE`]. What is older is dropped as too late.
const WINDOW_PACKETS: u64 = 2048;
/// Most packets waited for at a time. A larger hole is an outage: asking for all of it would only add load,
/// so the oldest are given up (`lost`).
const MISSING_MAX: usize = 256;
/// Reordering on a path is rarely longer; a packet that comes within it is not asked for.
const REORDER_TOLERANCE: Duration = Duration::from_millis(10);
/// Until a round trip was measured: that of a common way to a server.
const ROUND_TRIP: Duration = Duration::from_millis(80);
/// An answer that takes a little longer than the others is waited for.
const JITTER: Duration = Duration::from_millis(10);
/// Between two requests for the same packet at least, whatever was measured: a request and its answer are a
/// datagram each.
const NACK_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// And at most: three requests fit into the time that a picture is waited for.
const NACK_INTERVAL_MAX: Duration = Duration::from_millis(200);
/// Requests per packet (as libwebrtc): on a short way the deadline is not what ends them.
const NACKS_MAX: u8 = 10;
/// After that a packet of a picture is of no use: viewers have shown or dropped its frame.
const VIDEO_DEADLINE: Duration = Duration::from_millis(600);
/// The same of sound. Browsers play it 40 to 120 ms behind its arrival; what comes later than this has been
/// concealed, by in-band FEC too, and asking only takes room on a bad line.
const AUDIO_DEADLINE: Duration = Duration::from_millis(200);

/// How long a publisher takes to send again what it is asked for. A lite agent sends no checks, and a publisher hears no
/// sender reports of ours, so nothing else tells the round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip(Option<Duration>);

impl RoundTrip {
    /// A packet came so long after it was first asked for. That is too much if the first request or its answer was lost:
    /// what is longer than usual counts little, and what is shorter counts much.
    pub(super) fn add(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            None => took,
            Some(usual) if took > usual => usual + (took - usual) / 8,
            Some(usual) => usual - (usual - took) / 2,
        });
    }

    pub(super) fn measured(self) -> Option<Duration> {
        self.0
    }

    /// How long the next request for the same packet waits.
    pub(super) fn nack_interval(self) -> Duration {
        (self.0.unwrap_or(ROUND_TRIP) + JITTER).clamp(NACK_INTERVAL_MIN, NACK_INTERVAL_MAX)
    }
}

/// The sequence numbers of one source.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// First number seen; nothing before it is wanted.
    first: u64,
    highest: u64,
    seen: Box<[u64; (WINDOW_PACKETS / 64) as usize]>,
    missing: VecDeque<Missing>,
    repair: bool,
    deadline: Duration,
}

#[derive(Debug)]
struct Missing {
    seq: u64,
    since: Instant,
    next: Instant,
    asked: u8,
    first_asked: Option<Instant>,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    New,
    /// It was missing, and was asked for so long ago.
    Repaired(Duration),
    Duplicate,
    TooLate,
}

impl Arrivals {
    /// Begins with a first packet. `repair`: the source answers NACKs.
    pub(super) fn new(first: u64, repair: bool, kind: Kind) -> Self {
        let mut arrivals = Self {
            first,
            highest: first,
            seen: Box::new([0; (WINDOW_PACKETS / 64) as usize]),
            missing: VecDeque::new(),
            repair,
            deadline: match kind {
                Kind::Audio => AUDIO_DEADLINE,
                Kind::Video => VIDEO_DEADLINE,
            },
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
            // In the order of their numbers.
            let place = self.missing.binary_search_by_key(&seq, |missing| missing.seq);
            let missing = place.ok().and_then(|at| self.missing.remove(at));
            return match missing.and_then(|missing| missing.first_asked) {
                Some(asked) => Arrival::Repaired(now.saturating_duration_since(asked)),
                None => Arrival::New,
            };
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
                    first_asked: None,
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

    /// Fills `wire` with the numbers to ask for now. Says how many packets were given up. `interval`: see
    /// [`RoundTrip::nack_interval`].
    pub(super) fn poll_missing(&mut self, now: Instant, interval: Duration, wire: &mut Vec<u16>) -> u64 {
        let (before, deadline) = (self.missing.len(), self.deadline);
        self.missing.retain(|missing| now.saturating_duration_since(missing.since) < deadline);
        if self.repair {
            for missing in self.missing.iter_mut() {
                if missing.asked < NACKS_MAX && now >= missing.next {
                    missing.asked += 1;
                    missing.first_asked.get_or_insert(now);
                    missing.next = now + interval;
                    wire.push(missing.seq as u16);
                }
            }
        }
        (before - self.missing.len()) as u64
    }

    /// When [`Self::poll_missing`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |missing: &Missing| match self.repair && missing.asked < NACKS_MAX {
            true => missing.next.min(missing.since + self.deadline),
            false => missing.since + self.deadline,
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
        let mut arrivals = Arrivals::new(65_536 + 65_534, true, Kind::Video);
        let interval = Duration::from_millis(100);
        let mut lost = 0;
        let seq = arrivals.extend(1);
        assert_eq!(arrivals.insert(at(0), seq, &mut lost), Arrival::New);
        let mut wire = Vec::new();
        arrivals.poll_missing(at(5), interval, &mut wire);
        assert!(wire.is_empty(), "reordering gets its time");
        arrivals.poll_missing(at(10), interval, &mut wire);
        assert_eq!(wire, [65_535, 0], "across the wrap");
        let repaired = arrivals.extend(65_535);
        assert_eq!(
            arrivals.insert(at(40), repaired, &mut lost),
            Arrival::Repaired(Duration::from_millis(30))
        );
        assert_eq!(arrivals.insert(at(41), repaired, &mut lost), Arrival::Duplicate);
        wire.clear();
        for millis in (50..600).step_by(10) {
            assert_eq!(arrivals.poll_missing(at(millis), interval, &mut wire), 0);
        }
        assert_eq!(wire, [0; 5], "every 100 ms");
        assert_eq!(arrivals.poll_missing(at(600), interval, &mut wire), 1);
        assert_eq!(arrivals.poll_timeout(), None);
        assert_eq!(lost, 0);
    }

    #[test]
    fn requests_follow_the_round_trip_and_sound_is_given_up_sooner() {
        let start = beginning();
        for (kind, round_trip, requests, given_up) in [
            (Kind::Video, Some(10), NACKS_MAX.into(), 600),
            (Kind::Video, Some(60), 9, 600),
            (Kind::Video, None, 7, 600),
            (Kind::Video, Some(500), 3, 600),
            (Kind::Audio, Some(10), 10, 200),
            (Kind::Audio, Some(90), 2, 200),
        ] {
            let mut arrivals = Arrivals::new(1000, true, kind);
            arrivals.insert(start, 1002, &mut 0);
            let interval = RoundTrip(round_trip.map(Duration::from_millis)).nack_interval();
            let (mut wire, mut gone) = (Vec::new(), None);
            for millis in 0..1000 {
                let given_up =
                    arrivals.poll_missing(start + Duration::from_millis(millis), interval, &mut wire);
                gone = gone.or((given_up > 0).then_some(millis));
            }
            assert_eq!((wire.len(), gone), (requests, Some(given_up)), "{kind:?} {round_trip:?}");
        }
    }

    #[test]
    fn the_round_trip_is_what_answers_take_and_follows_a_change() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.nack_interval(), Duration::from_millis(90));
        for (millis, few) in [(60, 4), (180, 30), (20, 11)] {
            for at in 0..few {
                // Of every fourth the first answer was lost.
                let lost = if at % 4 == 3 { 2 } else { 1 };
                round_trip.add(Duration::from_millis(millis * lost));
            }
            let measured = round_trip.measured().expect("measured").as_millis() as u64;
            assert!((millis..millis + millis / 3).contains(&measured), "{millis}: {measured}");
        }
    }

    #[test]
    fn an_outage_does_not_grow_the_list() {
        let now = beginning();
        let mut arrivals = Arrivals::new(70_000, true, Kind::Video);
        let mut lost = 0;
        arrivals.insert(now, 70_000 + 30_000, &mut lost);
        assert_eq!(arrivals.missing.len(), MISSING_MAX);
        assert_eq!(lost, 29_999 - MISSING_MAX as u64);
        assert_eq!(arrivals.insert(now, 70_001, &mut lost), Arrival::TooLate);
        // A number whose place in the window was used before the outage is not taken for a duplicate.
        assert_eq!(arrivals.insert(now, 100_000 - WINDOW_PACKETS + 1, &mut lost), Arrival::New);
    }
}
