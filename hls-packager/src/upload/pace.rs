//! How many uploads may run: several while all is well, one at a time with growing pauses while it is not. Sans-I/O.

use std::time::{Duration, Instant};

/// Uploads at a time. Enough that the way to the bucket and back does not bound the rate; each holds one part of an
/// object in memory.
pub(crate) const UPLOADS_MAX: usize = 4;

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause: somebody who has repaired the bucket waits no longer.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What has been going on lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
    /// The last failure was that there is no room.
    full: bool,
}

impl Pace {
    /// Uploads that may run now.
    pub(crate) fn allowed(&self, now: Instant) -> usize {
        match self.not_before {
            None => UPLOADS_MAX,
            Some(at) if now < at => 0,
            Some(_) => 1,
        }
    }

    /// The last thing that was heard is a failure.
    pub(crate) fn is_failing(&self) -> bool {
        self.not_before.is_some()
    }

    /// The last failure was that there is no room.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// When there may be more than now.
    pub(crate) fn wakes(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| now < *at)
    }

    /// An upload failed, `full`: because there is no room. `jitter` is anything from 0 to 1: nodes that failed together do
    /// not come back together.
    pub(crate) fn failed(&mut self, now: Instant, full: bool, jitter: f64) {
        self.full = full;
        // Those that ran beside the first one say nothing new.
        if self.wakes(now).is_some() {
            return;
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        self.not_before = Some(now + pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
    }

    /// Something was done, `took_room`: by which the bucket has grown. A playlist that is replaced and an object that is
    /// removed do not tell that a bucket which was full has room. Says whether all is well.
    pub(crate) fn succeeded(&mut self, took_room: bool) -> bool {
        if self.full && !took_room {
            return false;
        }
        *self = Self::default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_first_success() {
        let mut now = tokio::time::Instant::now().into_std();
        let mut pace = Pace::default();
        assert_eq!((pace.allowed(now), pace.is_failing()), (UPLOADS_MAX, false));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.failed(now, false, 1.0);
            // The others that were under way.
            pace.failed(now, false, 1.0);
            assert_eq!(pace.allowed(now), 0);
            let at = pace.wakes(now).expect("a pause");
            pauses.push((at - now).as_secs());
            now = at;
            assert_eq!((pace.allowed(now), pace.wakes(now)), (1, None), "one looks whether it is over");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.failed(now, false, 0.0);
        assert_eq!(pace.wakes(now), Some(now + PAUSE_MAX / 2));
        assert!(pace.succeeded(false));
        assert_eq!(pace.allowed(now), UPLOADS_MAX);
        pace.failed(now, false, 1.0);
        assert_eq!(pace.wakes(now), Some(now + PAUSE_MIN));
    }

    #[test]
    fn what_takes_no_room_does_not_end_the_pauses_of_a_full_bucket() {
        let mut now = tokio::time::Instant::now().into_std();
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pace.failed(now, true, 1.0);
            let at = pace.wakes(now).expect("a pause");
            pauses.push((at - now).as_secs());
            now = at;
            // A playlist is put, something is removed.
            assert!(!pace.succeeded(false) && pace.is_failing() && pace.is_full());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60]);
        assert!(pace.succeeded(true) && !pace.is_full());
        assert_eq!(pace.allowed(now), UPLOADS_MAX);
        // Something else than room was missing last.
        pace.failed(now, true, 1.0);
        pace.failed(now, false, 1.0);
        assert!(pace.succeeded(false) && !pace.is_failing());
    }
}
