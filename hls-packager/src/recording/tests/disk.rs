//! Disks that are full or stand still: live does not notice, and the recording says what is missing.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::house::{House, REWIND, SOON, plays, samples};
use crate::file_name::FileName;
use crate::horizon::Horizon;
use crate::recording::plan::Plan;
use crate::recording::recorder::{self, Options};
use crate::recording::syncer::Syncer;
use crate::recording::tap::{Message, Tap};
use crate::storage::disk::{Fault, inject};
use crate::tests::source::Source;

#[test]
fn a_full_disk_leaves_a_hole_that_is_told() {
    fill(|fault, full| fault.full(full));
}

/// What real disks do: there is room for a file's name, and for the beginning of what is written.
#[test]
fn a_disk_that_takes_a_part_of_what_is_written_leaves_nothing_of_it() {
    fill(|fault, full| fault.nearly_full(full));
}

fn fill(set: impl Fn(&Fault, bool)) {
    let mut house = House::new();
    let fault = inject(house.folder.path());
    for (kind, frame) in house.frames(&Source { seconds: 24.0, ..Source::default() }) {
        let at = frame.dts.as_secs_f64();
        set(&fault, (9.0..15.0).contains(&at));
        house.feed(kind, frame);
    }
    let plan = house.finish();
    let (holes, length) = plan.holes();
    assert!(holes >= 2 && (4.0..9.0).contains(&length.as_secs_f64()), "{holes}, {length:?}");
    // Both sides of the hole are there, and together they are as long as the Stream.
    assert!((plan.duration().as_secs_f64() - 24.0).abs() < 0.3, "{:?}", plan.duration());
    for rendition in &plan.renditions {
        for segment in rendition.segments.iter().filter(|it| it.bytes() > 0) {
            let path = rendition.path(house.folder.path(), FileName::Segment(segment.msn.expect("a file")));
            assert_eq!(fs::metadata(path).expect("there").len(), segment.bytes(), "{segment:?}");
        }
    }
    let kept = samples(house.folder.path(), &plan.renditions[0]);
    assert!(kept.len() > 14 * 30 && kept.last().is_some_and(|last| *last > 23_000_000));
    plays(house.folder.path(), &plan);
    let counters = house.counters.snapshot();
    assert!(counters.write_errors_total > 0 && counters.parts_lost_total > 0, "{counters:?}");
    assert_eq!(house.presentation.dropped(), 0, "live lost nothing");
}

#[test]
fn a_disk_that_stands_still_holds_nobody_up() {
    let mut house = House::new();
    let folder = tempfile::tempdir().expect("a folder");
    let fault = inject(folder.path());
    let (tap, recorder) = record(&mut house, folder.path(), Syncer::inline());
    let frames = house.frames(&Source { seconds: 60.0, ..Source::default() });
    for (kind, frame) in frames {
        // It stands still for longer than the queue takes. Before and after, the disk is waited for, as a live
        // stream does by taking its time.
        let at = frame.dts.as_secs_f64();
        fault.stalled((10.0..40.0).contains(&at));
        if !(10.0..40.0).contains(&at) {
            wait_until(|| tap.is_idle());
        }
        house.feed_only(kind, frame);
    }
    assert_eq!(house.presentation.dropped(), 0, "live lost nothing");
    house.presentation.finish(house.now);
    recorder.join().expect("it ends");
    let plan = Plan::read(folder.path()).expect("readable");
    let (holes, length) = plan.holes();
    assert!(house.counters.overflows.load(Ordering::Relaxed) > 0);
    assert!(holes >= 1 && length > Duration::from_secs(5), "{holes}, {length:?}");
    assert!((plan.duration().as_secs_f64() - 60.0).abs() < 0.3, "{:?}", plan.duration());
    plays(folder.path(), &plan);
}

#[test]
fn a_segment_whose_last_part_found_no_room_is_no_whole_one() {
    let mut house = House::new();
    for (kind, frame) in house.frames(&Source { seconds: 10.0, audio_hz: None, ..Source::default() }) {
        house.feed_only(kind, frame);
    }
    let mut messages: Vec<Message> = std::iter::from_fn(|| house.queue.try_next()).collect();
    let end = messages.iter().position(|it| matches!(it, Message::Close { msn: 1, .. })).expect("an end");
    let last = messages[..end].iter().rposition(|it| matches!(it, Message::Part { .. })).expect("a part");
    messages.remove(last);
    messages.into_iter().for_each(|message| house.recorder.take(message));
    let plan = house.finish();
    let (holes, length) = plan.holes();
    assert!(holes == 1 && length > Duration::from_millis(300), "{holes}, {length:?}");
    assert!((plan.duration().as_secs_f64() - 10.0).abs() < 0.1, "{:?}", plan.duration());
}

/// Written, a frame survives a kill.
#[test]
fn a_disk_that_takes_its_time_for_syncs_keeps_no_frame_from_being_written() {
    let mut house = House::new();
    let folder = tempfile::tempdir().expect("a folder");
    let fault = inject(folder.path());
    fault.syncs_stalled(true);
    let syncer = Syncer::start("sync".to_owned(), Arc::clone(&house.counters));
    let (tap, recorder) = record(&mut house, folder.path(), syncer);
    for (kind, frame) in house.frames(&Source { seconds: 20.0, ..Source::default() }) {
        house.feed_only(kind, frame);
        wait_until(|| tap.is_idle());
    }
    fault.syncs_stalled(false);
    house.presentation.finish(house.now);
    recorder.join().expect("it ends");
    let plan = Plan::read(folder.path()).expect("readable");
    assert_eq!((house.counters.snapshot().write_errors_total, plan.holes().0), (0, 0));
    plays(folder.path(), &plan);
}

/// Records what comes from now on into `folder`, in a thread.
fn record(house: &mut House, folder: &Path, syncer: Syncer) -> (Tap, JoinHandle<()>) {
    let (tap, queue) = Tap::open(Arc::clone(&house.counters.overflows), Horizon::new(REWIND, u64::MAX));
    house.presentation.record(tap.clone());
    let options = Options {
        folder: folder.to_owned(),
        channel: "ana".into(),
        stream: "s1".into(),
        unix_us: 0,
        sync: true,
        bytes_max: u64::MAX,
        counters: Arc::clone(&house.counters),
        news: None,
    };
    (tap, std::thread::spawn(move || recorder::run(options, syncer, &queue)))
}

fn wait_until(done: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now().into_std() + SOON;
    while !done() {
        assert!(tokio::time::Instant::now().into_std() < deadline, "the recorder is stuck");
        std::thread::yield_now();
    }
}
