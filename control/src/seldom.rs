//! Log lines about what anybody can cause as often as they like: one in a while, the counters have the rest.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line per this long.
const EVERY: Duration = Duration::from_secs(10);

/// When there was the last line of a kind.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether there may be another line; from then on there may be none for a while.
    pub(crate) fn may(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        if may {
            *last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_while() {
        let (seldom, begun) = (Seldom::default(), crate::clock::now());
        let may: Vec<bool> =
            [0, 1, 9, 10, 11, 20].map(|seconds| seldom.may(begun + Duration::from_secs(seconds))).into();
        assert_eq!(may, [true, false, false, true, false, true]);
    }
}
