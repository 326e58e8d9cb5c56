//! The clock of this crate's shells.

use std::time::Instant;

/// Now, for the sans-I/O parts. Tokio's clock, so that a test can stop it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
