//! The recordings of this node: the table, and what may be asked of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use media::{MediaTime, Stream, StreamId, Timescale};
use tokio::sync::broadcast;
use tracing::{info, warn};

use super::config::{Reach, RecordingConfig};
use super::counters::{Counters, RecordingStats};
use super::finisher::{Chores, Queue as Waiting, was_left_unfinished};
use super::manifest::{Recording, RecordingState, Storage};
use super::offsite::Offsite;
use super::plan::Plan;
use super::recorder::{self, Options};
use super::syncer::Syncer;
use super::tap::{Queue, Tap};
use crate::bucket::Bucket;
use crate::upload::Wake;
use crate::vod::Vod;

/// Changes kept for a listener that is late; it then asks for the list.
const EVENTS_MAX: usize = 256;

/// Playlists of recordings that were asked for lately; one takes about 100 bytes per segment. At the limit all are
/// forgotten and read from disk again.
const VODS_MAX: usize = 64;

/// A folder that is about to go has this prefix.
const REMOVED: &str = ".removed-";

/// Held while a server uses the folder.
const LOCK: &str = ".lock";

/// Why a recording was not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is none of that id.
    #[error("there is no such recording")]
    Missing,
    /// Its Stream is live.
    #[error("the stream is live: its recording can be removed when it is over")]
    Live,
}

/// The recordings of this node.
#[derive(Debug)]
pub struct Recordings {
    config: RecordingConfig,
    folder: PathBuf,
    counters: Arc<Counters>,
    /// The bucket, if there is one.
    pub(super) offsite: Option<Offsite>,
    table: Mutex<BTreeMap<StreamId, Recording>>,
    vods: Mutex<HashMap<StreamId, Arc<Vod>>>,
    events: broadcast::Sender<Recording>,
    /// Held while a manifest is written, so that the newest is what stays.
    writing: Mutex<()>,
    pub(super) chores: Chores,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Told whenever a thread or the uploader has done something.
    #[cfg(test)]
    pub(crate) progress: tokio::sync::Notify,
    _lock: File,
}

