//! What the sender reports of a source say.

/// The clock of a sound card or a camera is off from the wall clock by less, in parts per million.
const DRIFT_PPM: i64 = 300;

/// So many reports in a row that are all late by more than this are not late: the timestamps fell behind, as those of
/// a microphone that underran do.
const RUN: usize = 4;
const FELL_BEHIND_MICROS: i64 = 40_000;

/// Reports that are further apart are of different clocks: the timestamps jumped, or the wall clock was set.
const STEP_MICROS: u64 = 500_000;

/// The sender's wall clock where the timestamp is zero, by its reports.
///
/// The least of what they say counts, not the last. A browser names the timestamp of the packet that it sent last and
/// the time since then, and it sent that packet late when its machine was busy: reports of sound are late by up to
/// tens of milliseconds, never early.
#[derive(Debug, Default)]
pub(super) struct Reports {
    known: Option<Known>,
    /// The last ones, a ring.
    last: [i64; RUN],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    wall_at_zero: i64,
    wall: i64,
}

impl Reports {
    /// The wall clock said `wall` at the timestamp `micros`, both in microseconds.
    pub(super) fn add(&mut self, wall: i64, micros: i64) {
        let new = wall.saturating_sub(micros);
        if self.known.is_some_and(|known| known.wall_at_zero.abs_diff(new) > STEP_MICROS) {
            *self = Self::default();
        }
        self.last[self.count % RUN] = new;
        self.count = self.count.wrapping_add(1);
        let run = self.last.iter().min().copied().unwrap_or(new);
        let wall_at_zero = self.known.map_or(new, |known| {
            // Where it is now if the timestamps are slow.
            let elapsed = wall.saturating_sub(known.wall).max(0);
            let slow = known.wall_at_zero.saturating_add(elapsed.saturating_mul(DRIFT_PPM) / 1_000_000);
            let fell_behind = self.count >= RUN && run.saturating_sub(slow) > FELL_BEHIND_MICROS;
            if fell_behind { run } else { new.min(slow) }
        });
        self.known = Some(Known { wall_at_zero, wall });
    }

    pub(super) fn wall_at_zero(&self) -> Option<i64> {
        self.known.map(|known| known.wall_at_zero)
    }
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
            told.push(reports.wall_at_zero().expect("known") - 1_700_000_000_000_000);
        }
        let expected = [30_000, 5_000, 5_300, 0, 300, 600, 900, 1_200, 1_500, 200_000, 200_300];
        for (n, (told, expected)) in told.iter().zip(expected).enumerate() {
            // 300 ppm more each, and four in a row are believed.
            assert!((told - expected).abs() < 100, "{n}: {told} instead of {expected}");
        }
        reports.add(5_000_000_000_000, 0);
        assert_eq!(reports.wall_at_zero(), Some(5_000_000_000_000), "another clock");
    }
}
