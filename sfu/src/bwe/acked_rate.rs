//! How much arrives: the acknowledged bitrate.
//!
//! A sample per window, and a filter that trusts a sample the less the further it is from what it believes: one
//! large frame moves it little, a lasting change moves it within a few windows.

/// Length of a window, once there is an estimate, and of the first one.
const WINDOW_MICROS: i64 = 150_000;
const FIRST_WINDOW_MICROS: i64 = 500_000;
/// How much the difference from the estimate makes a sample doubtful.
const DOUBT: f64 = 10.0;
/// How fast the estimate becomes doubtful itself, per sample.
const AGING: f64 = 5.0;

/// The filter. Rates inside in kbit/s, which is what the constants are made for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckedRate {
    since: Option<i64>,
    last: i64,
    bytes: u64,
    kbps: Option<f64>,
    variance: f64,
}

impl AckedRate {
    /// A packet arrived, at so many microseconds on the receiver's clock.
    pub(super) fn add(&mut self, arrived: i64, bytes: u64) {
        let window = if self.kbps.is_some() { WINDOW_MICROS } else { FIRST_WINDOW_MICROS };
        let since = *self.since.get_or_insert(arrived);
        if arrived < since || arrived - self.last.max(since) > FIRST_WINDOW_MICROS {
            // The clock stepped, or nothing was sent for long: a pause is no rate.
            (self.since, self.bytes) = (Some(arrived), 0);
        } else if arrived - since >= window {
            let kbps = self.bytes as f64 * 8_000.0 / (arrived - since) as f64;
            self.sample(kbps);
            (self.since, self.bytes) = (Some(arrived), 0);
        }
        self.last = arrived;
        self.bytes += bytes;
    }

    fn sample(&mut self, kbps: f64) {
        let Some(old) = self.kbps else {
            self.kbps = Some(kbps);
            self.variance = 50.0;
            return;
        };
        let doubt = DOUBT * (old - kbps).abs() / old.max(1.0);
        let of_sample = doubt * doubt;
        let of_old = self.variance + AGING;
        self.kbps = Some((of_sample * old + of_old * kbps) / (of_sample + of_old));
        self.variance = of_sample * of_old / (of_sample + of_old);
    }

    /// Bits per second. `None`: half a second has not been seen yet.
    pub(super) fn bps(&self) -> Option<f64> {
        self.kbps.map(|kbps| kbps * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1000 bytes every `gap` microseconds.
    fn run(rate: &mut AckedRate, at: &mut i64, gap: i64, millis: i64) -> f64 {
        let end = *at + millis * 1000;
        while *at < end {
            *at += gap;
            rate.add(*at, 1000);
        }
        rate.bps().unwrap_or(0.0) / 1000.0
    }

    #[test]
    fn it_settles_soon_after_a_change() {
        let (mut rate, mut at) = (AckedRate::default(), 0);
        assert_eq!(run(&mut rate, &mut at, 4_000, 400), 0.0, "not yet");
        let before = run(&mut rate, &mut at, 4_000, 600);
        assert!((1950.0..2050.0).contains(&before), "{before}");
        let down = run(&mut rate, &mut at, 16_000, 1500);
        assert!((480.0..620.0).contains(&down), "{down}");
        let up = run(&mut rate, &mut at, 4_000, 2000);
        assert!((1800.0..2050.0).contains(&up), "{up}");
    }

    #[test]
    fn a_pause_is_no_low_rate_and_a_large_frame_no_high_one() {
        let (mut rate, mut at) = (AckedRate::default(), 0);
        run(&mut rate, &mut at, 4_000, 3000);
        at += 5_000_000;
        let after = run(&mut rate, &mut at, 4_000, 300);
        assert!((1900.0..2100.0).contains(&after), "{after}");
        for _ in 0..40 {
            rate.add(at, 1000);
        }
        let after = run(&mut rate, &mut at, 4_000, 160);
        assert!((1900.0..3000.0).contains(&after), "{after}");
    }
}
