//! What of one recording is to be uploaded: what its journal tells and its ledger does not. Reads and writes files, so it
//! is used where that holds nobody up; no clock.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::StreamId;

use super::ledger::{Confirmed, Ledger};
use super::lists::{self, List, MASTER};
use super::object;
use crate::bucket::{Fault, Headers, Reason};
use crate::file_name::FileName;
use crate::recording::{Entry, Plan, Recording, RecordingState, Uploaded, read_on};
use crate::routes::FOREVER;
use crate::vod;

/// Objects of a recording that wait in memory: half an hour of one Rendition. At the limit the others are found again in
/// the journal when there is room; counted in `overflows_total`.
pub(super) const JOBS_MAX: usize = 1024;

/// How often the playlists of a live recording are put: two segments of 2 s. More often costs requests, and players that
/// follow a bucket are some segments behind anyway.
const LISTS_INTERVAL: Duration = Duration::from_secs(4);

/// Times that a file is read in vain before it is left out. The recording is not complete then, and stays on disk.
const READS_MAX: u32 = 3;

/// A recording on its way.
#[derive(Debug)]
pub(crate) struct Backlog {
    id: StreamId,
    folder: PathBuf,
    about: Recording,
    plan: Plan,
    /// How far the journal was read.
    offset: u64,
    ledger: Ledger,
    jobs: BTreeMap<String, Job>,
    next: u64,
    running: BTreeSet<String>,
    /// Some found no room, or changed while they were under way: all is looked at again.
    more: bool,
    overflows: u64,
    /// Files that cannot be read were left out.
    given_up: bool,
    /// What the playlists say has changed.
    stale: bool,
    /// When they may be put again.
    lists_at: Option<Instant>,
    sent: Uploaded,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    /// `None`: it is to be removed.
    bytes: Option<u64>,
    failures: u32,
    order: u64,
}

/// One thing to do with the bucket. Names are relative to the folder of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Put { name: String, file: PathBuf, bytes: u64, headers: Headers },
    Remove { name: String },
    Lists(Vec<List>),
}

impl Task {
    /// Objects and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        match self {
            Self::Put { bytes, .. } => (1, *bytes),
            Self::Remove { .. } => (1, 0),
            Self::Lists(lists) => (lists.len() as u64, lists.iter().map(|it| it.text.len() as u64).sum()),
        }
    }
}

