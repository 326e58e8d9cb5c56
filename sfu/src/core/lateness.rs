//! How late the media of a feed is: from the time that it has to the moment at which it is here.
//!
//! An encoder that makes sound in frames of 23 ms, sends it together with the next picture, and a conversion to
//! Opus make sound tens of milliseconds later than the picture of the same moment. A receiver's buffer goes by
//! the late ones among the packets that it has heard, so this does too, as libwebrtc's NetEq: a packet is late by how
//! much it comes after the earliest of two seconds; of the worst cases of each half second the 95th of a hundred
//! counts, where the newer ones weigh more. Who has just come knows nothing of what was late before.

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
/// The usual lateness is that of most of so many spans: an accident of four seconds is none of it.
const SPANS_OF_USUAL: usize = 16;
/// Of NetEq's buffer: what it begins with, and in which steps it changes its mind.
const BUFFER_BEGINS_MICROS: i64 = 80_000;
const STEP_MICROS: i64 = 20_000;
/// On the way to a browser packets become a little more uneven.
const SLACK_MICROS: i64 = 3_000;

/// What is known of one feed.
#[derive(Clone, Debug)]
pub(crate) struct Lateness {
    /// A moment and a media time in microseconds: all others are counted from here.
    anchor: Option<(Instant, i64)>,
    /// The one under way.
    current: Option<Span>,
    /// Those before, the oldest first; without the very first, in which what waited for a reader comes late.
    spans: VecDeque<Span>,
    /// What counts as late for who has heard as many of the newest spans. For who has heard none: what every second
    /// span has.
    late: Vec<Late>,
    /// Room to weigh them in.
    worst: Weighed,
    rise: Weighed,
    /// There are spans that [`Self::weigh`] has not seen.
    unweighed: bool,
    usual: i64,
    /// The very first span is over.
    settled: bool,
}

/// Half a second of media.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: Instant,
    least: i64,
    worst: i64,
    /// How much a packet came after the earliest one before it.
    rise: i64,
    sum: i64,
    packets: i64,
}

/// Two ways to say how late.
#[derive(Clone, Copy, Default, Debug)]
struct Late {
    /// Against the anchor.
    worst: i64,
    /// Against the earliest of the last two seconds that was heard.
    rise: i64,
}

