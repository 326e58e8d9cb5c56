//! How late the media of a feed is: from the time that it has to the moment at which it is here.
//!
//! An encoder that makes sound in frames of 23 ms, sends it together with the next picture, and a conversion to
//! Opus make sound tens of milliseconds later than the picture of the same moment. A receiver's buffer goes by
//! the late ones among the packets that it has heard, so this does too, as libwebrtc's NetEq: each packet is late by
//! how much it comes after the earliest of the last two seconds; of the worst cases of each half second the 95th of a
//! hundred counts, where the newer ones weigh more. Who has just come knows nothing of what was late before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over which a worst case is taken, as NetEq does.
const SPAN: Duration = Duration::from_millis(500);
/// The earliest packet of so many spans, and of the one under way, is what others are late against.
const SPANS_OF_EARLIEST: usize = 4;
/// Worst cases kept, for a minute; NetEq has forgotten seven eighths of them by then.
const SPANS_MAX: usize = 120;
/// One part in so many, by weight, are accidents.
const ACCIDENTS: usize = 20;
/// The usual lateness moves by this part toward each new one.
const USUAL_SHIFT: u32 = 5;

/// What is known of one feed.
#[derive(Clone, Debug)]
pub(crate) struct Lateness {
    /// A moment and a media time in microseconds: all others are counted from here.
    anchor: Option<(Instant, i64)>,
    /// The one under way.
    current: Option<Span>,
    /// Those before, the oldest first; without the very first, in which what waited for a reader comes late.
    spans: VecDeque<Span>,
    /// The earliest of the newest spans.
    earliest: i64,
    /// By how much more counts as late for who has heard as many of the newest spans. For who has heard none: what
    /// every second span has.
    late: Vec<i64>,
    /// Room to sort them in: the worst first, with their age.
    sorted: Vec<(i64, usize)>,
    usual: i64,
    /// The very first span is over.
    settled: bool,
}

/// Half a second of media.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: Instant,
    least: i64,
    /// After the earliest that was known when it came.
    worst: i64,
}

impl Default for Lateness {
    /// With all the room that it will ever need.
    fn default() -> Self {
        Self {
            anchor: None,
            current: None,
            spans: VecDeque::with_capacity(SPANS_MAX),
            earliest: 0,
            late: Vec::with_capacity(SPANS_MAX + 1),
            sorted: Vec::with_capacity(SPANS_MAX),
            usual: 0,
            settled: false,
        }
    }
}

impl Lateness {
    /// Media of the time `micros` is here.
    pub(crate) fn add(&mut self, now: Instant, micros: i64) {
        let (moment, time) = *self.anchor.get_or_insert((now, micros));
        let late = now.saturating_duration_since(moment).as_micros() as i64 - (micros - time);
        let begins = self.current.is_none_or(|span| now.saturating_duration_since(span.began) >= SPAN);
        if begins {
            if let Some(span) = self.current.take()
                && std::mem::replace(&mut self.settled, true)
            {
                self.keep(span);
            }
            let newest = self.spans.iter().rev().take(SPANS_OF_EARLIEST);
            self.earliest = newest.map(|span| span.least).min().unwrap_or(late);
        }
        self.earliest = self.earliest.min(late);
        let span = self.current.get_or_insert(Span { began: now, least: late, worst: 0 });
        span.least = span.least.min(late);
        span.worst = span.worst.max(late - self.earliest);
        self.usual = if self.settled { self.usual + ((late - self.usual) >> USUAL_SHIFT) } else { late };
    }

