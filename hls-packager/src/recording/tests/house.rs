//! A Presentation whose recorder runs in the test itself, so that a test knows what it has written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use media::{Frame, Kind, NtpTime, StreamClock};
use tempfile::TempDir;

use crate::Config;
use crate::file_name::FileName;
use crate::fmp4::scan;
use crate::horizon::Horizon;
use crate::name::Name;
use crate::presentation::Presentation;
use crate::probe::Expected;
use crate::recording::counters::Counters;
use crate::recording::manifest::{Recording, RecordingState};
use crate::recording::plan::{Plan, Rendition};
use crate::recording::recorder::{Options, Recorder};
use crate::recording::syncer::Syncer;
use crate::recording::tap::{Queue, Tap};
use crate::tests::source::Source;
use crate::vod;

/// How far back live viewers may go.
pub(super) const REWIND: Duration = Duration::from_secs(600);

const NOON_UNIX_MICROS: u64 = 1_795_348_800_000_000;

pub(super) struct House {
    pub(super) folder: TempDir,
    pub(super) presentation: Presentation,
    pub(super) counters: Arc<Counters>,
    pub(super) origin: Instant,
    pub(super) now: Instant,
    pub(super) queue: Queue,
    pub(super) recorder: Recorder,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(u64::MAX)
    }

    /// One that may take so much room.
    pub(super) fn with(bytes_max: u64) -> Self {
        Self::bounded(bytes_max, u64::MAX)
    }

    /// And of which live viewers may go back by so much.
    pub(super) fn bounded(bytes_max: u64, rewind_bytes: u64) -> Self {
        let folder = in_memory();
        let origin = tokio::time::Instant::now().into_std();
        let clock = StreamClock::new(origin, NtpTime::from_unix_micros(NOON_UNIX_MICROS));
        let mut presentation = Presentation::new(Config::default(), clock);
        let counters = Arc::<Counters>::default();
        let (tap, queue) = Tap::open(Arc::clone(&counters.overflows), Horizon::new(REWIND, rewind_bytes));
        presentation.record(tap);
        let expected = Expected { video: true, audio: true, settled: true, keyframes_on_request: false };
        presentation.expect(expected, origin);
        let options = Options {
            folder: folder.path().to_owned(),
            channel: "ana".into(),
            stream: "s1".into(),
            unix_us: NOON_UNIX_MICROS,
            sync: false,
            bytes_max,
            counters: Arc::clone(&counters),
            news: None,
        };
        let recorder = Recorder::new(options, Syncer::inline());
        Self { folder, presentation, counters, origin, now: origin, queue, recorder }
    }

    /// The frames of a source, on the clock of this house.
    pub(super) fn frames(&self, source: &Source) -> Vec<(Kind, Frame)> {
        source.frames(self.origin)
    }

    /// One frame to the presentation; the recorder writes what comes of it.
    pub(super) fn feed(&mut self, kind: Kind, frame: Frame) {
        self.feed_only(kind, frame);
        self.write();
    }

    /// One frame to the presentation; the recorder is busy.
    pub(super) fn feed_only(&mut self, kind: Kind, frame: Frame) {
        self.now = self.now.max(frame.arrival);
        let name = if kind == Kind::Video { Name::VIDEO } else { Name::Audio };
        self.presentation.handle_frame(name, frame, self.now);
    }

    pub(super) fn write(&mut self) {
        while let Some(message) = self.queue.try_next() {
            self.recorder.take(message);
        }
    }

    /// What the recorder was told never reached it.
    pub(super) fn lose(&mut self) {
        while self.queue.try_next().is_some() {}
    }

    /// The Stream ends.
    pub(super) fn finish(&mut self) -> Plan {
        self.presentation.finish(self.now);
        self.write();
        self.recorder.finish();
        Plan::read(self.folder.path()).expect("readable")
    }

    /// The process is killed here: what a repair would find.
    pub(super) fn killed(&self) -> TempDir {
        copy(self.folder.path())
    }
}

/// A folder that no disk is waited for.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// A copy of a recording.
pub(super) fn copy(folder: &Path) -> TempDir {
    let to = in_memory();
    for file in files(folder) {
        let target = to.path().join(file.strip_prefix(folder).expect("inside"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        fs::copy(&file, target).expect("copied");
    }
    to
}

/// All files of a recording.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The decoding times of all samples of a Rendition on the Stream's clock, in microseconds, read from its files.
pub(super) fn samples(folder: &Path, rendition: &Rendition) -> Vec<i64> {
    let mut found = Vec::new();
    for segment in rendition.segments.iter().filter(|segment| !segment.is_hole()) {
        let path = rendition.path(folder, FileName::Segment(segment.msn.expect("a segment")));
        let bytes = fs::read(path).expect("listed is there");
        let fragments = scan::fragments(&mut std::io::Cursor::new(&bytes), bytes.len() as u64).expect("read");
        assert_eq!(fragments.last().map(|last| last.end), Some(bytes.len() as u64), "whole fragments only");
        assert_eq!(segment.bytes(), bytes.len() as u64);
        for fragment in fragments {
            let mut at = fragment.decode_time;
            for sample in fragment.samples {
                found.push(rendition.micros(at));
                at += u64::from(sample.duration);
            }
        }
    }
    assert!(found.is_sorted_by(|a, b| a < b), "decoding times grow: {found:?}");
    found
}

/// A recording can be played: every Rendition has its playlist and its inits, and an MP4 file can be made.
pub(super) fn plays(folder: &Path, plan: &Plan) {
    for rendition in plan.playable() {
        for (generation, init) in &rendition.inits {
            let path = rendition.path(folder, FileName::Init(*generation));
            assert_eq!(fs::read(path).expect("an init"), init.bytes);
        }
        for pair in rendition.segments.windows(2) {
            assert!(pair[0].at_us < pair[1].at_us, "{pair:?}");
        }
    }
    vod::mp4(folder, plan, &AtomicBool::new(false)).expect("an MP4 file");
}

/// Leaves a recording of so many seconds in `folder`, as a process does that is killed at the end of the Stream.
pub(crate) fn recorded(folder: &Path, stream: &str, seconds: f64) {
    recorded_within(folder, seconds, u64::MAX);
    let mut recording = Recording::new(stream.to_owned(), "ana".to_owned(), NOON_UNIX_MICROS / 1000);
    recording.state = RecordingState::Live;
    recording.write(folder).expect("written");
}

/// The same without its manifest, for a recording that may be so large.
pub(crate) fn recorded_within(folder: &Path, seconds: f64, bytes_max: u64) {
    let mut house = House::with(bytes_max);
    for (kind, frame) in house.frames(&Source { seconds, ..Source::default() }) {
        house.feed(kind, frame);
    }
    house.finish();
    for file in files(house.folder.path()) {
        let target = folder.join(file.strip_prefix(house.folder.path()).expect("inside"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        fs::copy(&file, target).expect("copied");
    }
}

/// A moment that is long enough for a thread that is not stuck.
pub(super) const SOON: Duration = Duration::from_secs(20);
