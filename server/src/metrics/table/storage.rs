//! The bucket of recordings. Without `[hls.s3]` there are none of these.

use super::row::{Row, counter, gauge, unstored};

pub(super) const ROWS: &[Row] = &[
    gauge(
        "storage.failing",
        "swiftwater_storage_failing",
        "1 while the last that was heard of the bucket is a failure.",
    ),
    gauge(
        "storage.backlog_recordings",
        "swiftwater_storage_backlog_recordings",
        "Recordings that are not in the bucket as a whole, or are to be removed from it.",
    ),
    gauge(
        "storage.backlog_objects",
        "swiftwater_storage_backlog_objects",
        "Objects that wait in memory to be uploaded or removed.",
    ),
    gauge("storage.backlog_bytes", "swiftwater_storage_backlog_bytes", "Bytes of those."),
    gauge(
        "storage.held",
        "swiftwater_storage_held_recordings",
        "Recordings that retention would remove from disk, if they were in the bucket.",
    ),
    counter(
        "storage.uploads_total",
        "swiftwater_storage_uploads_total",
        "Objects that the bucket has confirmed.",
    ),
    counter("storage.upload_bytes_total", "swiftwater_storage_upload_bytes_total", "Their bytes."),
    counter("storage.removed_total", "swiftwater_storage_removed_total", "Objects removed from the bucket."),
    unstored("storage.errors_denied_total", "denied", "The credentials are not good, or may not do this."),
    unstored("storage.errors_keyless_total", "keyless", "There are no credentials."),
    unstored("storage.errors_missing_total", "missing", "There is no such bucket, or no such object."),
    unstored("storage.errors_full_total", "full", "The bucket is full, or its quota is used up."),
    unstored(
        "storage.errors_large_total",
        "large",
        "The bucket, or a proxy before it, takes nothing that large.",
    ),
    unstored("storage.errors_untrusted_total", "untrusted", "The certificate of its server is not trusted."),
    unstored("storage.errors_late_total", "late", "No answer in time."),
    unstored("storage.errors_disk_total", "disk", "A file or the ledger on disk, not the bucket."),
    unstored("storage.errors_other_total", "other", "No connection, a server that is not well."),
    counter(
        "storage.overflows_total",
        "swiftwater_storage_overflows_total",
        "Objects that found no room in memory; they are found again in the journal.",
    ),
    counter(
        "storage.dropped_local_total",
        "swiftwater_storage_dropped_local_total",
        "Recordings removed from disk because all of them is in the bucket.",
    ),
    counter(
        "storage.reads_total",
        "swiftwater_storage_reads_total",
        "Files read from the bucket for a viewer.",
    ),
    counter(
        "storage.reads_refused_total",
        "swiftwater_storage_reads_refused_total",
        "Files not read because too many were being read.",
    ),
];
