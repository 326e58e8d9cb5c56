//! Makes what a recorder wrote survive a power cut, in a thread of its own.
//!
//! A busy disk takes seconds for it. A recorder that waited for it would have the frames of those seconds in memory, where
//! a kill loses them; written but not yet synced, only a power cut does.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tracing::warn;

use super::counters::Counters;
use crate::storage::disk;

/// Files that wait to be synced: half a minute of two Renditions and the journal. At the limit the recorder waits, and its
/// own queue takes what comes meanwhile (counted there if that is full too).
const WAITING_MAX: usize = 64;

/// Syncs files one after the other, in the order in which they are told.
#[derive(Debug)]
pub(crate) struct Syncer(Option<Running>);

#[derive(Debug)]
struct Running {
    files: SyncSender<File>,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// With a thread called `name`; if there can be none, whoever asks for a sync waits for it.
    pub(crate) fn start(name: String, counters: Arc<Counters>) -> Self {
        let (files, waiting) = sync_channel::<File>(WAITING_MAX);
        let work = move || {
            let mut faulty = false;
            for file in waiting {
                let Err(error) = disk::sync(&file) else {
                    faulty = false;
                    continue;
                };
                counters.write_errors.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut faulty, true) {
                    warn!(%error, "the disk cannot make a recording safe from a power cut");
                }
            }
        };
        Self(thread::Builder::new().name(name).spawn(work).ok().map(|thread| Running { files, thread }))
    }

    /// Without a thread: whoever asks for a sync waits for it.
    #[cfg(test)]
    pub(crate) fn inline() -> Self {
        Self(None)
    }

    /// Sees to it that a power cut loses nothing of `file`, soon.
    ///
    /// # Errors
    /// What the disk says. What it says later is counted and logged.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        match &self.0 {
            Some(running) => running.files.send(file.try_clone()?).map_err(io::Error::other),
            None => disk::sync(file),
        }
    }

    /// Waits until everything is synced. From now on whoever asks for a sync waits for it.
    pub(crate) fn settle(&mut self) {
        if let Some(Running { files, thread }) = self.0.take() {
            drop(files);
            let _ = thread.join();
        }
    }
}
