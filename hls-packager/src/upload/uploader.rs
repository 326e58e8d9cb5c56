//! The task that puts recordings into the bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use media::StreamId;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backlog::{Backlog, Task};
use super::complaints::Complaints;
use super::inbox::Wake;
use super::pace::Pace;
use crate::bucket::{Bucket, Fault, KeepLocal, Reason};
use crate::recording::{self, Offsite, RecordingState, Recordings, Storage};

/// Recordings that are over and worked on at a time; those that are live come on top. The others wait by their id.
const OVER_MAX: usize = 8;

/// How long a recording is left alone whose journal or ledger the disk does not give out or take. The others go on: the
/// bucket is not to blame.
const PARKED: Duration = Duration::from_secs(60);

/// Uploads what the recordings tell of, until `stop`.
pub(crate) async fn run(recordings: &Arc<Recordings>, stop: CancellationToken) {
    let Some(offsite) = recordings.offsite() else { return };
    let mut uploader = Uploader {
        recordings,
        offsite,
        backlogs: BTreeMap::new(),
        waiting: BTreeSet::new(),
        parked: BTreeMap::new(),
        removals: BTreeMap::new(),
        removing: None,
        pace: Pace::default(),
        tasks: JoinSet::new(),
        complaints: Complaints::default(),
    };
    // Before there is anything to put, so that who starts the server sees it.
    tokio::select! {
        () = stop.cancelled() => return,
        found = offsite.bucket.look_for_credentials() => {
            if let Err(fault) = found {
                uploader.tell(&fault);
            }
        }
    }
    loop {
        uploader.hear().await;
        uploader.look_again().await;
        uploader.start().await;
        uploader.count();
        let wakes = uploader.wakes();
        let sleep = async {
            match wakes {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = offsite.inbox.changed() => {}
            Some(ended) = uploader.tasks.join_next() => match ended {
                Ok(done) => uploader.ended(done).await,
                // It cannot be known whose it was: all of them are looked at again.
                Err(_) => uploader.forget(),
            },
            () = sleep => {}
        }
    }
}

struct Uploader<'a> {
    recordings: &'a Arc<Recordings>,
    offsite: &'a Offsite,
    backlogs: BTreeMap<StreamId, Backlog>,
    /// Recordings that are over and not looked at yet.
    waiting: BTreeSet<StreamId>,
    /// Recordings that are left alone until then, see [`PARKED`].
    parked: BTreeMap<StreamId, Instant>,
    /// Recordings that were removed, and where what is left of them lies.
    removals: BTreeMap<StreamId, PathBuf>,
    removing: Option<StreamId>,
    pace: Pace,
    tasks: JoinSet<Done>,
    complaints: Complaints,
}

/// A task that ended, and of what was put the CRC-32 or of what was removed the number.
struct Done {
    id: StreamId,
    what: What,
    result: Result<u64, Fault>,
}

enum What {
    Task(Task),
    /// Everything of a recording was removed.
    All,
}

