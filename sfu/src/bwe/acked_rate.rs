//! How much arrives: the acknowledged bitrate of the last half second, on the receiver's clock.

/// A bucket, and how many there are.
const BUCKET_MICROS: i64 = 50_000;
const BUCKETS: usize = 10;

/// Bytes by bucket: a ring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckedRate {
    buckets: [u32; BUCKETS],
    /// Number of the newest bucket since the clock began.
    newest: i64,
    /// Complete buckets so far, up to all.
    complete: usize,
    began: bool,
}

impl AckedRate {
    /// A packet arrived, at so many microseconds.
    pub(super) fn add(&mut self, arrived: i64, bytes: u64) {
        let bucket = arrived.div_euclid(BUCKET_MICROS);
        if !self.began || bucket < self.newest - BUCKETS as i64 {
            // The first, or the clock stepped back.
            *self = Self { newest: bucket, began: true, ..Self::default() };
        }
        let skipped = usize::try_from(bucket - self.newest).unwrap_or(0);
        for step in 1..=skipped.min(BUCKETS) as i64 {
            self.buckets[Self::place(self.newest + step)] = 0;
        }
        self.complete = (self.complete + skipped).min(BUCKETS - 1);
        self.newest = self.newest.max(bucket);
        let sum = &mut self.buckets[Self::place(bucket)];
        *sum = sum.saturating_add(bytes as u32);
    }

    fn place(bucket: i64) -> usize {
        bucket.rem_euclid(BUCKETS as i64) as usize
    }

    /// Bits per second, of the complete buckets. `None`: half a second has not passed yet.
    pub(super) fn bps(&self) -> Option<f64> {
        if self.complete < BUCKETS - 1 {
            return None;
        }
        let all: u64 = self.buckets.iter().map(|bytes| u64::from(*bytes)).sum();
        let complete = all - u64::from(self.buckets[Self::place(self.newest)]);
        Some(complete as f64 * 8e6 / ((BUCKETS - 1) as i64 * BUCKET_MICROS) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1000 bytes every `gap` microseconds; kbit/s.
    fn run(rate: &mut AckedRate, at: &mut i64, gap: i64, millis: i64) -> f64 {
        let end = *at + millis * 1000;
        while *at < end {
            *at += gap;
            rate.add(*at, 1000);
        }
        rate.bps().unwrap_or(0.0) / 1000.0
    }

    #[test]
    fn it_is_right_half_a_second_after_a_change() {
        let (mut rate, mut at) = (AckedRate::default(), -3_000_000);
        assert_eq!(run(&mut rate, &mut at, 4_000, 400), 0.0, "not yet");
        for (gap, expected) in [(4_000, 2000.0), (16_000, 500.0), (4_000, 2000.0)] {
            let seen = run(&mut rate, &mut at, gap, 600);
            assert!((expected * 0.95..expected * 1.05).contains(&seen), "{seen}");
        }
    }

    #[test]
    fn pauses_and_steps_of_the_clock_are_survived() {
        let (mut rate, mut at) = (AckedRate::default(), 0);
        run(&mut rate, &mut at, 4_000, 3000);
        at += 5_000_000;
        rate.add(at, 1000);
        assert_eq!(rate.bps(), Some(0.0));
        at -= 3_000_000;
        run(&mut rate, &mut at, 4_000, 100);
        assert_eq!(rate.bps(), None);
        rate.add(i64::MAX, 1000);
        rate.add(i64::MIN, 1000);
    }
}
