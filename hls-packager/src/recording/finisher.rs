//! The thread that makes recordings complete when their Streams are over, and removes what is to go.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::StreamId;
use tracing::{info, warn};

use super::library::Recordings;
use super::manifest::RecordingState;
use super::plan::Plan;
use super::repair::repair;
use crate::vod;

/// How often the retention rules are looked at though nothing ended.
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);

/// Why a recording failed: for streamers, who can see to it.
const EMPTY: &str = "nothing that can be played was published: the encoder must send a keyframe and go on for a \
                     moment; 2 s between keyframes is a good setting";

/// The same for the operator: the files are there, the disk gives trouble.
fn unreadable(error: &io::Error) -> String {
    format!(
        "the disk does not let the recording be finished ({error}): make room or repair it; the files are kept in \
         the folder of the recording"
    )
}

/// What the thread has to do, and whether it is to stop.
#[derive(Debug, Default)]
pub(super) struct Chores {
    queue: Mutex<Queue>,
    more: Condvar,
    stopping: AtomicBool,
}

/// Each id and folder once: as many as there are recordings.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) finish: BTreeSet<StreamId>,
    pub(super) remove: Vec<PathBuf>,
}

impl Chores {
    /// A thread that begins with this.
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue: Mutex::new(queue), ..Self::default() }
    }

    /// The Stream of a recording is over.
    pub(super) fn finish(&self, id: StreamId) {
        self.lock().finish.insert(id);
        self.more.notify_one();
    }

    /// A folder that was renamed is to go.
    pub(super) fn remove(&self, path: PathBuf) {
        self.lock().remove.push(path);
        self.more.notify_one();
    }

    /// What is not begun stays for the next start.
    pub(super) fn stop(&self) {
        // Under the lock: between a look and the wait it would be missed.
        let _queue = self.lock();
        self.stopping.store(true, Ordering::Release);
        self.more.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits for something to do, at most until the retention rules are to be looked at. `None` at the end.
    fn next(&self) -> Option<(Option<StreamId>, Vec<PathBuf>)> {
        let mut queue = self.lock();
        while queue.finish.is_empty() && queue.remove.is_empty() {
            if self.is_stopping() {
                return None;
            }
            let waited = self.more.wait_timeout(queue, RETENTION_INTERVAL);
            let (next, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if waited.timed_out() {
                break;
            }
        }
        Some((queue.finish.pop_first(), std::mem::take(&mut queue.remove)))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recordings {
    /// Does what there is to do until [`Chores::stop`].
    pub(super) fn work(&self) {
        loop {
            self.retain();
            #[cfg(test)]
            self.progress.notify_waiters();
            let Some((finish, remove)) = self.chores.next() else { return };
            for path in remove {
                self.clear(path);
            }
            if let Some(id) = finish {
                self.finish(id);
            }
            if self.chores.is_stopping() {
                return;
            }
        }
    }

    /// The recorder of a Stream has ended.
    pub(super) fn ended(&self, id: StreamId) {
        // It plays at once: the journal is complete.
        match Plan::read(&self.path(id)) {
            Ok(plan) if plan.playable().next().is_some() => {
                self.change(id, |it| {
                    it.describe(&plan);
                    it.state = RecordingState::Processing;
                });
            }
            Ok(_) | Err(_) => {}
        }
        self.chores.finish(id);
    }

    /// Makes a recording complete: repairs it if its recorder did not end, then makes the MP4 file.
    fn finish(&self, id: StreamId) {
        let folder = self.path(id);
        let plan = match Plan::read(&folder) {
            Ok(plan) if plan.ended_unix_us.is_some() && plan.bad_lines == 0 => Ok(plan),
            Ok(_) => {
                self.counters().repaired.fetch_add(1, Ordering::Relaxed);
                let repaired = repair(&folder);
                self.change(id, |it| it.repaired = true);
                repaired
            }
            Err(error) => Err(error),
        };
        let plan = match plan {
            Ok(plan) if plan.playable().next().is_some() => plan,
            Ok(_) => return self.fail(id, EMPTY),
            Err(error) => return self.fail(id, &unreadable(&error)),
        };
        self.forget_vod(id);
        self.change(id, |it| {
            it.describe(&plan);
            it.state = RecordingState::Processing;
        });
        let made = self.rules().mp4.then(|| vod::mp4(&folder, &plan, &self.chores.stopping));
        if self.chores.is_stopping() && matches!(made, Some(Err(_))) {
            return;
        }
        self.change(id, |it| {
            it.state = RecordingState::Ready;
            it.untold = true;
            match made {
                Some(Ok(bytes)) => {
                    it.mp4_bytes = Some(bytes);
                    it.bytes += bytes;
                }
                // It plays by HLS all the same.
                Some(Err(error)) => it.error = Some(format!("no MP4 file: {error}")),
                None => {}
            }
        });
        self.counters().finished.fetch_add(1, Ordering::Relaxed);
        if let Some(it) = self.get(id) {
            let (channel, recording) = (&it.channel, &it.id);
            match &it.error {
                None => {
                    info!(%channel, %recording, duration_ms = it.duration_ms, bytes = it.bytes, "recording ready")
                }
                Some(error) => warn!(%channel, %recording, %error, "recording ready by HLS only"),
            }
        }
    }

    /// Nothing of a recording can be played, and that is why.
    pub(super) fn fail(&self, id: StreamId, why: &str) {
        self.counters().failed.fetch_add(1, Ordering::Relaxed);
        self.change(id, |it| {
            it.state = RecordingState::Failed;
            it.untold = true;
            it.error = Some(why.to_owned());
        });
        warn!(recording = %id, why, "recording failed");
    }
}
