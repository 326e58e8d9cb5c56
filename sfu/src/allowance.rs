//! So much per second, and at most half a second's worth at once (a leaky bucket).

use std::time::{Duration, Instant};

/// What somebody may still take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    owed: u64,
    /// Until when it was paid off.
    paid: Instant,
}

impl Allowance {
    /// All of it.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { owed: 0, paid: now }
    }

    /// Takes `amount` of what may be taken at `per_second`. False: it is too much, and nothing is taken.
    pub(crate) fn take(&mut self, now: Instant, amount: u64, per_second: u64) -> bool {
        let elapsed = now.saturating_duration_since(self.paid).min(Duration::from_secs(60));
        let earned = elapsed.as_micros() as u64 * per_second / 1_000_000;
        // Less than one is not lost but waits for the next time, or who asks often would get nothing.
        if earned > 0 {
            self.owed = self.owed.saturating_sub(earned);
            self.paid = now;
        }
        let may = self.owed + amount <= per_second / 2;
        if may {
            self.owed += amount;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    #[test]
    fn half_a_second_at_once_and_then_as_much_as_time_gives() {
        let start = beginning();
        let mut allowance = Allowance::new(start);
        assert!(allowance.take(start, 500, 1000));
        assert!(!allowance.take(start, 1, 1000));
        assert!(!allowance.take(start + Duration::from_millis(9), 10, 1000), "what is refused costs nothing");
        assert!(allowance.take(start + Duration::from_millis(10), 10, 1000));
        let later = start + Duration::from_secs(3600);
        assert!(
            !allowance.take(later, 501, 1000) && allowance.take(later, 500, 1000),
            "nobody saves up more"
        );
    }

    #[test]
    fn who_asks_often_gets_no_less() {
        let start = beginning();
        let mut allowance = Allowance::new(start);
        let taken =
            (0..100_000_u32).filter(|at| allowance.take(start + Duration::from_micros(100) * *at, 1, 1000));
        let taken = taken.count();
        assert!((10_490..=10_500).contains(&taken), "{taken} in ten seconds");
    }
}
