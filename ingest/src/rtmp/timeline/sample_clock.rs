//! Audio time counted in samples.

use media::{MediaTime, Timescale};

use super::Nanos;

/// Audio that lies further from the count than this is counted anew. Below it a listener hears nothing and
/// sees no lips; resampling clocks and whole milliseconds stay far below it.
const DRIFT_MAX_MICROS: i64 = 40_000;

/// Frames in a row that must lie apart before the count is given up: one late stamp is no gap.
const FRAMES_APART: u32 = 3;

/// Apart by this much it is no late stamp but another time.
const APART_AT_ONCE_MICROS: i64 = 400_000;

#[derive(Debug, Default)]
pub(super) struct SampleClock {
    scale: Option<Timescale>,
    /// Where the next frame lies if nothing happens.
    next: Option<i64>,
    apart: u32,
    reanchored: u64,
    dropped: u64,
}

impl SampleClock {
    /// Counts anew at this rate; `mends` are carried on.
    pub(super) fn new(scale: Timescale, (reanchored, dropped): (u64, u64)) -> Self {
        Self { scale: Some(scale), next: None, apart: 0, reanchored, dropped }
    }

    /// Places a frame of `samples` that the encoder wants at `target`.
    pub(super) fn place(&mut self, target: Nanos, samples: u32) -> Option<MediaTime> {
        let scale = self.scale.unwrap_or(Timescale::OPUS);
        let target = MediaTime::from_micros(target / 1000, scale).ticks();
        let next = *self.next.get_or_insert(target);
        let ticks = |micros: i64| micros * i64::from(scale.hz()) / 1_000_000;
        let apart = target - next;
        self.apart = if apart.abs() > ticks(DRIFT_MAX_MICROS) { self.apart + 1 } else { 0 };
        let at = if self.apart < FRAMES_APART && apart.abs() <= ticks(APART_AT_ONCE_MICROS) {
            next
        } else if apart > 0 {
            self.reanchored += 1;
            self.apart = 0;
            target
        } else {
            // In the past: dropped until the count is right again.
            self.dropped += 1;
            return None;
        };
        self.next = Some(at + i64::from(samples));
        Some(MediaTime::new(at, scale))
    }

    /// (reanchored, dropped).
    pub(super) fn mends(&self) -> (u64, u64) {
        (self.reanchored, self.dropped)
    }
}