impl Uploader<'_> {
    /// Takes the news.
    async fn hear(&mut self) {
        for (id, wake) in self.offsite.inbox.take() {
            match wake {
                Wake::Grown if self.backlogs.contains_key(&id) => {
                    self.with(id, Backlog::grown).await;
                }
                Wake::Grown if self.parked.contains_key(&id) => {}
                Wake::Grown | Wake::Changed => self.look(id).await,
                Wake::Removed(path) => {
                    self.waiting.remove(&id);
                    self.parked.remove(&id);
                    self.removals.insert(id, path);
                }
            }
        }
    }

    /// Looks again at what was left alone for long enough.
    async fn look_again(&mut self) {
        let now = Instant::now();
        let due: Vec<StreamId> =
            self.parked.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.look(id).await;
        }
    }

    /// Looks at a recording that is new or has changed.
    async fn look(&mut self, id: StreamId) {
        self.parked.remove(&id);
        let Some(about) = self.recordings.get(id) else { return };
        if about.uploaded.as_ref().is_some_and(|it| it.complete) && about.state == RecordingState::Ready {
            self.backlogs.remove(&id);
            self.waiting.remove(&id);
            let local = about.storage == Storage::Disk;
            if !local || self.offsite.bucket.keep_local() == KeepLocal::UntilUploaded {
                let recordings = Arc::clone(self.recordings);
                let _ = spawn_blocking(move || recordings.drop_local(id)).await;
            }
        } else if self.backlogs.contains_key(&id) {
            if !self.with(id, move |backlog| backlog.changed(about)).await {
                self.parked.insert(id, Instant::now() + PARKED);
            }
        } else if about.state == RecordingState::Live {
            self.open(id).await;
        } else if about.state != RecordingState::Failed {
            self.waiting.insert(id);
        }
    }

    async fn open(&mut self, id: StreamId) {
        let Some(about) = self.recordings.get(id) else { return };
        let folder = self.recordings.path(id);
        match spawn_blocking(move || Backlog::open(id, &folder, about)).await {
            Ok(Ok(backlog)) => {
                self.recordings.note_uploaded(id, backlog.sent());
                self.backlogs.insert(id, backlog);
            }
            Ok(Err(error)) => {
                self.park(id, &error.into());
            }
            Err(_) => {}
        }
    }

    /// Leaves a recording alone for a while: the disk, and not the bucket, is in its way.
    fn park(&mut self, id: StreamId, fault: &Fault) {
        self.tell(fault);
        self.parked.insert(id, Instant::now() + PARKED);
    }

    /// Starts what may run now.
    async fn start(&mut self) {
        loop {
            let now = Instant::now().into_std();
            if self.tasks.len() >= self.pace.allowed(now) {
                return;
            }
            let over = self.backlogs.values().filter(|it| !it.is_live()).count();
            if over < OVER_MAX
                && let Some(id) = self.waiting.pop_first()
            {
                self.open(id).await;
                continue;
            }
            if self.removing.is_none()
                && let Some(id) = self.removals.keys().find(|id| self.running(**id) == 0).copied()
            {
                self.backlogs.remove(&id);
                self.removing = Some(id);
                let bucket = self.offsite.bucket.clone();
                self.tasks.spawn(async move {
                    Done { id, what: What::All, result: bucket.remove_all(&id.to_string()).await }
                });
                continue;
            }
            // Whoever has least under way is next, and what is live before what is over.
            let may = |id: &StreamId| !self.removals.contains_key(id) && !self.parked.contains_key(id);
            let ready = self.backlogs.iter().filter(|(id, it)| may(id) && it.has_work(now));
            let Some(id) = ready.min_by_key(|(_, it)| (it.running(), !it.is_live())).map(|(id, _)| *id)
            else {
                if self.end().await {
                    continue;
                }
                return;
            };
            let Some(mut backlog) = self.backlogs.remove(&id) else { return };
            let taken = spawn_blocking(move || {
                let task = backlog.take(now);
                (backlog, task)
            });
            let Ok((mut backlog, task)) = taken.await else { continue };
            self.offsite.counters.overflows.fetch_add(backlog.overflows(), Ordering::Relaxed);
            self.backlogs.insert(id, backlog);
            match task {
                Ok(Some(task)) => {
                    let bucket = self.offsite.bucket.clone();
                    self.tasks.spawn(async move {
                        let result = carry_out(&bucket, id, &task).await;
                        Done { id, what: What::Task(task), result }
                    });
                }
                Ok(None) => {}
                Err(error) => self.park(id, &error.into()),
            }
        }
    }

    /// Takes leave of what is uploaded as a whole. True if something was found that is not.
    async fn end(&mut self) -> bool {
        let mut found = false;
        let over = self.backlogs.iter().filter(|(id, it)| it.is_over() && !self.parked.contains_key(id));
        let over: Vec<StreamId> = over.map(|(id, _)| *id).collect();
        for id in over {
            let Some(mut backlog) = self.backlogs.remove(&id) else { continue };
            let recordings = Arc::clone(self.recordings);
            let verified = spawn_blocking(move || {
                let verified = backlog.verify();
                if let Ok(Some(uploaded)) = &verified {
                    recordings.uploaded(id, uploaded.clone());
                }
                (backlog, verified)
            });
            let Ok((mut backlog, verified)) = verified.await else { continue };
            match verified {
                Ok(Some(_)) => continue,
                Ok(None) if backlog.is_given_up() => {
                    if let Some(error) = &backlog.sent().error {
                        warn!(recording = %id, %error, "recording is not uploaded as a whole; it stays on disk");
                    }
                    continue;
                }
                Ok(None) => found = true,
                Err(error) => self.park(id, &error.into()),
            }
            backlog.again();
            self.backlogs.insert(id, backlog);
        }
        found
    }

    /// A task has ended.
    async fn ended(&mut self, done: Done) {
        let Done { id, what, result } = done;
        let counters = &self.offsite.counters;
        match &result {
            Ok(_) => self.succeeded(&what),
            // The bucket is not to blame: the others need not wait.
            Err(fault) if fault.reason == Reason::Disk => self.tell(fault),
            Err(fault) => self.failed(fault),
        }
        match (what, result) {
            (What::All, result) => {
                self.removing = None;
                let Ok(removed) = result else { return };
                counters.removed.fetch_add(removed, Ordering::Relaxed);
                if let Some(path) = self.removals.remove(&id) {
                    let _ = spawn_blocking(move || recording::remove(&path)).await;
                }
            }
            (What::Task(task), Ok(sum)) => {
                let (objects, bytes) = task.size();
                let counter =
                    if matches!(task, Task::Remove { .. }) { &counters.removed } else { &counters.uploads };
                counter.fetch_add(objects, Ordering::Relaxed);
                counters.upload_bytes.fetch_add(bytes, Ordering::Relaxed);
                let sum = u32::try_from(sum).unwrap_or_default();
                self.with(id, move |backlog| backlog.done(&task, sum)).await;
            }
            (What::Task(task), Err(fault)) => {
                if let Some(backlog) = self.backlogs.get_mut(&id) {
                    backlog.failed(&task, &fault);
                }
            }
        }
        if let Some(backlog) = self.backlogs.get(&id) {
            self.recordings.note_uploaded(id, backlog.sent());
        }
    }

    /// Does something that reads or writes files, where it holds nobody up. False if the disk was against it.
    async fn with(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Backlog) -> std::io::Result<()> + Send + 'static,
    ) -> bool {
        let Some(mut backlog) = self.backlogs.remove(&id) else { return true };
        let changed = spawn_blocking(move || {
            let result = change(&mut backlog);
            (backlog, result)
        });
        let Ok((backlog, result)) = changed.await else { return true };
        self.backlogs.insert(id, backlog);
        match result {
            // The folder of a recording that was removed in this moment is no fault.
            Err(error) if self.recordings.get(id).is_some() => {
                self.tell(&error.into());
                false
            }
            _ => true,
        }
    }

    fn running(&self, id: StreamId) -> usize {
        self.backlogs.get(&id).map_or(0, Backlog::running)
    }

    /// A task ended by a panic: nobody knows what it was about.
    fn forget(&mut self) {
        self.tasks.abort_all();
        self.tasks = JoinSet::new();
        self.removing = None;
        for id in std::mem::take(&mut self.backlogs).into_keys() {
            self.offsite.inbox.tell(id, Wake::Changed);
        }
    }

    fn failed(&mut self, fault: &Fault) {
        self.tell(fault);
        self.pace.failed(Instant::now().into_std(), fault.reason == Reason::Full, rand::random());
    }

    fn tell(&mut self, fault: &Fault) {
        self.offsite.counters.failed(fault.reason);
        if self.complaints.is_news(fault.reason, Instant::now().into_std()) {
            warn!(%fault, "cannot upload recordings; they stay on disk, and it is tried again");
        }
    }

    fn succeeded(&mut self, what: &What) {
        let failing = self.pace.is_failing();
        let well = self.pace.succeeded(matches!(what, What::Task(Task::Put { .. })));
        if failing && well && self.complaints.are_over() {
            info!("recordings are uploaded again");
        }
    }

    /// When something may begin though nothing is heard until then.
    fn wakes(&self) -> Option<Instant> {
        let now = Instant::now().into_std();
        let paused = self.pace.wakes(now);
        // What is due already waits for a task to end.
        let lists = self.backlogs.values().filter_map(Backlog::wakes).filter(|at| *at > now).min();
        let next = paused.or(lists).map(Instant::from_std);
        next.into_iter().chain(self.parked.values().copied()).min()
    }

    fn count(&mut self) {
        let counters = &self.offsite.counters;
        let sizes = self.backlogs.values().map(Backlog::size);
        let (objects, bytes) = sizes.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let parked = self.parked.keys().filter(|id| !self.backlogs.contains_key(id)).count();
        let recordings = self.backlogs.len() + self.waiting.len() + self.removals.len() + parked;
        if self.pace.is_full() && objects == 0 && self.waiting.is_empty() && self.tasks.is_empty() {
            // What found no room was removed, and nothing else waits: nobody would look again.
            self.pace = Pace::default();
            self.complaints.are_over();
        }
        for (gauge, value) in [
            (&counters.backlog_objects, objects),
            (&counters.backlog_bytes, bytes),
            (&counters.backlog_recordings, recordings as u64),
            (&counters.failing, u64::from(self.pace.is_failing())),
        ] {
            gauge.store(value, Ordering::Relaxed);
        }
        #[cfg(test)]
        {
            self.offsite.counters.rounds.fetch_add(1, Ordering::AcqRel);
            self.recordings.progress.notify_waiters();
        }
    }
}

async fn carry_out(bucket: &Bucket, id: StreamId, task: &Task) -> Result<u64, Fault> {
    match task {
        Task::Put { name, file, bytes, headers } => {
            bucket.put_file(&format!("{id}/{name}"), file, *bytes, headers).await.map(u64::from)
        }
        Task::Remove { name } => bucket.remove(&format!("{id}/{name}")).await.map(|()| 0),
        Task::Lists(lists) => {
            for list in lists {
                bucket.put(&format!("{id}/{}", list.name), list.text.clone(), &list.headers).await?;
            }
            Ok(0)
        }
    }
}