impl Default for Lateness {
    /// With all the room that it will ever need.
    fn default() -> Self {
        Self {
            anchor: None,
            current: None,
            spans: VecDeque::with_capacity(SPANS_MAX),
            late: Vec::with_capacity(SPANS_MAX + 1),
            worst: Weighed::default(),
            rise: Weighed::default(),
            unweighed: false,
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
        let new = Span { began: now, least: late, worst: late, rise: 0, sum: late, packets: 1 };
        match &mut self.current {
            Some(span) if now.saturating_duration_since(span.began) < SPAN => {
                (span.least, span.worst) = (span.least.min(late), span.worst.max(late));
                span.rise = span.rise.max(late - span.least);
                (span.sum, span.packets) = (span.sum + late, span.packets + 1);
            }
            current => {
                if let Some(span) = current.replace(new)
                    && std::mem::replace(&mut self.settled, true)
                {
                    if self.spans.len() == SPANS_MAX {
                        self.spans.pop_front();
                    }
                    self.spans.push_back(span);
                    self.unweighed = true;
                    self.usual = usual(&self.spans);
                }
            }
        }
        if !self.settled || self.spans.is_empty() {
            self.usual = late;
        }
    }

    /// Finds out what counts as late by now. To be called where [`Self::behind`] will be asked; it sorts a
    /// minute's spans, and does so once per span, however many viewers ask.
    pub(crate) fn weigh(&mut self) {
        if !std::mem::take(&mut self.unweighed) {
            return;
        }
        let (worst, rise) = (&mut self.worst, &mut self.rise);
        worst.0.clear();
        rise.0.clear();
        self.late.clear();
        self.late.push(Late::default());
        let newest = self.spans.len();
        for oldest in (0..newest).rev() {
            worst.insert(self.spans[oldest].worst, newest - oldest - 1);
            rise.insert(self.spans[oldest].rise, newest - oldest - 1);
            // Those after it are late against it too.
            for after in oldest + 1..newest.min(oldest + 1 + SPANS_OF_EARLIEST) {
                let before = rise_of(&self.spans, oldest + 1, after);
                let new = rise_of(&self.spans, oldest, after);
                if new != before {
                    rise.replace(before, new, newest - after - 1);
                }
            }
            self.late.push(Late { worst: worst.late(), rise: rise.late() });
        }
        self.late[0] = Late { worst: worst.median(), rise: rise.median() };
    }

    /// By how many microseconds a receiver's buffer gives this feed out after the usual packets of `other` come, at the
    /// same media time, for who hears this one since `since`, if it does. `None` while nothing came of one of them.
    pub(crate) fn behind(&self, other: &Self, since: Option<Instant>) -> Option<i64> {
        self.late_after(other, since).map(|(earliest, rise)| earliest + buffered(rise))
    }

    /// By how much the earliest packets of this feed come after the usual ones of `other`, and the late ones after those.
    fn late_after(&self, other: &Self, since: Option<Instant>) -> Option<(i64, i64)> {
        let ((here, time), (there, other_time)) = (self.anchor?, other.anchor?);
        let apart = match here.checked_duration_since(there) {
            Some(after) => after.as_micros() as i64,
            None => -((there - here).as_micros() as i64),
        };
        let heard =
            since.map_or(0, |since| self.spans.len() - self.spans.partition_point(|span| span.began < since));
        let recent = if heard == 0 { SPANS_OF_EARLIEST } else { heard.min(SPANS_OF_EARLIEST) };
        let newest = self.spans.iter().rev().take(recent).chain(&self.current);
        let earliest = newest.map(|span| span.least).min()?;
        // A buffer does not grow where packets now and then come early, though it would like to.
        let late = self.late.get(heard).copied().unwrap_or_default();
        let rise = late.rise.min(late.worst - earliest).max(0);
        Some((earliest - other.usual + apart - (time - other_time), rise))
    }
}

/// How long NetEq's buffer keeps the earliest packets of sound whose late ones come `rise` microseconds after them. It
/// wants that in steps of 20 ms, lets it be anything between two bounds (`DecisionLogic`: what is wanted, and three
/// quarters of it, but at most 85 ms less; 20 ms apart at least), and begins with 80 ms.
fn buffered(rise: i64) -> i64 {
    let wanted = (rise + SLACK_MICROS) / STEP_MICROS * STEP_MICROS + STEP_MICROS;
    let least = (wanted * 3 / 4).max(wanted - 85_000);
    BUFFER_BEGINS_MICROS.clamp(least, wanted.max(least + STEP_MICROS))
}

/// What half of the newest spans have at most on average.
fn usual(spans: &VecDeque<Span>) -> i64 {
    let mut means = [i64::MAX; SPANS_OF_USUAL];
    let newest = spans.iter().rev().take(SPANS_OF_USUAL);
    let known = newest.zip(&mut means).map(|(span, mean)| *mean = span.sum / span.packets).count();
    means.sort_unstable();
    means[known.saturating_sub(1) / 2]
}

/// How late a span was for who has heard all from the span `first` on.
fn rise_of(spans: &VecDeque<Span>, first: usize, at: usize) -> i64 {
    let earliest =
        spans.range(first.max(at.saturating_sub(SPANS_OF_EARLIEST))..at).map(|span| span.least).min();
    let span = spans[at];
    earliest.map_or(span.rise, |earliest| span.rise.max(span.worst - earliest))
}

/// Worst cases of spans, the worst first, with their age.
#[derive(Clone, Debug)]
struct Weighed(Vec<(i64, usize)>);

impl Default for Weighed {
    fn default() -> Self {
        Self(Vec::with_capacity(SPANS_MAX))
    }
}

impl Weighed {
    fn insert(&mut self, worst: i64, age: usize) {
        let at = self.0.partition_point(|&(other, _)| other > worst);
        self.0.insert(at, (worst, age));
    }

    fn replace(&mut self, before: i64, new: i64, age: usize) {
        if let Some(at) = self.0.iter().position(|it| *it == (before, age)) {
            self.0.remove(at);
            self.insert(new, age);
        }
    }

    /// What counts, accidents apart.
    fn late(&self) -> i64 {
        let heard = self.0.len();
        let accidents = heard * (heard + 1) / 2 / ACCIDENTS;
        let mut weight = 0;
        let late = self.0.iter().find(|&&(_, age)| {
            weight += heard - age;
            weight > accidents
        });
        late.map_or(0, |&(worst, _)| worst)
    }

    fn median(&self) -> i64 {
        self.0.get(self.0.len() / 2).map_or(0, |&(worst, _)| worst)
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
        lateness.weigh();
        lateness
    }

    /// By how much the late packets of one come after the usual ones of the other.
    fn late(sound: &Lateness, picture: &Lateness, since: Option<Instant>) -> Option<i64> {
        sound.late_after(picture, since).map(|(earliest, rise)| earliest + rise)
    }

    #[test]
    fn a_buffer_keeps_what_it_needs_and_some_more() {
        for (rise, kept) in [(0, 35), (16, 35), (20, 50), (45, 65), (85, 80), (385, 315)] {
            assert_eq!(buffered(rise * 1000), kept * 1000, "{rise}");
        }
    }

