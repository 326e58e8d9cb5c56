//! What the sender reports of a source say.

/// The clock of a sound card or a camera is off from the wall clock by less, in parts per million.
const DRIFT_PPM: i64 = 300;

/// A report that is late by more than this may tell that the timestamps fell behind, as those of a microphone that
/// underran do: half of what is corrected at once, so that small losses do not add up to something that is heard.
const LATE_MICROS: i64 = 10_000;
/// What packets come later by may be as much less.
const AGREES_MICROS: i64 = 8_000;

/// They must have done so for this long: until then the picture may not have shown yet that it is the line.
const LASTS_MICROS: i64 = 1_000_000;
/// A source that was silent for longer says nothing of what came before.
const SILENT_MICROS: i64 = 500_000;

/// So many reports in a row that are all late by more than this are believed however packets come.
const RUN: usize = 4;
const FELL_BEHIND_MICROS: i64 = 40_000;

/// Reports that are further apart are of different clocks: the timestamps jumped, or the wall clock was set.
const STEP_MICROS: u64 = 500_000;

/// The sender's wall clock where the timestamp is zero, by its reports.
///
/// The least of what they say counts, not the last. A browser names the timestamp of the packet that it sent last and
/// the time since then, and it sent that packet late when its machine was busy: reports of sound are late by up to
/// tens of milliseconds, never early. Where samples are missing all packets come as much later from then on: a late
/// report is believed as far as they do.
#[derive(Debug, Default)]
pub(super) struct Reports {
    known: Option<Known>,
    /// What the newest one says.
    newest: i64,
    /// The last ones, a ring.
    last: [i64; RUN],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    wall_at_zero: i64,
    wall: i64,
    /// The least that packets were ever late by it, and when that was so.
    earliest: Option<(i64, i64)>,
    /// When packets were last seen, and since when they have come later.
    seen: i64,
    later_since: i64,
}

impl Reports {
    /// The wall clock said `wall` at the timestamp `micros`, both in microseconds.
    pub(super) fn add(&mut self, wall: i64, micros: i64) {
        let new = wall.saturating_sub(micros);
        if self.known.is_some_and(|known| known.wall_at_zero.abs_diff(new) > STEP_MICROS) {
            *self = Self::default();
        }
        self.newest = new;
        self.last[self.count % RUN] = new;
        self.count = self.count.wrapping_add(1);
        let run = self.last.iter().min().copied().unwrap_or(new);
        let Some(known) = &mut self.known else {
            self.known = Some(Known::new(new, wall));
            return;
        };
        let slow = drifted(known.wall_at_zero, wall.saturating_sub(known.wall));
        if self.count >= RUN && run.saturating_sub(slow) > FELL_BEHIND_MICROS {
            *known = Known::new(run, wall);
            return;
        }
        let wall_at_zero = new.min(slow);
        // By an earlier report packets came later than was thought.
        let earlier = known.wall_at_zero.saturating_sub(wall_at_zero).max(0);
        let earliest = known.earliest.map(|(late, at)| (late.saturating_add(earlier), at));
        *known = Known { wall_at_zero, wall, earliest, ..*known };
    }

    /// By how much packets come later than at best, by what is known at `now`; the least delayed one lately came `least_delay`
    /// after its timestamp. `None`: there are no reports.
    pub(super) fn later(&mut self, now: i64, least_delay: i64) -> Option<i64> {
        let known = self.known.as_mut()?;
        let late = least_delay.saturating_sub(known.wall_at_zero);
        let (earliest, at) = known.earliest.unwrap_or((late, now));
        let limit = drifted(earliest, now - at);
        // Only what lowers it is a beginning: steps of a few milliseconds of drift would be rounded away.
        known.earliest = Some(if late <= limit { (late, now) } else { (earliest, at) });
        let later = late.saturating_sub(limit).max(0);
        if later <= LATE_MICROS || now - known.seen > SILENT_MICROS {
            known.later_since = now;
        }
        known.seen = now;
        Some(later)
    }

    /// By all that is known, where packets come so much `later` and nothing else explains it.
    pub(super) fn wall_at_zero(&mut self, later: i64) -> Option<i64> {
        let known = self.known.as_mut()?;
        let told = self.newest.saturating_sub(known.wall_at_zero);
        let fell_behind = if later >= told.saturating_sub(AGREES_MICROS) { told } else { later };
        if fell_behind > LATE_MICROS && known.seen - known.later_since >= LASTS_MICROS {
            known.wall_at_zero = known.wall_at_zero.saturating_add(fell_behind);
        }
        Some(known.wall_at_zero)
    }
}

impl Known {
    fn new(wall_at_zero: i64, wall: i64) -> Self {
        Self { wall_at_zero, wall, earliest: None, seen: 0, later_since: 0 }
    }
}

/// Where a clock is after `elapsed` if it is slow.
fn drifted(micros: i64, elapsed: i64) -> i64 {
    micros.saturating_add(elapsed.max(0).saturating_mul(DRIFT_PPM) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts_until_the_timestamps_fall_behind() {
        let mut reports = Reports::default();
        let late = [30_000, 5_000, 38_000, 0, 39_000, 20_000, 200_000, 210_000, 230_000, 205_000, 215_000];
        let mut told = Vec::new();
        for (n, late) in (1..).zip(late) {
            let micros = n * 1_000_000;
            reports.add(1_700_000_000_000_000 + micros + late, micros);
            // Packets do not come later meanwhile, so that no single report is believed.
            let zero = 1_700_000_000_000_000;
            let later = reports.later(micros, zero).expect("known");
            told.push(reports.wall_at_zero(later).expect("known") - zero);
        }
        let expected = [30_000, 5_000, 5_300, 0, 300, 600, 900, 1_200, 1_500, 200_000, 200_300];
        for (n, (told, expected)) in told.iter().zip(expected).enumerate() {
            // 300 ppm more each, and four in a row are believed.
            assert!((told - expected).abs() < 100, "{n}: {told} instead of {expected}");
        }
        reports.add(5_000_000_000_000, 0);
        assert_eq!(reports.wall_at_zero(0), Some(5_000_000_000_000), "another clock");
    }
}
