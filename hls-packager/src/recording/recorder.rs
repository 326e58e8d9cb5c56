//! Writes one Stream to disk, in a thread of its own: each part is appended to its segment's file as soon as it is
//! cut, so the recording is the live stream.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use media::MediaTime;
use tracing::warn;

use super::counters::Counters;
use super::journal::{self, Entry, Journal};
use super::syncer::Syncer;
use super::tap::{About, Init, Message, Queue};
use super::wal::Wal;
use crate::file_name::FileName;
use crate::storage::disk::{Appender, replace_soon};
use crate::upload::News;

/// How a Stream is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) folder: PathBuf,
    pub(crate) channel: String,
    pub(crate) stream: String,
    pub(crate) unix_us: u64,
    /// Whether each segment is made safe from a power cut when it ends, as soon as the disk can.
    pub(crate) sync: bool,
    /// The oldest segments are removed when all are larger.
    pub(crate) bytes_max: u64,
    pub(crate) counters: Arc<Counters>,
    /// Who wants to hear of segments that are whole.
    pub(crate) news: Option<News>,
}

/// Writes what it is told; see [`run`].
pub(crate) struct Recorder {
    options: Options,
    journal: Journal,
    wal: Wal,
    syncer: Syncer,
    lines: BTreeMap<Arc<str>, Line>,
    /// TARGETDURATION stands in the journal.
    targeted: bool,
    /// A fault was logged, and no segment became whole since.
    faulty: bool,
}

/// A Rendition that is written.
struct Line {
    about: Arc<About>,
    inits: BTreeSet<u64>,
    open: Option<OpenSegment>,
    /// Number and bytes of the segments on disk, oldest first.
    kept: VecDeque<(u64, u64)>,
    next_msn: Option<u64>,
    /// Where on the Stream's clock what was written ends, in microseconds.
    end_us: i64,
    /// The last segment ends early.
    damaged: bool,
}

struct OpenSegment {
    msn: u64,
    at_us: i64,
    path: PathBuf,
    file: Option<Appender>,
    parts: u32,
    frames: u32,
    duration: Duration,
    /// A part is missing: what comes after it is left out.
    broken: bool,
}

/// Records until the Stream is over.
pub(crate) fn run(options: Options, syncer: Syncer, queue: &Queue) {
    let mut recorder = Recorder::new(options, syncer);
    while let Some(message) = queue.next() {
        recorder.take(message);
    }
    recorder.finish();
}

impl Recorder {
    pub(crate) fn new(options: Options, syncer: Syncer) -> Self {
        let mut recorder = Self {
            syncer,
            journal: Journal::new(&options.folder),
            wal: Wal::new(&options.folder),
            lines: BTreeMap::new(),
            targeted: false,
            faulty: false,
            options,
        };
        recorder.note(|it| {
            let (stream, channel) = (it.options.stream.clone(), it.options.channel.clone());
            it.journal.write(&Entry::Begin { stream, channel, unix_us: it.options.unix_us })
        });
        recorder
    }

