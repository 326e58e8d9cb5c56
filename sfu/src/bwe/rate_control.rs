//! From "the queue grows" to a rate: additive or multiplicative increase, multiplicative decrease.
//!
//! draft-ietf-rmcat-gcc-02 section 5.5. What differs from a sender with an encoder: we cannot make the media larger
//! to fill the rate. So the rate never grows far beyond what has been seen to arrive; what lies above is for
//! probes to find out.

use super::trendline::Usage;
use super::{ESTIMATE_MAX_BPS, ESTIMATE_MIN_BPS};

/// Of what arrived while the queue grew, this much is sent from then on. Section 5.5.
const DECREASE: f64 = 0.85;
/// Growth per second while the limit of the line is not known.
const INCREASE: f64 = 1.08;
/// How far above the acknowledged rate it grows by itself: room for a frame larger than the others, not for a Layer.
const HEADROOM: f64 = 1.2;
const HEADROOM_BPS: f64 = 10_000.0;
/// Over which the acknowledged rate is averaged for that.
const AVERAGE_SECONDS: f64 = 2.0;
/// Until a round trip was measured.
const ROUND_TRIP_MICROS: i64 = 200_000;
/// The detector's own delay.
const RESPONSE_MICROS: i64 = 100_000;
/// From one decrease to the next at least the round trip, within these.
const DECREASE_GAP_MICROS: (i64, i64) = (10_000, 200_000);
/// Weight of a new measurement of the line's limit.
const LIMIT_WEIGHT: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hold,
    Increase,
}

/// The limit of the line: what arrived when the queue grew. In kbit/s; the variance is relative to it.
#[derive(Clone, Copy, Debug)]
struct Limit {
    kbps: f64,
    deviation: f64,
}

impl Limit {
    fn spread(&self) -> f64 {
        3.0 * (self.deviation * self.kbps).sqrt()
    }

    fn add(this: Option<Self>, kbps: f64) -> Self {
        let Some(old) = this else { return Self { kbps, deviation: 0.4 } };
        let mean = (1.0 - LIMIT_WEIGHT) * old.kbps + LIMIT_WEIGHT * kbps;
        let error = mean - kbps;
        let deviation = (1.0 - LIMIT_WEIGHT) * old.deviation + LIMIT_WEIGHT * error * error / mean.max(1.0);
        Self { kbps: mean, deviation: deviation.clamp(0.4, 2.5) }
    }
}

/// The rate that the delays allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateControl {
    bps: f64,
    phase: Phase,
    limit: Option<Limit>,
    average: Option<f64>,
    round_trip: i64,
    changed: Option<i64>,
    decreased: Option<i64>,
}

impl RateControl {
    pub(super) fn new(start_bps: f64) -> Self {
        Self {
            bps: clamp(start_bps),
            phase: Phase::Hold,
            limit: None,
            average: None,
            round_trip: ROUND_TRIP_MICROS,
            changed: None,
            decreased: None,
        }
    }

    pub(super) fn bps(&self) -> f64 {
        self.bps
    }

    pub(super) fn set_round_trip(&mut self, micros: i64) {
        self.round_trip = micros;
    }

    /// It was found out by other means: by a probe, or because more arrives and no queue grows.
    pub(super) fn set(&mut self, now: i64, bps: f64) {
        self.bps = clamp(bps);
        self.changed = Some(now);
    }

    /// A report was read. `acked`: what arrives, in bits per second; `full`: what arrives while packets wait. True: it was
    /// decreased. A trend without a queue behind it is a shake of the line, and only stops the growth.
    pub(super) fn update(&mut self, now: i64, usage: Usage, acked: Option<f64>, full: Option<f64>) -> bool {
        match usage {
            Usage::Over => {
                self.phase = Phase::Hold;
                return full.is_some_and(|full| self.decrease(now, full));
            }
            // The queue empties: what is sent is less than the line takes, until it is empty.
            Usage::Under => self.phase = Phase::Hold,
            Usage::Normal if self.phase == Phase::Hold => {
                self.phase = Phase::Increase;
                self.changed = Some(now);
            }
            Usage::Normal => self.increase(now, acked),
        }
        false
    }

