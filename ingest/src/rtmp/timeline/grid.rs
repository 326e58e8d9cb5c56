//! The frame grid: where video frames lie if they come at a steady rate.

use super::{NANOS_PER_MILLI, Nanos};

/// A frame that lies further from its place than this begins a new grid: 15 ms is less than a frame of
/// 60 fps and more than any rounding.
const DEVIATION_MAX: Nanos = 15 * NANOS_PER_MILLI;

/// A grid whose mean deviation is over this is moved after the frames, an eighth of it per frame. Rounding to
/// whole milliseconds alone stays below it, so that a good grid never moves.
const CREEP_MAX: Nanos = 3 * NANOS_PER_MILLI / 2;

/// Frames that may miss the grid out of [`TRIAL_FRAMES`] before the rate counts as wrong.
const MISSES_MAX: u32 = 4;
const TRIAL_FRAMES: u32 = 60;

/// Frames after which a steady rate counts as measured.
const MEASURE_FRAMES: u32 = 30;

/// How much the shortest and the longest frame of a steady rate may differ: rounding twice.
const MEASURE_SPREAD: Nanos = 2 * NANOS_PER_MILLI;

/// Rates outside are nonsense in metadata (0, 1000, 90000).
const RATES: std::ops::RangeInclusive<f64> = 5.0..=240.0;

/// A rate as a fraction. Declared and measured rates are taken as the nearest of these within half a percent.
const STANDARD: [(i64, i64); 15] = [
    (10, 1),
    (12, 1),
    (25, 2),
    (15, 1),
    (20, 1),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
    (120, 1),
];

#[derive(Debug, Default)]
pub(super) struct Grid {
    rate: Option<Rate>,
    /// Place 0 of the grid.
    origin: Nanos,
    /// The last place taken.
    index: i64,
    /// Running mean of the deviation.
    creep: Nanos,
    last: Option<Nanos>,
    /// Place 0 is still to be set, by the next frame.
    unset: bool,
    misses: u32,
    trial: u32,
    measure: Measure,
    reanchored: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    num: i64,
    den: i64,
}

impl Rate {
    fn nearest(frames_per_second: f64) -> Option<Self> {
        if !RATES.contains(&frames_per_second) {
            return None;
        }
        let off = |&(num, den): &(i64, i64)| (num as f64 / den as f64 / frames_per_second - 1.0).abs();
        let standard = STANDARD.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b)))?;
        let (num, den) = if off(&standard) < 0.005 {
            standard
        } else {
            ((frames_per_second * 1000.0).round() as i64, 1000)
        };
        Some(Self { num, den })
    }

    /// Where place `index` lies after place 0: exact, so that it never creeps.
    fn at(self, index: i64) -> Nanos {
        let wide = i128::from(index) * 1_000_000_000 * i128::from(self.den);
        // The index is bounded by the distance of `i64` nanoseconds.
        wide.div_euclid(i128::from(self.num)) as Nanos
    }

    /// The place nearest to `after`.
    fn index(self, after: Nanos) -> i64 {
        let scale = 1_000_000_000 * i128::from(self.den);
        (i128::from(after) * i128::from(self.num) + scale / 2).div_euclid(scale) as i64
    }
}

impl Grid {
    pub(super) fn declare(&mut self, frames_per_second: f64) {
        let rate = Rate::nearest(frames_per_second);
        if rate.is_some() && rate != self.rate {
            self.begin(rate);
        }
    }

    fn begin(&mut self, rate: Option<Rate>) {
        self.rate = rate;
        self.unset = true;
        self.misses = 0;
        self.trial = 0;
        self.creep = 0;
        self.measure = Measure::default();
    }

    /// Places the next frame, which the encoder wants at `target`. Strictly grows.
    pub(super) fn place(&mut self, target: Nanos) -> Nanos {
        let place = match self.rate {
            Some(rate) => self.snap(rate, target),
            None => {
                if let Some(rate) = self.measure.push(target) {
                    self.begin(Some(rate));
                    self.snap(rate, target)
                } else {
                    target
                }
            }
        };
        // A frame that lies in the past follows at a quarter of a frame, until time has caught up.
        let step = self.rate.map_or(NANOS_PER_MILLI, |rate| rate.at(1) / 4);
        let place = self.last.map_or(place, |last| place.max(last + step));
        self.last = Some(place);
        place
    }

    fn snap(&mut self, rate: Rate, target: Nanos) -> Nanos {
        if std::mem::take(&mut self.unset) {
            self.origin = target;
            self.index = 0;
            return target;
        }
        self.trial += 1;
        if self.trial == TRIAL_FRAMES {
            self.trial = 0;
            self.misses = 0;
        }
        let index = rate.index(target - self.origin);
        let place = self.origin + rate.at(index);
        let deviation = target - place;
        if deviation.abs() > DEVIATION_MAX || index <= self.index {
            return self.miss(target);
        }
        self.index = index;
        self.creep += (deviation - self.creep) / 16;
        if self.creep.abs() > CREEP_MAX {
            self.origin += self.creep / 8;
        }
        place
    }

    /// The frame is not on the grid: begin a new one there, or give the rate up.
    fn miss(&mut self, target: Nanos) -> Nanos {
        self.reanchored += 1;
        self.misses += 1;
        self.origin = target;
        self.index = 0;
        self.creep = 0;
        if self.misses > MISSES_MAX {
            self.begin(None);
        }
        target
    }

    /// A distance between decoding and showing, on the grid if it lies near.
    pub(super) fn composition(&self, distance: Nanos) -> Nanos {
        let Some(rate) = self.rate else { return distance };
        let snapped = rate.at(rate.index(distance));
        if (snapped - distance).abs() <= DEVIATION_MAX { snapped } else { distance }
    }

    /// How long a frame lasts, in 90 kHz ticks; 0 without a rate.
    pub(super) fn frame_ticks(&self) -> u32 {
        self.rate.map_or(0, |rate| u32::try_from((90_000 * rate.den + rate.num / 2) / rate.num).unwrap_or(0))
    }

    pub(super) fn reanchored(&self) -> u64 {
        self.reanchored
    }
}

/// Looks for a steady rate in what the encoder does.
#[derive(Debug, Default)]
struct Measure {
    first: Nanos,
    last: Nanos,
    frames: u32,
    shortest: Nanos,
    longest: Nanos,
}

impl Measure {
    fn push(&mut self, target: Nanos) -> Option<Rate> {
        let step = target - self.last;
        self.last = target;
        self.frames += 1;
        match self.frames {
            1 => {
                self.first = target;
                return None;
            }
            2 => (self.shortest, self.longest) = (step, step),
            _ => {
                self.shortest = self.shortest.min(step);
                self.longest = self.longest.max(step);
            }
        }
        if self.longest - self.shortest > MEASURE_SPREAD {
            *self = Self { first: target, last: target, frames: 1, ..Self::default() };
        }
        if self.frames <= MEASURE_FRAMES {
            return None;
        }
        let seconds = (target - self.first) as f64 / 1e9;
        let rate = Rate::nearest(f64::from(self.frames - 1) / seconds);
        *self = Self { first: target, last: target, frames: 1, ..Self::default() };
        rate
    }
}
