//! What uploading counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::bucket::Reason;

/// Counters since the start, and gauges that the uploader keeps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) uploads: AtomicU64,
    pub(crate) upload_bytes: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) dropped_local: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) reads_refused: AtomicU64,
    pub(crate) failing: AtomicU64,
    pub(crate) backlog_objects: AtomicU64,
    pub(crate) backlog_bytes: AtomicU64,
    pub(crate) backlog_recordings: AtomicU64,
    pub(crate) held: AtomicU64,
    denied: AtomicU64,
    keyless: AtomicU64,
    missing: AtomicU64,
    full: AtomicU64,
    large: AtomicU64,
    untrusted: AtomicU64,
    late: AtomicU64,
    disk: AtomicU64,
    other: AtomicU64,
    /// Rounds that the uploader has ended.
    #[cfg(test)]
    pub(crate) rounds: AtomicU64,
}

/// [`Counters`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StorageStats {
    /// Objects that the bucket has confirmed.
    pub uploads_total: u64,
    /// Their bytes.
    pub upload_bytes_total: u64,
    /// Objects removed from the bucket.
    pub removed_total: u64,
    /// Times that the names of objects found no room in a backlog, so that a journal is read again.
    pub overflows_total: u64,
    /// Recordings whose files on disk were removed because all of them are in the bucket.
    pub dropped_local_total: u64,
    /// Files of recordings that were read from the bucket for a viewer.
    pub reads_total: u64,
    /// Those not read because too many were being read.
    pub reads_refused_total: u64,
    /// 1 while the last that was heard of the bucket is a failure.
    pub failing: u64,
    /// Objects that are to be uploaded or removed, of the recordings that are worked on.
    pub backlog_objects: u64,
    /// Bytes of those.
    pub backlog_bytes: u64,
    /// Recordings that are not in the bucket as a whole.
    pub backlog_recordings: u64,
    /// Recordings that retention would remove, if they were in the bucket.
    pub held: u64,
    /// Failures: the credentials are not good.
    pub errors_denied_total: u64,
    /// Failures: there are no credentials.
    pub errors_keyless_total: u64,
    /// Failures: no such bucket, or object.
    pub errors_missing_total: u64,
    /// Failures: the bucket is full.
    pub errors_full_total: u64,
    /// Failures: the bucket takes nothing that large.
    pub errors_large_total: u64,
    /// Failures: the certificate of the bucket's server is not trusted.
    pub errors_untrusted_total: u64,
    /// Failures: no answer in time.
    pub errors_late_total: u64,
    /// Failures: a file on disk cannot be read.
    pub errors_disk_total: u64,
    /// Failures of other kinds.
    pub errors_other_total: u64,
}

impl Counters {
    /// Counts a failure.
    pub(crate) fn failed(&self, reason: Reason) {
        let counter = match reason {
            Reason::Denied => &self.denied,
            Reason::Keyless => &self.keyless,
            Reason::Missing => &self.missing,
            Reason::Full => &self.full,
            Reason::Large => &self.large,
            Reason::Untrusted => &self.untrusted,
            Reason::Late => &self.late,
            Reason::Disk => &self.disk,
            Reason::Other => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    pub(crate) fn snapshot(&self) -> StorageStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StorageStats {
            uploads_total: get(&self.uploads),
            upload_bytes_total: get(&self.upload_bytes),
            removed_total: get(&self.removed),
            overflows_total: get(&self.overflows),
            dropped_local_total: get(&self.dropped_local),
            reads_total: get(&self.reads),
            reads_refused_total: get(&self.reads_refused),
            failing: get(&self.failing),
            backlog_objects: get(&self.backlog_objects),
            backlog_bytes: get(&self.backlog_bytes),
            backlog_recordings: get(&self.backlog_recordings),
            held: get(&self.held),
            errors_denied_total: get(&self.denied),
            errors_keyless_total: get(&self.keyless),
            errors_missing_total: get(&self.missing),
            errors_full_total: get(&self.full),
            errors_large_total: get(&self.large),
            errors_untrusted_total: get(&self.untrusted),
            errors_late_total: get(&self.late),
            errors_disk_total: get(&self.disk),
            errors_other_total: get(&self.other),
        }
    }
}
