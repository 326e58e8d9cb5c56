//! Log lines that a stranger can cause, kept from filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one such line per this long; the others are counted, by the counter of what happened.
const EVERY: Duration = Duration::from_secs(1);

/// Lets one line per second through.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    last: Mutex<Option<Instant>>,
}

impl Notices {
    /// Writes the line unless another one was written just before.
    pub(crate) fn warn(&self, now: Instant, write: impl FnOnce()) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) {
            *last = Some(now);
            drop(last);
            write();
        }
    }
}
