//! What is removed because it is old, or because there is too much.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::library::Recordings;
use super::manifest::{Recording, RecordingState, Storage};
use crate::bucket::KeepLocal;

impl Recordings {
    /// Removes what is too old, and the oldest of what is too much.
    pub(super) fn retain(&self) {
        let now = unix_millis();
        let age_max = self.rules().age_max().and_then(|it| u64::try_from(it.as_millis()).ok());
        let bytes_max = self.rules().bytes_max();
        let leaves =
            self.offsite.as_ref().is_some_and(|it| it.bucket.keep_local() == KeepLocal::UntilUploaded);
        let (mut gone, mut dropped, mut held) = (Vec::new(), Vec::new(), 0);
        {
            let table = self.lock();
            let on_disk = |it: &&Recording| it.storage == Storage::Disk;
            let mut bytes: u64 = table.values().filter(on_disk).map(|it| it.bytes).sum();
            for (id, it) in table.iter().filter(|(_, it)| it.state != RecordingState::Live) {
                let ended = it.ended_at.unwrap_or(it.started_at);
                let old = age_max.is_some_and(|age_max| now.saturating_sub(ended) > age_max);
                let much = bytes_max.is_some_and(|bytes_max| bytes > bytes_max) && on_disk(&it);
                let complete = it.uploaded.as_ref().is_some_and(|it| it.complete);
                if leaves && complete && !old && on_disk(&it) {
                    // The disk did not let it go when it was uploaded.
                    dropped.push(*id);
                    bytes = bytes.saturating_sub(it.bytes);
                    continue;
                }
                if it.state == RecordingState::Processing || !old && !much {
                    continue;
                }
                let goes = match (&self.offsite, &it.uploaded) {
                    // There is nothing to put into the bucket.
                    _ if it.state == RecordingState::Failed => true,
                    (None, _) => true,
                    (Some(_), Some(uploaded)) if uploaded.complete => old,
                    (Some(_), _) => {
                        held += 1;
                        continue;
                    }
                };
                match (goes, it.untold) {
                    // Whoever hears of its end should find it; a database that is away for long shows in `untold`.
                    (true, true) => continue,
                    (true, false) => gone.push(*id),
                    (false, _) => dropped.push(*id),
                }
                bytes = bytes.saturating_sub(if on_disk(&it) { it.bytes } else { 0 });
            }
        }
        for id in gone {
            let _ = self.remove(id);
        }
        for id in dropped {
            self.drop_local(id);
        }
        if let Some(offsite) = &self.offsite {
            offsite.counters.held.store(held, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of a recording is by the wall clock")]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
