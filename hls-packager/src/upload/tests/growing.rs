//! A recording that is live: what is put while it grows, and the playlists that a bucket shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use media::StreamId;
use tempfile::TempDir;

use crate::bucket::Fault;
use crate::recording::{Entry, Recording, RecordingState, checksummed, recorded_within};
use crate::upload::backlog::{Backlog, JOBS_MAX, Task};

const JOURNAL: &str = "journal.log";

fn about(state: RecordingState) -> Recording {
    let mut about = Recording::new("s1".into(), "ana".into(), 0);
    about.state = state;
    about
}

/// A recorded stream whose journal grows line by line.
struct Growing {
    folder: TempDir,
    journal: Vec<u8>,
    backlog: Backlog,
    now: Instant,
    there: BTreeSet<String>,
    lists: BTreeMap<String, Vec<(Instant, String)>>,
}

impl Growing {
    fn new(bytes_max: u64, seconds: f64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        recorded_within(folder.path(), seconds, bytes_max);
        let journal = fs::read(folder.path().join(JOURNAL)).expect("readable");
        fs::write(folder.path().join(JOURNAL), b"").expect("written");
        let backlog = Backlog::open(StreamId::from_raw(1), folder.path(), about(RecordingState::Live));
        let now = tokio::time::Instant::now().into_std();
        let (there, lists) = (BTreeSet::new(), BTreeMap::new());
        Self { folder, journal, backlog: backlog.expect("opened"), now, there, lists }
    }

    /// The journal, line by line, 200 ms each; what is found is put at once.
    fn grow(&mut self) {
        let ends: Vec<usize> = (1..=self.journal.len()).filter(|at| self.journal[at - 1] == b'\n').collect();
        for end in ends {
            fs::write(self.folder.path().join(JOURNAL), &self.journal[..end]).expect("written");
            self.now += Duration::from_millis(200);
            self.backlog.grown().expect("readable");
            self.work();
        }
    }

    fn work(&mut self) {
        while self.backlog.has_work(self.now) {
            let Some(task) = self.backlog.take(self.now).expect("readable") else { continue };
            match &task {
                Task::Put { name, .. } => {
                    self.there.insert(name.clone());
                }
                Task::Remove { name } => assert!(self.there.remove(name), "{name} was there"),
                Task::Lists(lists) => {
                    for list in lists {
                        let text = String::from_utf8(list.text.to_vec()).expect("text");
                        for uri in text.lines().filter(|it| !it.starts_with('#') && *it != "gap.m4s") {
                            let path = Path::new(&list.name).with_file_name(uri);
                            let name = path.to_string_lossy();
                            let known = |it: &crate::upload::lists::List| it.name == name;
                            assert!(
                                self.there.contains(&*name)
                                    || self.lists.contains_key(&*name)
                                    || lists.iter().any(known),
                                "{uri} of {} is there before it is listed",
                                list.name
                            );
                        }
                        self.lists.entry(list.name.clone()).or_default().push((self.now, text));
                    }
                }
            }
            self.backlog.done(&task, 7).expect("written");
        }
    }

    fn end(&mut self) {
        self.now += Duration::from_secs(1);
        self.backlog.changed(about(RecordingState::Ready)).expect("readable");
        self.work();
        assert!(self.backlog.is_over());
        let uploaded = self.backlog.verify().expect("readable").expect("all of it");
        let segments = self.there.iter().filter(|name| name.ends_with(".m4s")).count();
        assert!(uploaded.complete && uploaded.segments == segments as u64, "{uploaded:?}");
    }
}

/// The number of each segment, and TARGETDURATION.
fn numbered(text: &str) -> (BTreeMap<String, u64>, u64) {
    let number = |tag: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_else(|| panic!("{tag}: {text}"));
        line.parse::<u64>().expect("a number")
    };
    let uris = text.lines().filter(|line| !line.starts_with('#'));
    let first = number("#EXT-X-MEDIA-SEQUENCE:");
    let numbered = uris.zip(first..).filter(|(uri, _)| *uri != "gap.m4s");
    (numbered.map(|(uri, at)| (uri.to_owned(), at)).collect(), number("#EXT-X-TARGETDURATION:"))
}

#[test]
fn a_live_recording_is_a_playlist_that_only_grows() {
    let mut growing = Growing::new(u64::MAX, 31.0);
    growing.grow();
    for name in ["master.m3u8", "video/index.m3u8", "audio/index.m3u8"] {
        assert!(growing.lists.contains_key(name), "{name} while it is live");
    }
    growing.end();
    for (name, lists) in growing.lists.iter().filter(|(name, _)| name.ends_with("index.m3u8")) {
        assert!(lists.len() >= 4, "{name}: {}", lists.len());
        let ((_, last), live) = lists.split_last().expect("one");
        assert!(last.contains("#EXT-X-PLAYLIST-TYPE:VOD\n") && last.ends_with("#EXT-X-ENDLIST\n"), "{last}");
        for pair in live.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= Duration::from_secs(4), "{name}: too often");
            assert!(pair[1].1.starts_with(&pair[0].1), "{name}: {} then {}", pair[0].1, pair[1].1);
        }
        for (_, text) in live {
            assert!(text.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !text.contains("ENDLIST"), "{text}");
            assert_eq!(numbered(text).1, numbered(last).1, "M08: TARGETDURATION does not change");
            assert!(last.replace(":VOD", ":EVENT").starts_with(text), "{name}: {text} then {last}");
        }
    }
}