    fn keep(&mut self, span: Span) {
        if self.spans.len() == SPANS_MAX {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
        self.late.clear();
        self.late.push(0);
        self.sorted.clear();
        for (age, span) in self.spans.iter().rev().enumerate() {
            let at = self.sorted.partition_point(|&(worst, _)| worst > span.worst);
            self.sorted.insert(at, (span.worst, age));
            let heard = age + 1;
            let accidents = heard * (heard + 1) / 2 / ACCIDENTS;
            let mut weight = 0;
            let late = self.sorted.iter().find(|&&(_, age)| {
                weight += heard - age;
                weight > accidents
            });
            self.late.push(late.map_or(0, |&(worst, _)| worst));
        }
        self.late[0] = self.sorted[self.sorted.len() / 2].0;
    }

    /// By how many microseconds the late packets of this feed come after the usual ones of `other`, at the same
    /// media time, for who hears this one since `since`, if it does. `None` while nothing came of one of them.
    pub(crate) fn behind(&self, other: &Self, since: Option<Instant>) -> Option<i64> {
        let ((here, time), (there, other_time)) = (self.anchor?, other.anchor?);
        let apart = match here.checked_duration_since(there) {
            Some(after) => after.as_micros() as i64,
            None => -((there - here).as_micros() as i64),
        };
        let heard =
            since.map_or(0, |since| self.spans.len() - self.spans.partition_point(|span| span.began < since));
        let late = self.earliest + self.late.get(heard).copied().unwrap_or(0);
        Some(late - other.usual + apart - (time - other_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    /// Packets every `step` ms from `from` ms on, each late by what `late` says of its number, in ms.
    fn fed(from: u64, step: u64, count: u64, late: impl Fn(u64) -> u64, start: Instant) -> Lateness {
        let mut lateness = Lateness::default();
        for i in 0..count {
            let time = from + i * step;
            lateness.add(start + Duration::from_millis(time + late(i)), time as i64 * 1000);
        }
        lateness
    }

    #[test]
    fn late_sound_is_told_apart_from_the_picture_whenever_they_began() {
        let start = beginning();
        let picture = fed(1000, 33, 300, |_| 10, start);
        for (from, name) in [(200, "before"), (1000, "with"), (3000, "after")] {
            let sound = fed(from, 20, 400, |i| 40 + 20 * (i % 2), start);
            for since in [None, Some(start)] {
                let behind = sound.behind(&picture, since).expect("both are known");
                assert!((behind - 50_000).abs() < 1000, "{name} the picture: {behind}");
            }
        }
        assert_eq!(Lateness::default().behind(&picture, None), None);
    }

    #[test]
    fn accidents_do_not_count_and_what_lasts_does() {
        let start = beginning();
        let picture = fed(0, 33, 300, |_| 0, start);
        // One packet in twenty seconds is late by 300 ms.
        let sound = fed(0, 20, 3000, |i| if i % 1000 == 700 { 300 } else { 20 }, start);
        assert_eq!(sound.behind(&picture, Some(start)), Some(20_000));
        // From some time on each half second has one that is late by 80.
        for (late_for, behind) in [(1000, 20_000), (2500, 80_000)] {
            let packets = 2000 + late_for / 20;
            let worse = fed(0, 20, packets, |i| if i >= 2000 && i % 20 == 0 { 80 } else { 20 }, start);
            assert_eq!(worse.behind(&picture, Some(start)), Some(behind), "for {late_for} ms");
        }
    }

    #[test]
    fn who_comes_after_an_accident_knows_nothing_of_it() {
        let start = beginning();
        let picture = fed(0, 33, 300, |_| 0, start);
        // From 10 to 12 s some are late by 120 ms; it is 20 s now.
        let sound = fed(0, 20, 1000, |i| if (500..600).contains(&i) && i % 5 == 0 { 120 } else { 20 }, start);
        for (since, behind) in [(0, 120_000), (8000, 120_000), (12_100, 20_000), (19_900, 20_000)] {
            let since = Some(start + Duration::from_millis(since));
            assert_eq!(sound.behind(&picture, since), Some(behind), "{since:?}");
        }
        assert_eq!(sound.behind(&picture, None), Some(20_000));
        // Who came with it forgets it soon: a half second of many.
        for (heard, behind) in [(1500, 120_000), (3600, 20_000)] {
            let packets = (10_000 + heard) / 20;
            let sound = fed(0, 20, packets, |i| if (500..510).contains(&i) { 120 } else { 20 }, start);
            let since = Some(start + Duration::from_millis(9700));
            assert_eq!(sound.behind(&picture, since), Some(behind), "after {heard} ms");
        }
    }

    #[test]
    fn sound_that_is_late_no_more_is_not_waited_for() {
        let start = beginning();
        let picture = fed(0, 33, 3000, |_| 0, start);
        // Late by 120 ms for a minute, by 20 from then on.
        let sound = fed(0, 20, 3001, |i| if i < 3000 { 120 - 20 * (i % 2) } else { 20 }, start);
        assert_eq!(sound.behind(&picture, Some(start)), Some(40_000), "with the jitter that it had");
        // The other way round the earliest of two seconds has to be gone; what was late until then is remembered as
        // NetEq remembers it.
        for (late_for, behind) in [(1900, 20_000), (2200, 220_000), (10_000, 220_000), (20_000, 120_000)] {
            let sound = fed(0, 20, (60_000 + late_for) / 20, |i| if i < 3000 { 20 } else { 120 }, start);
            assert_eq!(sound.behind(&picture, Some(start)), Some(behind), "after {late_for} ms");
        }
    }

    #[test]
    fn what_waited_for_a_reader_is_not_late_sound() {
        let start = beginning();
        let picture = fed(0, 33, 100, |_| 0, start);
        // Made on demand: the first twenty packets come at once.
        let packets = |count| fed(0, 20, count, |i| 20 + 20 * 20_u64.saturating_sub(i), start);
        for count in [25, 40, 60, 200] {
            assert_eq!(packets(count).behind(&picture, Some(start)), Some(20_000), "{count}");
        }
    }
}