    fn increase(&mut self, now: i64, acked: Option<f64>) {
        let since = (now - self.changed.replace(now).unwrap_or(now)).clamp(0, 1_000_000) as f64 / 1e6;
        let Some(acked) = acked else { return };
        // A large frame is not what the line carries all the time.
        let weight = (since / AVERAGE_SECONDS).min(1.0);
        let average = self.average.map_or(acked, |old| old + (acked - old) * weight);
        self.average = Some(average);
        if self.limit.is_some_and(|limit| acked / 1000.0 > limit.kbps + limit.spread()) {
            self.limit = None;
        }
        let most = average * HEADROOM + HEADROOM_BPS;
        if self.bps >= most {
            return;
        }
        let grown = match self.limit {
            Some(_) => self.bps + self.additive_per_second() * since,
            // What arrives and makes no queue grow has been proven.
            None => (self.bps * INCREASE.powf(since)).max(self.bps + 1000.0).max(acked),
        };
        self.bps = clamp(grown.min(most));
    }

    /// Near the limit: about one packet per round trip (section 5.5).
    fn additive_per_second(&self) -> f64 {
        let frame_bits = self.bps / 30.0;
        let packets = (frame_bits / (1200.0 * 8.0)).ceil().max(1.0);
        let response = 2.0 * (self.round_trip + RESPONSE_MICROS) as f64 / 1e6;
        (frame_bits / packets / response).max(4000.0)
    }

    fn decrease(&mut self, now: i64, full: f64) -> bool {
        let (least, most) = DECREASE_GAP_MICROS;
        let gap = self.round_trip.clamp(least, most);
        let soon = self.decreased.is_some_and(|at| now - at < gap);
        if soon && full >= self.bps * 0.5 {
            return false;
        }
        let kbps = full / 1000.0;
        if self.limit.is_some_and(|limit| (kbps - limit.kbps).abs() > limit.spread()) {
            self.limit = None;
        }
        self.limit = Some(Limit::add(self.limit, kbps));
        self.bps = clamp(self.bps.min(DECREASE * full));
        (self.changed, self.decreased) = (Some(now), Some(now));
        true
    }

    /// When it was decreased last.
    pub(super) fn decreased(&self) -> Option<i64> {
        self.decreased
    }
}

fn clamp(bps: f64) -> f64 {
    bps.clamp(ESTIMATE_MIN_BPS as f64, ESTIMATE_MAX_BPS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1000;

    /// Reports every 100 ms.
    fn run(control: &mut RateControl, now: &mut i64, millis: i64, usage: Usage, acked: f64) -> f64 {
        let end = *now + millis * MS;
        while *now < end {
            *now += 100 * MS;
            let full = (usage == Usage::Over).then_some(acked);
            control.update(*now, usage, Some(acked), full);
        }
        control.bps()
    }

    #[test]
    fn it_falls_below_what_arrives_and_not_below_that_again_and_again() {
        let (mut control, mut now) = (RateControl::new(3e6), 0);
        run(&mut control, &mut now, 1000, Usage::Normal, 2.9e6);
        let once = run(&mut control, &mut now, 100, Usage::Over, 6e5);
        assert_eq!(once, 0.85 * 6e5);
        let again = run(&mut control, &mut now, 2000, Usage::Over, 6e5);
        assert_eq!(again, 0.85 * 6e5, "the same arrives, so the same is said");
    }

    #[test]
    fn it_does_not_grow_on_thin_air_nor_shrink_because_little_is_sent() {
        let (mut control, mut now) = (RateControl::new(1e6), 0);
        let far = run(&mut control, &mut now, 60_000, Usage::Normal, 5e5);
        assert_eq!(far, 1e6, "twice what arrives: nothing proves more, nothing less");
        let mut control = RateControl::new(1e5);
        let near = run(&mut control, &mut now, 60_000, Usage::Normal, 5e5);
        assert_eq!(near, 5e5 * HEADROOM + HEADROOM_BPS);
    }

    #[test]
    fn a_trend_without_a_queue_changes_nothing() {
        let mut control = RateControl::new(1e6);
        assert!(!control.update(1, Usage::Over, Some(5e4), None));
        assert_eq!(control.bps(), 1e6);
    }

    #[test]
    fn near_the_limit_it_creeps_and_far_above_it_runs() {
        let (mut control, mut now) = (RateControl::new(1e6), 0);
        run(&mut control, &mut now, 100, Usage::Over, 1e6);
        let start = control.bps();
        let crept = run(&mut control, &mut now, 1000, Usage::Normal, 1e6) - start;
        assert!((10_000.0..170_000.0).contains(&crept), "{crept}");
        let ran = run(&mut control, &mut now, 4000, Usage::Normal, 2e6);
        assert!(ran >= 2e6, "the limit was none: {ran}");
    }
}