    #[test]
    fn late_sound_is_told_apart_from_the_picture_whenever_they_began() {
        let start = beginning();
        let picture = fed(1000, 33, 300, |_| 10, start);
        for (from, name) in [(200, "before"), (1000, "with"), (3000, "after")] {
            let sound = fed(from, 20, 400, |i| 40 + 20 * (i % 2), start);
            for since in [None, Some(start)] {
                let behind = late(&sound, &picture, since).expect("both are known");
                assert!((behind - 50_000).abs() < 1000, "{name} the picture: {behind}");
            }
        }
        assert_eq!(late(&Lateness::default(), &picture, None), None);
    }

    #[test]
    fn accidents_do_not_count_and_what_lasts_does() {
        let start = beginning();
        let picture = fed(0, 33, 300, |_| 0, start);
        // One packet in twenty seconds is late by 300 ms.
        let sound = fed(0, 20, 3000, |i| if i % 1000 == 700 { 300 } else { 20 }, start);
        assert_eq!(late(&sound, &picture, Some(start)), Some(20_000));
        // From some time on each half second has one that is late by 80.
        for (late_for, behind) in [(1000, 20_000), (2500, 80_000)] {
            let packets = 2000 + late_for / 20;
            let worse = fed(0, 20, packets, |i| if i >= 2000 && i % 20 == 0 { 80 } else { 20 }, start);
            assert_eq!(late(&worse, &picture, Some(start)), Some(behind), "for {late_for} ms");
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
            assert_eq!(late(&sound, &picture, since), Some(behind), "{since:?}");
        }
        assert_eq!(late(&sound, &picture, None), Some(20_000));
        // Who came with it forgets it soon: a half second of many.
        for (heard, behind) in [(1500, 120_000), (4600, 20_000)] {
            let packets = (10_000 + heard) / 20;
            let sound = fed(0, 20, packets, |i| if (500..510).contains(&i) { 120 } else { 20 }, start);
            let since = Some(start + Duration::from_millis(9400));
            assert_eq!(late(&sound, &picture, since), Some(behind), "after {heard} ms");
        }
    }

    #[test]
    fn a_picture_is_as_late_as_most() {
        let start = beginning();
        let sound = fed(0, 20, 500, |_| 20, start);
        // A second in which all comes late, a second before the end; it has not been forgotten, it never counted.
        let picture = fed(0, 33, 300, |i| if (240..270).contains(&i) { 300 } else { 0 }, start);
        let behind = late(&sound, &picture, Some(start)).expect("both are known");
        assert_eq!(behind, 20_000);
    }

    #[test]
    fn sound_that_is_late_no_more_is_not_waited_for() {
        let start = beginning();
        let picture = fed(0, 33, 3000, |_| 0, start);
        // Late by 120 ms for a minute, by 20 from then on.
        let sound = fed(0, 20, 3001, |i| if i < 3000 { 120 - 20 * (i % 2) } else { 20 }, start);
        assert_eq!(late(&sound, &picture, Some(start)), Some(40_000), "with the jitter that it had");
        // The other way round it is an accident for two seconds.
        for (late_for, behind) in [(1900, 20_000), (2200, 120_000), (3100, 120_000), (20_000, 120_000)] {
            let sound = fed(0, 20, (60_000 + late_for) / 20, |i| if i < 3000 { 20 } else { 120 }, start);
            assert_eq!(late(&sound, &picture, Some(start)), Some(behind), "after {late_for} ms");
        }
    }

    #[test]
    fn who_comes_when_all_is_late_waits_for_nothing() {
        let start = beginning();
        let picture = fed(0, 33, 300, |_| 0, start);
        // Late by 100 from 8 s to 9 s, as by a gust; somebody comes at 8.2 s.
        let since = Some(start + Duration::from_millis(8200));
        for until in [9_600, 10_200, 11_000] {
            let sound = fed(0, 20, until / 20, |i| if (400..450).contains(&i) { 120 } else { 20 }, start);
            assert_eq!(late(&sound, &picture, since), Some(20_000), "at {until} ms");
            assert_eq!(late(&sound, &picture, Some(start)), Some(120_000));
        }
    }

    #[test]
    fn packets_that_come_early_now_and_then_make_the_others_no_later() {
        let start = beginning();
        let picture = fed(0, 33, 3000, |_| 40, start);
        for early_every in [50, 250] {
            let sound = fed(0, 20, 3000, |i| if i % early_every == 30 { 10 } else { 50 }, start);
            assert_eq!(late(&sound, &picture, Some(start)), Some(10_000), "every {early_every}");
        }
    }

    #[test]
    fn what_waited_for_a_reader_is_not_late_sound() {
        let start = beginning();
        let picture = fed(0, 33, 100, |_| 0, start);
        // Made on demand: the first twenty packets come at once.
        let packets = |count| fed(0, 20, count, |i| 20 + 20 * 20_u64.saturating_sub(i), start);
        for count in [25, 40, 60, 200] {
            assert_eq!(late(&packets(count), &picture, Some(start)), Some(20_000), "{count}");
        }
    }
}