    pub(crate) fn take(&mut self, message: Message) {
        match message {
            Message::Frame { rendition, frame } => {
                self.note(|it| it.wal.write(rendition, &frame));
                self.options
                    .counters
                    .wal_dropped
                    .fetch_add(std::mem::take(&mut self.wal.dropped), Ordering::Relaxed);
            }
            Message::Open { about, init, msn, at, starts, discontinuity, independent } => {
                self.close(&about.name, None);
                let Some(init) = init else { return };
                self.line(&about, &init);
                self.missing(&about, msn, at);
                let line = Entry::Open {
                    rendition: about.name.to_string(),
                    msn,
                    generation: init.generation,
                    at_us: at.as_micros(),
                    unix_us: starts.as_unix_micros(),
                    discontinuity,
                    independent,
                };
                self.note(|it| it.journal.write(&line));
                let path = self.options.folder.join(&*about.name).join(FileName::Segment(msn).uri());
                let Some(line) = self.lines.get_mut(&about.name) else { return };
                line.next_msn = Some(msn + 1);
                line.end_us = at.as_micros();
                line.open = Some(OpenSegment {
                    msn,
                    at_us: at.as_micros(),
                    path,
                    file: None,
                    parts: 0,
                    frames: 0,
                    duration: Duration::ZERO,
                    broken: false,
                });
            }
            Message::Part { about, msn, index, bytes, frames, duration, last_decode_time } => {
                let counters = Arc::clone(&self.options.counters);
                let result = match self.segment(&about.name, msn) {
                    Some(open) if !open.broken => {
                        let result = open.append(index, bytes.pieces());
                        match &result {
                            Ok(true) => {
                                open.parts += 1;
                                open.frames += frames;
                                open.duration += duration;
                                counters.parts.fetch_add(1, Ordering::Relaxed);
                                counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                            }
                            Ok(false) | Err(_) => open.broken = true,
                        }
                        result
                    }
                    _ => Ok(false),
                };
                if !matches!(result, Ok(true)) {
                    counters.parts_lost.fetch_add(1, Ordering::Relaxed);
                }
                self.note(|_| result.map(|_| ()));
                let ticks = i64::try_from(last_decode_time).unwrap_or(i64::MAX) - about.offset_ticks;
                self.wal.cover(&about.name, MediaTime::new(ticks, about.scale).as_micros());
            }
            Message::Close { about, msn, parts, duration, gap } => {
                if let Some(open) = self.segment(&about.name, msn) {
                    // The last ones found no room in the queue.
                    open.broken |= open.parts != parts;
                    self.close(&about.name, Some((duration, gap)));
                }
            }
        }
    }

    /// The Rendition of a segment that begins, and its init on disk.
    fn line(&mut self, about: &Arc<About>, init: &Init) {
        if !std::mem::replace(&mut self.targeted, true) {
            self.note(|it| it.journal.write(&Entry::Target { seconds: about.target_s }));
        }
        let line = self.lines.entry(Arc::clone(&about.name)).or_insert_with(|| Line {
            about: Arc::clone(about),
            inits: BTreeSet::new(),
            open: None,
            kept: VecDeque::new(),
            next_msn: None,
            end_us: 0,
            damaged: false,
        });
        if line.inits.contains(&init.generation) {
            return;
        }
        let folder = self.options.folder.join(&*about.name);
        // The journal has it too, should a power cut tear it.
        let path = folder.join(FileName::Init(init.generation).uri());
        let written = fs::create_dir_all(&folder)
            .and_then(|()| replace_soon(&path, &init.bytes))
            .and_then(|file| self.syncer.sync(&file));
        if written.is_ok() {
            line.inits.insert(init.generation);
        }
        self.note(|_| written);
        let entry = Entry::Init {
            rendition: about.name.to_string(),
            kind: about.kind.into(),
            hz: about.scale.hz(),
            offset_ticks: about.offset_ticks,
            generation: init.generation,
            about: (&*init.config).into(),
            hex: journal::hex(&init.bytes),
        };
        self.note(|it| it.journal.write(&entry));
    }

    /// Tells of what should stand before the segment `msn` and does not.
    fn missing(&mut self, about: &Arc<About>, msn: u64, at: MediaTime) {
        let Some(line) = self.lines.get(&about.name) else { return };
        let Some(expected) = line.next_msn else { return };
        let us = u64::try_from(at.as_micros() - line.end_us).unwrap_or(0);
        // A hole that the source left is a DISCONTINUITY and no loss.
        if msn == expected && !line.damaged {
            return;
        }
        let at_us = line.end_us;
        if msn != expected {
            self.options.counters.segments_lost.fetch_add(msn.saturating_sub(expected), Ordering::Relaxed);
        }
        if us > 0 {
            let entry = Entry::Lost { rendition: about.name.to_string(), at_us, us };
            self.note(|it| it.journal.write(&entry));
        }
    }

