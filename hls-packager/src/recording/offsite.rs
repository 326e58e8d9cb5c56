//! Recordings and the bucket: what is there, what is left on disk, what is removed from both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use media::StreamId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::journal;
use super::library::Recordings;
use super::manifest::{self, RecordingState, Storage, Uploaded};
use crate::bucket::{Bucket, KeepLocal};
use crate::upload::{self, Counters, Inbox, LEDGER, News, StorageStats, Wake};

/// Files that are read from the bucket for viewers at a time: each is a connection to it. At the limit players get 503 and
/// ask again; counted in `reads_refused_total`.
const READS_MAX: usize = 256;

/// The bucket, and what is on its way there.
#[derive(Debug)]
pub(crate) struct Offsite {
    pub(crate) bucket: Bucket,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) counters: Counters,
    pub(crate) reads: Arc<Semaphore>,
    /// Held while a recording leaves the disk: what somebody else believes of it meanwhile may be taken back.
    leaving: Mutex<()>,
}

impl Offsite {
    pub(super) fn new(bucket: Bucket) -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self {
            bucket,
            inbox: Arc::default(),
            counters: Counters::default(),
            reads,
            leaving: Mutex::default(),
        }
    }

    /// How the recorder of a Stream tells of what it wrote.
    pub(super) fn news(&self, id: StreamId) -> News {
        News { inbox: Arc::clone(&self.inbox), id }
    }
}

impl Recordings {
    /// Puts recordings into the bucket until `stop`; without a bucket there is nothing to do. The caller owns the future;
    /// what is under way when it is dropped is put again after the next start.
    pub async fn upload(self: Arc<Self>, stop: CancellationToken) {
        if self.offsite.is_some() {
            upload::run(&self, stop).await;
        }
    }

    /// Counters and gauges of the bucket, if there is one.
    pub fn storage_stats(&self) -> Option<StorageStats> {
        self.offsite.as_ref().map(|offsite| offsite.counters.snapshot())
    }

    /// The bucket, if there is one.
    pub(crate) fn offsite(&self) -> Option<&Offsite> {
        self.offsite.as_ref()
    }

    /// The only copy of its media is in the bucket.
    pub(crate) fn is_offsite(&self, id: StreamId) -> bool {
        self.lock().get(&id).is_some_and(|it| it.storage == Storage::S3)
    }

    /// So much of it is in the bucket. Not written: the ledger knows.
    pub(crate) fn note_uploaded(&self, id: StreamId, uploaded: &Uploaded) {
        if let Some(found) = self.lock().get_mut(&id) {
            found.uploaded = Some(uploaded.clone());
        }
    }

    /// All of it is in the bucket.
    pub(crate) fn uploaded(&self, id: StreamId, uploaded: Uploaded) {
        let Some(offsite) = &self.offsite else { return };
        info!(recording = %id, segments = uploaded.segments, bytes = uploaded.bytes, "recording uploaded");
        self.change(id, |it| it.uploaded = Some(uploaded));
        if offsite.bucket.keep_local() == KeepLocal::UntilUploaded {
            self.drop_local(id);
        }
    }

    /// Removes the media of a recording from disk, because all of it is in the bucket. What was left by a process that
    /// ended in the middle of it is removed too. If the disk does not take that it is so, nothing has happened: it is tried
    /// again with the retention rules.
    pub(crate) fn drop_local(&self, id: StreamId) {
        let Some(offsite) = &self.offsite else { return };
        let _one_at_a_time = offsite.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = self.get(id) else { return };
        let complete = found.uploaded.is_some_and(|it| it.complete);
        if found.state != RecordingState::Ready || !complete {
            return;
        }
        let folder = self.path(id);
        if found.storage == Storage::Disk {
            // First it is known, then it is done: from now on what is not on disk is read from the bucket.
            let Some(changed) = self.note(id, |it| it.storage = Storage::S3) else { return };
            // On disk it is known too, or the next start would believe that the files are there.
            let written = super::Recording::read(&folder).is_some_and(|it| it.storage == Storage::S3);
            if !written {
                // Nobody is told: the uploader would look, and try at once and for ever.
                if let Some(found) = self.lock().get_mut(&id) {
                    found.storage = Storage::Disk;
                }
                return;
            }
            self.tell(changed);
            offsite.counters.dropped_local.fetch_add(1, Ordering::Relaxed);
            info!(recording = %id, "recording removed from disk: it is in the bucket");
        }
        strip(&folder, &[manifest::FILE, journal::FILE, LEDGER]);
    }

    /// Removes what is left of a recording that was removed: from the bucket first, because its name is needed for that.
    pub(super) fn clear(&self, path: PathBuf) {
        let id = path.file_name().and_then(|name| name.to_str()).and_then(super::library::removed_id);
        match (&self.offsite, id) {
            (Some(offsite), Some(id)) => {
                strip(&path, &[LEDGER]);
                offsite.inbox.tell(id, Wake::Removed(path));
            }
            _ => {
                if path.join(LEDGER).exists() {
                    warn!(path = %path.display(), "no [hls.s3]: what the bucket has of a removed recording stays there");
                }
                remove(&path);
            }
        }
    }
}

/// Removes a folder and all that is in it.
pub(crate) fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        warn!(path = %folder.display(), %error, "cannot remove a recording");
    }
}

/// Removes what is in a folder, but for a few files.
fn strip(folder: &Path, keep: &[&str]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok).filter(|it| !keep.iter().any(|name| it.file_name() == *name))
    {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            warn!(path = %path.display(), %error, "cannot remove a file of a recording");
        }
    }
}
