//! The clocks of this crate: accounts and keys live by the wall clock, limits by the monotonic one.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "expiry of keys, sessions and grants is by the wall clock")]
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// For windows of limits.
#[expect(clippy::disallowed_methods, reason = "limits count in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