    /// Closes the open segment of a Rendition. `told`: its duration, and whether it is a gap; without that the end was
    /// not heard of, and it is as long as what was written.
    fn close(&mut self, rendition: &Arc<str>, told: Option<(Duration, bool)>) {
        let Some(line) = self.lines.get_mut(rendition) else { return };
        let Some(open) = line.open.take() else { return };
        let whole = !open.broken && told.is_some();
        let duration = told.filter(|_| whole).map_or(open.duration, |(duration, _)| duration);
        let bytes = open.file.as_ref().map_or(0, Appender::len);
        line.damaged = !whole;
        if bytes > 0 {
            line.kept.push_back((open.msn, bytes));
        } else if open.file.is_some() {
            // Nothing of it fitted; it is in no playlist.
            let _ = fs::remove_file(&open.path);
        }
        line.end_us = open.at_us.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let entry =
            Entry::Close { rendition: rendition.to_string(), msn: open.msn, us, bytes, frames: open.frames };
        if whole && bytes > 0 {
            self.faulty = false;
            line.about.stored.add(open.msn);
            self.options.counters.segments.fetch_add(1, Ordering::Relaxed);
        } else if told.is_some_and(|(_, gap)| gap) {
            // Without media, and so it is listed: there is a way back beyond it.
            if whole {
                line.about.stored.add(open.msn);
            }
        } else {
            self.options.counters.segments_lost.fetch_add(1, Ordering::Relaxed);
        }
        let sync = self.options.sync;
        self.note(|it| {
            it.journal.write(&entry)?;
            let segment = open.file.as_ref().map(Appender::file);
            let mut written = segment.into_iter().chain(it.journal.file()).filter(|_| sync);
            written.try_for_each(|file| it.syncer.sync(file))
        });
        if let Some(news) = &self.options.news {
            news.grown();
        }
        self.trim();
    }

    /// Removes the oldest segments of all Renditions while there is too much.
    fn trim(&mut self) {
        let mut bytes: u64 = self.lines.values().flat_map(|line| &line.kept).map(|(_, bytes)| bytes).sum();
        while bytes > self.options.bytes_max {
            let oldest = self.lines.values().filter_map(|line| line.kept.front().map(|(msn, _)| *msn)).min();
            let Some(oldest) = oldest else { return };
            let mut removed = Vec::new();
            for line in self.lines.values_mut() {
                if let Some((msn, of)) = line.kept.pop_front_if(|(msn, _)| *msn <= oldest) {
                    bytes -= of;
                    line.about.stored.remove(msn);
                    removed.push((Arc::clone(&line.about.name), msn));
                }
            }
            for (name, msn) in removed {
                let path = self.options.folder.join(&*name).join(FileName::Segment(msn).uri());
                let entry = Entry::Removed { rendition: name.to_string(), msn };
                // Told before it is done: a file that is left is removed by a repair.
                self.note(|it| it.journal.write(&entry).and_then(|()| fs::remove_file(path)));
                self.options.counters.segments_removed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn segment(&mut self, rendition: &Arc<str>, msn: u64) -> Option<&mut OpenSegment> {
        self.lines.get_mut(rendition)?.open.as_mut().filter(|open| open.msn == msn)
    }

    /// The Stream is over.
    pub(crate) fn finish(&mut self) {
        let names: Vec<Arc<str>> = self.lines.keys().cloned().collect();
        for name in names {
            self.close(&name, None);
        }
        let last = self.lines.values().map(|line| line.end_us).max().unwrap_or(0);
        let unix_us = self.options.unix_us.saturating_add_signed(last);
        // Before the frames in the write-ahead files go.
        self.syncer.settle();
        let written = self.journal.write(&Entry::End { unix_us });
        let ended = written.and_then(|()| self.journal.file().map_or(Ok(()), |file| self.syncer.sync(file)));
        if ended.is_ok() && !self.lines.is_empty() {
            self.wal.remove();
        }
        self.note(|_| ended);
    }

    /// Counts a fault of the disk, and logs the first until a segment is whole again.
    fn note(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) {
        let Err(error) = write(self) else { return };
        self.options.counters.write_errors.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.faulty, true) {
            let (channel, stream) = (&self.options.channel, &self.options.stream);
            warn!(%channel, %stream, %error, "cannot write the recording; live goes on without it");
        }
    }
}

impl OpenSegment {
    /// False if parts are missing before this one.
    fn append(&mut self, index: u32, pieces: &[bytes::Bytes]) -> io::Result<bool> {
        if index != self.parts {
            return Ok(false);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Appender::create(self.path.clone())?),
        };
        file.append(pieces)?;
        Ok(true)
    }
}
