//! The thread that makes recordings complete when their Streams are over, and removes what is to go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::StreamId;
use tokio::time::Instant;
use tracing::{info, warn};

use super::library::Recordings;
use super::manifest::{Recording, RecordingState};
use super::plan::Plan;
use super::repair::repair;
use crate::vod;

/// How often the retention rules are looked at though nothing ended, and what the disk did not let finish is tried again.
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);

/// Why a recording failed: for streamers, who can see to it.
const EMPTY: &str = "nothing that can be played was published: the encoder must send a keyframe and go on for a \
                     moment; 2 s between keyframes is a good setting";

/// How what is told of a disk that gives trouble begins.
const UNFINISHED: &str = "the disk does not let the recording be finished";

/// The same for the operator: the files are there, the disk gives trouble.
fn unfinished(error: &io::Error) -> String {
    format!(
        "{UNFINISHED} ({error}): make room or repair it; the files are kept in the folder of the recording, and it is \
         tried again every ten minutes"
    )
}

/// It failed only because an earlier version did not try again when the disk gave trouble.
pub(super) fn was_left_unfinished(it: &Recording) -> bool {
    it.state == RecordingState::Failed && it.error.as_ref().is_some_and(|why| why.starts_with(UNFINISHED))
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
    /// What the disk did not let finish, and when it is tried again.
    later: BTreeMap<StreamId, Instant>,
}

impl Queue {
    /// What is to be tried again by now is to be finished.
    fn wake(&mut self, now: Instant) {
        let due = self.later.extract_if(.., |_, at| *at <= now).map(|(id, _)| id);
        self.finish.extend(due);
    }
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

    /// The disk did not let it finish: it may later.
    fn finish_later(&self, id: StreamId) {
        self.lock().later.insert(id, Instant::now() + RETENTION_INTERVAL);
    }

    /// Ten minutes have passed.
    #[cfg(test)]
    pub(super) fn wake(&self) {
        self.lock().wake(Instant::now() + RETENTION_INTERVAL);
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
        queue.wake(Instant::now());
        while queue.finish.is_empty() && queue.remove.is_empty() {
            if self.is_stopping() {
                return None;
            }
            let waited = self.more.wait_timeout(queue, RETENTION_INTERVAL);
            let (next, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if waited.timed_out() {
                queue.wake(Instant::now());
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
        if self.get(id).is_none() {
            // It was removed while it waited.
            return;
        }
        let folder = self.path(id);
        let plan = match Plan::read(&folder) {
            Ok(plan) if plan.ended_unix_us.is_some() && plan.bad_lines == 0 => Ok(plan),
            Ok(_) => repair(&folder).inspect(|_| {
                self.counters().repaired.fetch_add(1, Ordering::Relaxed);
                self.change(id, |it| it.repaired = true);
            }),
            Err(error) => Err(error),
        };
        let plan = match plan {
            Ok(plan) if plan.playable().next().is_some() => plan,
            Ok(_) => return self.fail(id, EMPTY),
            // Somebody took it away.
            Err(error) if !folder.exists() => return self.fail(id, &unfinished(&error)),
            Err(error) => return self.put_off(id, &unfinished(&error)),
        };
        self.forget_vod(id);
        self.change(id, |it| {
            it.describe(&plan);
            it.state = RecordingState::Processing;
            it.error = None;
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

    /// Its files are there, and the disk does not let them be put in order: that is tried again. It is neither told as
    /// failed nor removed meanwhile.
    fn put_off(&self, id: StreamId, why: &str) {
        self.chores.finish_later(id);
        self.change(id, |it| {
            it.state = RecordingState::Processing;
            it.error = Some(why.to_owned());
        });
        warn!(recording = %id, why, "recording not finished yet");
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
