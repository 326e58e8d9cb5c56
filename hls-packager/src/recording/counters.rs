//! What recording counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters of all recordings since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) overflows: Arc<AtomicU64>,
    pub(crate) parts: AtomicU64,
    pub(crate) parts_lost: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) segments_lost: AtomicU64,
    pub(crate) segments_removed: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) wal_dropped: AtomicU64,
    pub(crate) repaired: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) bytes_served: Arc<AtomicU64>,
}

/// [`Counters`] at a moment, and gauges of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordingStats {
    /// Recordings, on disk or in the bucket.
    pub recordings: u64,
    /// Recordings that are live.
    pub live: u64,
    /// Bytes of finished recordings on disk.
    pub bytes: u64,
    /// Recordings that ended and of whose end nobody was told yet.
    pub untold: u64,
    /// Frames, parts and ends of segments that found no room in a recorder's queue.
    pub recorder_overflows_total: u64,
    /// Parts written.
    pub parts_total: u64,
    /// Parts that are missing in a recording.
    pub parts_lost_total: u64,
    /// Segments that are whole on disk.
    pub segments_total: u64,
    /// Segments that are missing or end early in a recording.
    pub segments_lost_total: u64,
    /// Segments removed from recordings that grew too large.
    pub segments_removed_total: u64,
    /// Bytes of parts written.
    pub bytes_written_total: u64,
    /// Writes that the disk refused.
    pub write_errors_total: u64,
    /// Write-ahead files removed before their frames were in parts.
    pub wal_dropped_total: u64,
    /// Recordings repaired after a crash.
    pub repaired_total: u64,
    /// Recordings that became ready.
    pub finished_total: u64,
    /// Recordings that failed.
    pub failed_total: u64,
    /// Recordings removed, by request or by the retention rules.
    pub removed_total: u64,
    /// Bytes of recordings sent to viewers.
    pub bytes_served_total: u64,
}

impl Counters {
    /// The counters now.
    pub(crate) fn snapshot(&self) -> RecordingStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordingStats {
            recorder_overflows_total: get(&self.overflows),
            parts_total: get(&self.parts),
            parts_lost_total: get(&self.parts_lost),
            segments_total: get(&self.segments),
            segments_lost_total: get(&self.segments_lost),
            segments_removed_total: get(&self.segments_removed),
            bytes_written_total: get(&self.bytes),
            write_errors_total: get(&self.write_errors),
            wal_dropped_total: get(&self.wal_dropped),
            repaired_total: get(&self.repaired),
            finished_total: get(&self.finished),
            failed_total: get(&self.failed),
            removed_total: get(&self.removed),
            bytes_served_total: get(&self.bytes_served),
            ..RecordingStats::default()
        }
    }
}