impl Recordings {
    /// Opens the folder, and lets a thread repair and finish what an earlier process left. What goes into the bucket, if
    /// there is one, is put there by [`Self::upload`].
    ///
    /// # Errors
    /// What the disk says, or that another server uses the folder.
    pub fn open(config: RecordingConfig, folder: &Path, bucket: Option<Bucket>) -> io::Result<Arc<Self>> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(|_| io::Error::other("another server records there"))?;
        let (mut table, mut waiting) = (BTreeMap::new(), Waiting::default());
        let offsite = bucket.map(Offsite::new);
        for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(REMOVED) {
                waiting.remove.push(entry.path());
            }
            let Some(id) = StreamId::parse(name).filter(|_| entry.path().is_dir()) else { continue };
            let mut found = Recording::read(&entry.path()).unwrap_or_else(|| {
                // Without its manifest: what can be known stands in the files.
                Recording::new(name.to_owned(), String::new(), id.raw() >> 16)
            });
            if was_left_unfinished(&found) {
                // Before the retention rules are looked at: by them, of what failed nothing is worth keeping.
                found.state = RecordingState::Processing;
            }
            if matches!(found.state, RecordingState::Live | RecordingState::Processing) {
                waiting.finish.insert(id);
            } else if let Some(offsite) = &offsite {
                offsite.inbox.tell(id, Wake::Changed);
            }
            table.insert(id, found);
        }
        let library = Arc::new(Self {
            config,
            folder: folder.to_owned(),
            counters: Arc::default(),
            offsite,
            table: Mutex::new(table),
            vods: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            writing: Mutex::default(),
            chores: Chores::new(waiting),
            threads: Mutex::default(),
            #[cfg(test)]
            progress: tokio::sync::Notify::new(),
            _lock: lock,
        });
        let worker = Arc::clone(&library);
        library.spawn("recordings".to_owned(), move || worker.work())?;
        Ok(library)
    }

    /// Records a Stream until its Tap ends; its live viewers may go back by `reach`, or by what the settings say. Without a thread or a folder for it, or for a Channel that is excepted,
    /// nothing is recorded.
    pub(crate) fn begin(self: &Arc<Self>, stream: &Stream, reach: Option<Reach>) -> Tap {
        if self.config.except.iter().any(|name| name == stream.channel().as_str()) {
            return Tap::default();
        }
        let zero = MediaTime::zero(Timescale::MICROS);
        let unix_us = stream.clock().ntp(zero).as_unix_micros();
        let id = stream.id();
        let (tap, queue) = Tap::open(
            Arc::clone(&self.counters.overflows),
            self.config.horizon(reach.unwrap_or_else(|| self.config.reach())),
        );
        let options = Options {
            folder: self.path(id),
            channel: stream.channel().to_string(),
            stream: id.to_string(),
            unix_us,
            sync: self.config.sync,
            bytes_max: self.config.stream_mib.saturating_mul(1 << 20),
            counters: Arc::clone(&self.counters),
            news: self.offsite.as_ref().map(|offsite| offsite.news(id)),
        };
        let recording = Recording::new(id.to_string(), stream.channel().to_string(), unix_us / 1000);
        self.lock().insert(id, recording.clone());
        let _ = self.events.send(recording.clone());
        let library = Arc::clone(self);
        // Nothing is written here: whoever begins a Stream waits for no disk.
        let started =
            self.spawn(format!("record-{id}"), move || library.record(id, &recording, options, &queue));
        if let Err(error) = started {
            self.give_up(id, &error);
            return Tap::default();
        }
        tap
    }

    fn record(&self, id: StreamId, recording: &Recording, options: Options, queue: &Queue) {
        let made = fs::create_dir_all(&options.folder).and_then(|()| recording.write_soon(&options.folder));
        if let Err(error) = made {
            return self.give_up(id, &error);
        }
        let syncer = Syncer::start(format!("sync-{id}"), Arc::clone(&self.counters));
        recorder::run(options, syncer, queue);
        self.ended(id);
    }

    fn give_up(&self, id: StreamId, error: &io::Error) {
        self.counters.write_errors.fetch_add(1, Ordering::Relaxed);
        warn!(stream = %id, %error, "cannot record; live goes on without it");
        let why = format!(
            "nothing could be recorded ({error}): see to it that the server may write to the folder of recordings and \
             that there is room; the next stream is recorded again"
        );
        self.fail(id, &why);
    }

    /// All recordings, newest first, older than `before`, of one Channel or of all.
    pub fn list(&self, channel: Option<&str>, before: Option<StreamId>, limit: usize) -> Vec<Recording> {
        let table = self.lock();
        let older = table.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
        let found = older.map(|(_, recording)| recording);
        found.filter(|it| channel.is_none_or(|channel| it.channel == channel)).take(limit).cloned().collect()
    }

    /// One recording.
    pub fn get(&self, id: StreamId) -> Option<Recording> {
        self.lock().get(&id).cloned()
    }

    /// Follows the changes of all recordings: each is sent as it is after the change.
    pub fn subscribe(&self) -> broadcast::Receiver<Recording> {
        self.events.subscribe()
    }

    /// Removes a recording. Its files go a little later.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(&self, id: StreamId) -> Result<(), RemoveError> {
        let gone = {
            let mut table = self.lock();
            let found = table.get(&id).ok_or(RemoveError::Missing)?;
            if found.state == RecordingState::Live {
                return Err(RemoveError::Live);
            }
            table.remove(&id)
        };
        self.forget_vod(id);
        self.counters.removed.fetch_add(1, Ordering::Relaxed);
        if let Some(gone) = gone {
            info!(channel = %gone.channel, recording = %id, "recording removed");
        }
        // By its new name it is gone for a restart too.
        let path = self.folder.join(format!("{REMOVED}{id}"));
        if fs::rename(self.path(id), &path).is_ok() {
            self.chores.remove(path);
        }
        Ok(())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> RecordingStats {
        let table = self.lock();
        let on_disk = |it: &&Recording| it.storage == Storage::Disk;
        let live = table.values().filter(|it| it.state == RecordingState::Live).count();
        RecordingStats {
            recordings: table.len() as u64,
            live: live as u64,
            bytes: table.values().filter(on_disk).map(|it| it.bytes).sum(),
            untold: table.values().filter(|it| it.untold).count() as u64,
            ..self.counters.snapshot()
        }
    }

    /// Waits until every recorder that was told to end has ended, and stops. What is not finished is finished after
    /// the next start.
    pub fn close(&self) {
        self.chores.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// The folder of a recording.
    pub(crate) fn path(&self, id: StreamId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The playlists of a recording that ended.
    pub(crate) fn vod(&self, id: StreamId) -> Option<Arc<Vod>> {
        let state = self.lock().get(&id)?.state;
        if !matches!(state, RecordingState::Processing | RecordingState::Ready) {
            return None;
        }
        let mut vods = self.vods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = vods.get(&id) {
            return Some(Arc::clone(found));
        }
        let made = Arc::new(Vod::new(&Plan::read(&self.path(id)).ok()?));
        if vods.len() >= VODS_MAX {
            vods.clear();
        }
        vods.insert(id, Arc::clone(&made));
        Some(made)
    }

    /// Its playlists are read again when somebody asks.
    pub(super) fn forget_vod(&self, id: StreamId) {
        self.vods.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// What is kept, and what is made of it.
    pub(super) fn rules(&self) -> &RecordingConfig {
        &self.config
    }

    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Changes what is known of a recording, in memory and on disk, and tells of it.
    pub(super) fn change(&self, id: StreamId, change: impl FnOnce(&mut Recording)) {
        let Some(changed) = self.note(id, change) else { return };
        self.tell(changed);
        if let Some(offsite) = &self.offsite {
            offsite.inbox.tell(id, Wake::Changed);
        }
    }

    /// Tells whoever follows the changes.
    pub(super) fn tell(&self, changed: Recording) {
        let _ = self.events.send(changed);
    }

    /// Changes it without telling of it. Waits for the disk.
    pub(super) fn note(&self, id: StreamId, change: impl FnOnce(&mut Recording)) -> Option<Recording> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = {
            let mut table = self.lock();
            let found = table.get_mut(&id)?;
            change(found);
            found.clone()
        };
        if let Err(error) = changed.write(&self.path(id))
            && !(error.kind() == io::ErrorKind::NotFound && self.has_no_folder(id))
        {
            self.counters.write_errors.fetch_add(1, Ordering::Relaxed);
            warn!(recording = %id, %error, "cannot write the manifest of a recording");
        }
        #[cfg(test)]
        self.progress.notify_waiters();
        Some(changed)
    }

    /// It was removed meanwhile, or could not be begun: that was told when it happened. Any other folder that is not there
    /// was taken away behind our back.
    fn has_no_folder(&self, id: StreamId) -> bool {
        self.lock().get(&id).is_none_or(|it| it.state == RecordingState::Failed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Recording>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose folder that was, by its name.
pub(super) fn removed_id(name: &str) -> Option<StreamId> {
    StreamId::parse(name.strip_prefix(REMOVED)?)
}