impl Backlog {
    /// Looks what there is to do for the recording in `folder`.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn open(id: StreamId, folder: &Path, about: Recording) -> io::Result<Self> {
        let mut backlog = Self {
            id,
            folder: folder.to_owned(),
            about,
            plan: Plan::default(),
            offset: 0,
            ledger: Ledger::open(folder)?,
            jobs: BTreeMap::new(),
            next: 0,
            running: BTreeSet::new(),
            more: false,
            overflows: 0,
            given_up: false,
            stale: true,
            lists_at: None,
            sent: Uploaded::default(),
        };
        backlog.read()?;
        Ok(backlog)
    }

    /// The recording has changed: looks at all of it anew.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn changed(&mut self, about: Recording) -> io::Result<()> {
        self.about = about;
        self.read()
    }

    /// The journal has grown.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn grown(&mut self) -> io::Result<()> {
        for entry in read_on(&self.folder, &mut self.offset)? {
            match &entry {
                Entry::Init { rendition, generation, hex, .. } => {
                    let name = object(rendition, FileName::Init(*generation));
                    self.want(name, Some(hex.len() as u64 / 2));
                }
                Entry::Close { rendition, msn, bytes, .. } if *bytes > 0 => {
                    self.want(object(rendition, FileName::Segment(*msn)), Some(*bytes));
                }
                Entry::Removed { rendition, msn } => {
                    self.want(object(rendition, FileName::Segment(*msn)), None);
                }
                _ => {}
            }
            self.plan.take(entry);
        }
        self.stale = true;
        Ok(())
    }

    /// Reads journal and ledger from the beginning.
    fn read(&mut self) -> io::Result<()> {
        let mut offset = 0;
        // What cannot be read leaves what was known.
        let entries = read_on(&self.folder, &mut offset)?;
        (self.offset, self.plan) = (offset, Plan::default());
        for entry in entries {
            self.plan.take(entry);
        }
        (self.more, self.stale, self.given_up) = (false, true, false);
        self.jobs.retain(|name, _| self.running.contains(name));
        let wanted = self.wanted();
        let known: HashSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let of_lists = |name: &str| name.ends_with(".m3u8");
        let over: Vec<String> = self
            .ledger
            .objects()
            .filter(|(name, _)| !known.contains(name) && !of_lists(name))
            .map(|(name, _)| name.to_owned())
            .collect();
        self.sent = Uploaded { error: self.sent.error.take(), ..Uploaded::default() };
        for (name, bytes) in &wanted {
            if self.ledger.get(name).is_some_and(|it| it.bytes == *bytes) {
                self.sent.add(name, *bytes);
            }
        }
        wanted.into_iter().for_each(|(name, bytes)| self.want(name, Some(bytes)));
        over.into_iter().for_each(|name| self.want(name, None));
        Ok(())
    }

    /// Every object that there should be, without the playlists.
    fn wanted(&self) -> Vec<(String, u64)> {
        let mut wanted = Vec::new();
        for rendition in &self.plan.renditions {
            for (generation, init) in &rendition.inits {
                wanted.push((object(&rendition.name, FileName::Init(*generation)), init.bytes.len() as u64));
            }
            for segment in rendition.segments.iter().filter(|it| !it.is_hole()) {
                let Some(msn) = segment.msn else { continue };
                wanted.push((object(&rendition.name, FileName::Segment(msn)), segment.bytes()));
            }
        }
        if let (RecordingState::Ready, Some(bytes)) = (self.about.state, self.about.mp4_bytes) {
            wanted.push((vod::MP4.to_owned(), bytes));
        }
        wanted
    }

    fn want(&mut self, name: String, bytes: Option<u64>) {
        let there = self.ledger.get(&name).map(|it| it.bytes);
        if there == bytes && !self.running.contains(&name) {
            self.jobs.remove(&name);
        } else if self.running.contains(&name) {
            // What is under way is something else than what is wanted now.
            self.more |= self.jobs.get(&name).is_none_or(|job| job.bytes != bytes);
        } else if self.jobs.len() >= JOBS_MAX && !self.jobs.contains_key(&name) {
            self.more = true;
            self.overflows += 1;
        } else {
            self.next += 1;
            self.jobs.insert(name, Job { bytes, failures: 0, order: self.next });
        }
    }

    /// There is something to do now.
    pub(crate) fn has_work(&self, now: Instant) -> bool {
        self.waiting().next().is_some() || self.has_room_again() || self.lists_due(now)
    }

    /// When there will be something to do, if nothing happens meanwhile.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.lists_at.filter(|_| self.stale && self.is_live() && !self.running.contains(MASTER))
    }

    /// The next thing to do. It is under way until [`Self::done`] or [`Self::failed`].
    ///
    /// # Errors
    /// What reading the journal says.
    pub(crate) fn take(&mut self, now: Instant) -> io::Result<Option<Task>> {
        if self.has_room_again() {
            self.read()?;
        }
        if self.lists_due(now) {
            self.stale = false;
            self.lists_at = Some(now + LISTS_INTERVAL);
            let lists = lists::of(&self.plan, &self.ledger, !self.is_live());
            if !lists.is_empty() {
                self.running.insert(MASTER.to_owned());
                return Ok(Some(Task::Lists(lists)));
            }
        }
        let first = self.waiting().min_by_key(|(_, job)| (job.failures, job.order));
        let Some((name, job)) = first.map(|(name, job)| (name.clone(), *job)) else { return Ok(None) };
        self.running.insert(name.clone());
        Ok(Some(match job.bytes {
            Some(bytes) => {
                let (file, headers) = (self.folder.join(&name), self.headers(&name));
                Task::Put { name, file, bytes, headers }
            }
            None => Task::Remove { name },
        }))
    }

    /// The bucket has confirmed it; of what was put, its CRC-32.
    ///
    /// # Errors
    /// What writing the ledger says. What is not in the ledger after a restart is put again.
    pub(crate) fn done(&mut self, task: &Task, sum: u32) -> io::Result<()> {
        // Playlists find room in a bucket that is full.
        if !matches!(task, Task::Lists(_)) || self.jobs.is_empty() {
            self.sent.error = None;
        }
        match task {
            Task::Put { name, bytes, .. } => {
                self.finish(name);
                self.stale = true;
                self.sent.add(name, *bytes);
                self.ledger.confirm(name, Confirmed { bytes: *bytes, sum })
            }
            Task::Remove { name } => {
                self.finish(name);
                self.ledger.forget(name)
            }
            Task::Lists(lists) => {
                self.finish(MASTER);
                lists.iter().try_for_each(|list| self.ledger.confirm(&list.name, list.confirmed()))
            }
        }
    }

    /// It was not done, because of that.
    pub(crate) fn failed(&mut self, task: &Task, fault: &Fault) {
        self.sent.error = Some(fault.to_string());
        match task {
            Task::Put { name, .. } | Task::Remove { name } => {
                self.running.remove(name);
                let Some(job) = self.jobs.get_mut(name) else { return };
                // The others come first.
                job.failures += 1;
                if fault.reason == Reason::Disk && job.failures >= READS_MAX {
                    self.jobs.remove(name);
                    self.given_up = true;
                }
            }
            Task::Lists(_) => {
                self.running.remove(MASTER);
                self.stale = true;
            }
        }
    }

    /// Objects of this recording that are under way.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Its Stream is live.
    pub(crate) fn is_live(&self) -> bool {
        self.about.state == RecordingState::Live
    }

    /// What waits: objects and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.jobs.len() as u64, self.jobs.values().filter_map(|job| job.bytes).sum())
    }

    /// Objects that found no room in memory since this was asked.
    pub(crate) fn overflows(&mut self) -> u64 {
        std::mem::take(&mut self.overflows)
    }

    /// What is in the bucket.
    pub(crate) fn sent(&self) -> &Uploaded {
        &self.sent
    }

    /// Nothing of it is left to do, now or later.
    pub(crate) fn is_over(&self) -> bool {
        match self.about.state {
            RecordingState::Live | RecordingState::Processing => false,
            RecordingState::Ready => self.is_idle() && !self.stale,
            RecordingState::Failed => self.running.is_empty(),
        }
    }

    /// It will not become complete: it failed, or files of it cannot be read.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up || self.about.state == RecordingState::Failed
    }

    /// Looks again at what is left to do, though nothing happened.
    pub(crate) fn again(&mut self) {
        (self.more, self.stale) = (true, true);
    }

    /// Says what is in the bucket if that is all there is, by what stands on disk: then files there may go.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn verify(&mut self) -> io::Result<Option<Uploaded>> {
        if self.about.state != RecordingState::Ready {
            return Ok(None);
        }
        self.ledger.sync()?;
        let mut read = Self::open(self.id, &self.folder, self.about.clone())?;
        let lists = lists::of(&read.plan, &read.ledger, true);
        Ok((read.is_idle() && lists.is_empty()).then(|| {
            read.sent.complete = true;
            read.sent
        }))
    }

    fn waiting(&self) -> impl Iterator<Item = (&String, &Job)> {
        self.jobs.iter().filter(|(name, _)| !self.running.contains(*name))
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running.is_empty() && !self.more
    }

    fn has_room_again(&self) -> bool {
        self.more && self.jobs.is_empty() && self.running.is_empty()
    }

    /// Playlists of what is live are put now and then, those of what is over when everything in them is there.
    fn lists_due(&self, now: Instant) -> bool {
        if !self.stale || self.running.contains(MASTER) {
            return false;
        }
        match self.about.state {
            RecordingState::Live => self.lists_at.is_none_or(|at| at <= now),
            RecordingState::Processing | RecordingState::Ready => self.is_idle(),
            RecordingState::Failed => false,
        }
    }

    fn finish(&mut self, name: &str) {
        self.running.remove(name);
        self.jobs.remove(name);
    }

    fn headers(&self, name: &str) -> Headers {
        match name.split_once('/') {
            Some((rendition, _)) => {
                Headers { content_type: vod::content_type(rendition), cache: FOREVER, disposition: None }
            }
            None => Headers {
                content_type: "video/mp4",
                cache: vod::DOWNLOAD,
                disposition: Some(vod::disposition(&self.about.channel, self.id)),
            },
        }
    }
}