#[test]
fn a_recording_that_grows_too_large_slides_in_the_bucket_too() {
    let mut growing = Growing::new(4 << 20, 120.0);
    growing.grow();
    growing.end();
    let there = growing.there.clone();
    let kept: BTreeSet<String> = ["video", "audio"]
        .iter()
        .flat_map(|rendition| fs::read_dir(growing.folder.path().join(rendition)).expect("a folder"))
        .map(|entry| {
            let path = entry.expect("an entry").path();
            path.strip_prefix(growing.folder.path()).expect("inside").to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(there, kept, "the bucket has what the disk has");
    for (name, lists) in growing.lists.iter().filter(|(name, _)| name.ends_with("index.m3u8")) {
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut slid = false;
        for (_, text) in lists {
            let (numbers, _) = numbered(text);
            slid |= !numbers.contains_key("s0.m4s");
            assert_eq!(numbers.contains_key("s0.m4s"), text.contains("PLAYLIST-TYPE"), "{name}: {text}");
            for (uri, number) in numbers {
                assert_eq!(*known.entry(uri.clone()).or_insert(number), number, "{name}: {uri}");
            }
        }
        assert!(slid, "{name}: {lists:?}");
    }
}

#[test]
fn a_playlist_that_finds_room_does_not_hide_that_a_segment_does_not() {
    let mut growing = Growing::new(u64::MAX, 9.0);
    fs::write(growing.folder.path().join(JOURNAL), &growing.journal).expect("written");
    let (backlog, mut now) = (&mut growing.backlog, growing.now);
    backlog.grown().expect("readable");
    let full = Fault::of_answer(StatusCode::INSUFFICIENT_STORAGE, "").expect("it is full");
    let mut puts = 0;
    while puts < 8 {
        let Some(task) = backlog.take(now).expect("readable") else { continue };
        puts += usize::from(matches!(task, Task::Put { .. }));
        match puts {
            8 => backlog.failed(&task, &full),
            _ => backlog.done(&task, 7).expect("written"),
        }
    }
    now += Duration::from_secs(5);
    let lists = backlog.take(now).expect("readable").expect("they are due");
    assert!(matches!(lists, Task::Lists(_)), "{lists:?}");
    backlog.done(&lists, 0).expect("written");
    assert_eq!(backlog.sent().error, Some(full.to_string()));
    growing.now = now;
    growing.work();
    assert_eq!(growing.backlog.sent().error, None);
}

#[test]
fn more_objects_than_fit_into_memory_are_found_again() {
    const SEGMENTS: u64 = 3000;
    let folder = tempfile::tempdir().expect("a folder");
    recorded_within(folder.path(), 3.0, u64::MAX);
    let path = folder.path().join(JOURNAL);
    let text = String::from_utf8(fs::read(&path).expect("readable")).expect("text");
    let mut journal: String =
        text.lines().filter(|it| !it.contains("\"msn\"")).map(|it| format!("{it}\n")).collect();
    for msn in 0..SEGMENTS {
        let (rendition, at_us) = ("video".to_owned(), msn as i64 * 2_000_000);
        let open = Entry::Open {
            rendition: rendition.clone(),
            msn,
            generation: 0,
            at_us,
            unix_us: at_us as u64,
            discontinuity: false,
            independent: true,
        };
        let close = Entry::Close { rendition, msn, us: 2_000_000, bytes: 100 + msn, frames: 60 };
        journal.push_str(&checksummed(&open));
        journal.push_str(&checksummed(&close));
    }
    fs::write(&path, journal).expect("written");
    let mut backlog = Backlog::open(StreamId::from_raw(1), folder.path(), about(RecordingState::Processing))
        .expect("opened");
    assert!(backlog.overflows() > SEGMENTS - JOBS_MAX as u64);
    let now = tokio::time::Instant::now().into_std();
    let mut puts = BTreeMap::<String, u32>::new();
    while backlog.has_work(now) {
        assert!(backlog.size().0 <= JOBS_MAX as u64);
        let Some(task) = backlog.take(now).expect("readable") else { continue };
        if let Task::Put { name, bytes, .. } = &task {
            let puts = puts.entry(name.clone()).or_default();
            *puts += 1;
            // The first time it fails.
            if *puts == 1 && bytes % 7 == 0 {
                backlog.failed(&task, &Fault::late(Duration::from_secs(1)));
                continue;
            }
        }
        backlog.done(&task, 7).expect("written");
    }
    let segments = puts.keys().filter(|name| name.ends_with(".m4s")).count();
    assert_eq!(segments as u64, SEGMENTS);
    assert!(puts.values().all(|puts| *puts <= 2));
    backlog.changed(about(RecordingState::Ready)).expect("readable");
    while backlog.has_work(now) {
        assert_eq!(backlog.take(now).expect("readable"), None, "nothing is left to do");
    }
    assert!(backlog.verify().expect("readable").is_some());
}

#[test]
fn a_file_that_cannot_be_read_is_left_out_after_a_few_times() {
    let folder = tempfile::tempdir().expect("a folder");
    recorded_within(folder.path(), 9.0, u64::MAX);
    let mut backlog =
        Backlog::open(StreamId::from_raw(1), folder.path(), about(RecordingState::Ready)).expect("opened");
    let now = tokio::time::Instant::now().into_std();
    let mut tries = 0;
    while backlog.has_work(now) {
        let Some(task) = backlog.take(now).expect("readable") else { continue };
        match &task {
            Task::Put { name, .. } if name == "video/s1.m4s" => {
                tries += 1;
                backlog.failed(&task, &std::io::Error::other("a bad sector").into());
            }
            _ => backlog.done(&task, 7).expect("written"),
        }
    }
    assert_eq!(tries, 3);
    assert!(backlog.is_over() && backlog.is_given_up());
    assert_eq!(backlog.verify().expect("readable"), None, "its files stay");
}
