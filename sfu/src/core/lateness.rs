//! How late the media of a feed is: from the time that it has to the moment at which it is here.
//!
//! An encoder that makes sound in frames of 23 ms, sends it together with the next picture, and a conversion to
//! Opus make sound tens of milliseconds later than the picture of the same moment. A receiver's buffer goes by
//! the late ones among the packets (NetEq: the 95th of 100 half seconds), so this does too.

use std::time::{Duration, Instant};

/// Over which a worst case is taken, as NetEq does.
const SPAN: Duration = Duration::from_millis(500);
/// Worst cases kept: the last ten seconds. The tenth part of them counts as accidents of a busy machine.
const SPANS_MAX: usize = 20;
const ACCIDENTS: usize = SPANS_MAX / 10;
/// The usual lateness moves by this part toward each new one.
const USUAL_SHIFT: u32 = 5;

/// What is known of one feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness {
    /// A moment and a media time in microseconds: all others are counted from here.
    anchor: Option<(Instant, i64)>,
    span_began: Option<Instant>,
    /// Worst case of the span under way.
    current: i64,
    /// Worst cases of the spans before, a ring.
    spans: [i64; SPANS_MAX],
    filled: usize,
    at: usize,
    worst: i64,
    usual: i64,
}

impl Lateness {
    /// Media of the time `micros` is here.
    pub(crate) fn add(&mut self, now: Instant, micros: i64) {
        let (moment, time) = *self.anchor.get_or_insert((now, micros));
        let late = now.saturating_duration_since(moment).as_micros() as i64 - (micros - time);
        match self.span_began {
            Some(began) if now.saturating_duration_since(began) < SPAN => {
                self.current = self.current.max(late)
            }
            Some(_) => {
                self.close_span();
                (self.span_began, self.current) = (Some(now), late);
            }
            None => (self.span_began, self.current) = (Some(now), late),
        }
        if self.filled == 0 {
            self.worst = self.current;
        }
        self.usual += (late - self.usual) >> USUAL_SHIFT;
    }

    fn close_span(&mut self) {
        self.spans[self.at] = self.current;
        self.at = (self.at + 1) % SPANS_MAX;
        self.filled = (self.filled + 1).min(SPANS_MAX);
        let mut sorted = self.spans;
        let known = &mut sorted[..self.filled];
        known.sort_unstable();
        self.worst = known[self.filled - 1 - ACCIDENTS * self.filled / SPANS_MAX];
    }

    /// By how many microseconds the late packets of this feed come after the usual ones of `other`, at the same
    /// media time. `None` while nothing came of one of them.
    pub(crate) fn behind(&self, other: &Self) -> Option<i64> {
        let ((here, time), (there, other_time)) = (self.anchor?, other.anchor?);
        let apart = match here.checked_duration_since(there) {
            Some(after) => after.as_micros() as i64,
            None => -((there - here).as_micros() as i64),
        };
        Some(self.worst - other.usual + apart - (time - other_time))
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
            let behind = sound.behind(&picture).expect("both are known");
            assert!((behind - 50_000).abs() < 1000, "{name} the picture: {behind}");
        }
        assert_eq!(Lateness::default().behind(&picture), None);
    }

    #[test]
    fn accidents_do_not_count_and_what_lasts_does() {
        let start = beginning();
        let picture = fed(0, 33, 300, |_| 0, start);
        // One packet in five seconds is late by 300 ms.
        let sound = fed(0, 20, 1000, |i| if i % 250 == 249 { 300 } else { 20 }, start);
        assert_eq!(sound.behind(&picture), Some(20_000));
        // From the tenth second on each half second has one that is late by 80.
        let worse = fed(0, 20, 600, |i| if i >= 500 && i % 20 == 0 { 80 } else { 20 }, start);
        assert_eq!(worse.behind(&picture), Some(80_000));
    }
}
