//! Whether the queue on the way grows: a line through the last delays, against a threshold that adapts.
//!
//! draft-ietf-rmcat-gcc-02 sections 5.3 to 5.5, with the trend line in place of the Kalman filter, as browsers do.

use super::arrival_group::Deltas;

/// Groups that the line is laid through: 0.3 s of a picture with sound.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// The slope is multiplied with the number of groups seen, up to this, and with a gain: with few groups it is
/// not believed as much. The threshold is in these units.
const GROUPS_MAX: u32 = 60;
const GAIN: f64 = 4.0;
/// Where the threshold begins, and its bounds (section 5.4).
const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// How fast it follows, per millisecond: slower upwards, so that a competing TCP flow does not starve us.
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A trend so far above is a sudden step; the threshold does not follow it.
const OUTLIER: f64 = 15.0;
/// How long, on the sender's clock, the trend must stay above the threshold.
const OVERUSE_MS: f64 = 10.0;

/// What the delays say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// The queue neither grows nor shrinks.
    #[default]
    Normal,
    /// It grows: more is sent than the line takes.
    Over,
    /// It shrinks.
    Under,
}

impl Usage {
    /// Of two parts of a report: a queue that grew in one of them grew.
    pub(super) fn worse(self, other: Self) -> Self {
        if self == Self::Over { self } else { other }
    }
}

/// The filter and the detector.
#[derive(Clone, Debug)]
pub(super) struct Trendline {
    /// Milliseconds on the receiver's clock, and smoothed delay: a ring.
    window: [(f64, f64); WINDOW],
    filled: usize,
    at: usize,
    began: Option<i64>,
    groups: u32,
    delay: f64,
    smoothed: f64,
    last_trend: f64,
    threshold: f64,
    threshold_at: Option<f64>,
    over_ms: Option<f64>,
    over_groups: u32,
    usage: Usage,
}

impl Trendline {
    pub(super) fn new() -> Self {
        Self {
            window: [(0.0, 0.0); WINDOW],
            filled: 0,
            at: 0,
            began: None,
            groups: 0,
            delay: 0.0,
            smoothed: 0.0,
            last_trend: 0.0,
            threshold: THRESHOLD_START,
            threshold_at: None,
            over_ms: None,
            over_groups: 0,
            usage: Usage::Normal,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// A group is complete.
    pub(super) fn add(&mut self, deltas: Deltas) {
        let began = *self.began.get_or_insert(deltas.at);
        let at = (deltas.at - began) as f64 / 1000.0;
        self.groups = (self.groups + 1).min(1000);
        self.delay += (deltas.arrived - deltas.sent) as f64 / 1000.0;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        self.window[self.at] = (at, self.smoothed);
        self.at = (self.at + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        let trend = if self.filled == WINDOW { self.slope() } else { None };
        self.detect(trend.unwrap_or(self.last_trend), deltas.sent as f64 / 1000.0, at);
    }

    /// Least squares. `None`: everything arrived at the same time.
    fn slope(&self) -> Option<f64> {
        let count = WINDOW as f64;
        let (x, y) = self.window.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        let (x, y) = (x / count, y / count);
        let (above, below) = self.window.iter().fold((0.0, 0.0), |sum, point| {
            (sum.0 + (point.0 - x) * (point.1 - y), sum.1 + (point.0 - x) * (point.0 - x))
        });
        (below > 0.0).then(|| above / below)
    }

    fn detect(&mut self, trend: f64, sent_ms: f64, at: f64) {
        if self.groups < 2 {
            return;
        }
        let scaled = f64::from(self.groups.min(GROUPS_MAX)) * trend * GAIN;
        if scaled > self.threshold {
            // It is taken to have been above for half of the first interval.
            self.over_ms = Some(self.over_ms.map_or(sent_ms / 2.0, |over| over + sent_ms));
            self.over_groups += 1;
            let long = self.over_ms.is_some_and(|over| over > OVERUSE_MS) && self.over_groups > 1;
            if long && trend >= self.last_trend {
                self.over_ms = Some(0.0);
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.over_groups = 0;
            self.usage = if scaled < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.last_trend = trend;
        self.adapt(scaled.abs(), at);
    }

    fn adapt(&mut self, scaled: f64, at: f64) {
        let since = (at - self.threshold_at.replace(at).unwrap_or(at)).clamp(0.0, 100.0);
        if scaled > self.threshold + OUTLIER {
            return;
        }
        let rate = if scaled < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        self.threshold =
            (self.threshold + rate * (scaled - self.threshold) * since).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms for `count`; each arrives so many microseconds later than the one before plus noise.
    fn run(line: &mut Trendline, at: &mut i64, count: usize, gradient: i64, noise: i64) -> Vec<Usage> {
        let mut state = 7_u64;
        let mut last_noise = 0;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let shake = if noise == 0 { 0 } else { (state >> 33) as i64 % noise };
                let arrived = 20_000 + gradient + shake - last_noise;
                last_noise = shake;
                *at += arrived;
                line.add(Deltas { sent: 20_000, arrived, at: *at });
                line.usage()
            })
            .collect()
    }

    #[test]
    fn known_gradients_are_told_apart() {
        for (name, gradient, noise, expected) in [
            ("steady", 0, 0, Usage::Normal),
            ("steady, 8 ms of jitter", 0, 8_000, Usage::Normal),
            ("a clock that drifts by 200 ppm", 4, 0, Usage::Normal),
            ("grows by 10 % of the time", 2_000, 0, Usage::Over),
            ("grows by 10 %, 4 ms of jitter", 2_000, 4_000, Usage::Over),
            ("shrinks by 10 %", -2_000, 0, Usage::Under),
        ] {
            let (mut line, mut at) = (Trendline::new(), 0);
            run(&mut line, &mut at, 60, 0, 0);
            let seen = run(&mut line, &mut at, 40, gradient, noise);
            assert_eq!(seen.contains(&Usage::Over), expected == Usage::Over, "{name}");
            assert_eq!(seen.contains(&Usage::Under), expected == Usage::Under, "{name}");
        }
    }

    #[test]
    fn a_step_of_the_line_is_noticed_within_a_fifth_of_a_second() {
        let (mut line, mut at) = (Trendline::new(), 0);
        run(&mut line, &mut at, 60, 0, 2_000);
        // From 3 Mbit/s to 600 kbit/s: everything takes five times as long.
        let seen = run(&mut line, &mut at, 20, 80_000, 0);
        let first = seen.iter().position(|usage| *usage == Usage::Over).expect("noticed");
        assert!(first < 10, "after {first} groups of 20 ms");
    }

    #[test]
    fn the_threshold_rises_under_a_standing_gradient_and_falls_again() {
        let (mut line, mut at) = (Trendline::new(), 0);
        run(&mut line, &mut at, 100, 0, 0);
        assert_eq!(line.threshold, THRESHOLD_MIN);
        run(&mut line, &mut at, 300, 900, 0);
        let high = line.threshold;
        assert!(high > 9.0, "{high}");
        run(&mut line, &mut at, 300, 0, 0);
        assert_eq!(line.threshold, THRESHOLD_MIN);
    }
}
