//! The end of a recording is untold until somebody says that it is told, whatever happens to the process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use media::{ChannelName, Hub, NtpTime, Publication, StreamId};

use super::house::recorded;
use crate::recording::{Recording, RecordingConfig, RecordingState, Recordings};
use crate::storage::disk::inject;

/// A node on this folder, once it has nothing left to finish.
fn node(root: &Path) -> Arc<Recordings> {
    // They are of a day in November; how old they are does not matter.
    node_that_keeps(root, 0)
}

/// The same, which removes what is older than so many days.
fn node_that_keeps(root: &Path, keep_days: u32) -> Arc<Recordings> {
    let config = RecordingConfig { keep_days, keep_mib: 0, ..RecordingConfig::default() };
    let node = Recordings::open(config, root, None).expect("opened");
    let mut changes = node.subscribe();
    let busy = |it: &Recording| matches!(it.state, RecordingState::Live | RecordingState::Processing);
    while node.list(None, None, 9).iter().any(busy) {
        changes.blocking_recv().expect("a change");
    }
    node
}

/// What is untold.
fn untold(node: &Recordings) -> Vec<(String, RecordingState)> {
    node.untold().into_iter().map(|it| (it.id, it.state)).collect()
}

#[test]
fn an_end_is_untold_over_restarts_until_it_is_told() {
    let root = tempfile::tempdir().expect("a folder");
    let ids = [1, 2].map(|number| StreamId::from_raw(1_795_348_800_000 << 16 | number));
    let [whole, empty] = ids.map(|id| id.to_string());
    recorded(&root.path().join(&whole), &whole, 9.0);
    // A stream that ended before anything of it was recorded.
    std::fs::create_dir(root.path().join(&empty)).expect("made");
    let both = [(whole, RecordingState::Ready), (empty, RecordingState::Failed)];
    for _ in 0..2 {
        // The process ends each time before it has told anybody.
        let node = node(root.path());
        assert_eq!((untold(&node), node.stats().untold), (both.to_vec(), 2));
        let failed = node.get(ids[1]).and_then(|it| it.error).expect("a reason");
        assert!(failed.contains("keyframe"), "it says what to do: {failed}");
        node.close();
    }
    let first = node(root.path());
    first.told(ids[0]);
    assert_eq!(untold(&first), both[1..]);
    first.close();
    drop(first);
    let second = node(root.path());
    assert_eq!(untold(&second), both[1..]);
    // One that was removed is nobody's concern.
    second.remove(ids[1]).expect("removed");
    assert_eq!((untold(&second), second.stats().untold), (vec![], 0));
    second.told(ids[1]);
    second.close();
}

#[test]
fn what_is_too_old_is_removed_when_its_end_is_told_and_not_before() {
    let root = tempfile::tempdir().expect("a folder");
    let id = StreamId::from_raw(1_600_000_000_000 << 16 | 1);
    recorded(&root.path().join(id.to_string()), &id.to_string(), 9.0);
    let is_kept = |told: bool| {
        let node = node_that_keeps(root.path(), 1);
        if told {
            node.told(id);
        }
        // The rules are looked at before anything else is done.
        node.close();
        node.get(id).is_some()
    };
    assert_eq!([is_kept(false), is_kept(false)], [true, true]);
    is_kept(true);
    assert!(!is_kept(false), "it is gone when the rules are looked at again");
}

#[test]
fn a_recording_that_cannot_be_begun_has_failed_and_says_why() {
    let root = tempfile::tempdir().expect("a folder");
    let node = node(root.path());
    inject(root.path()).full(true);
    let now = tokio::time::Instant::now().into_std();
    let hub = Hub::new(Duration::ZERO);
    let channel = ChannelName::parse("ana").expect("a name");
    let wall = NtpTime::from_unix_micros(1_795_348_800_000_000);
    let writer = hub.publish(&channel, Publication::default(), now, wall).expect("free");
    let id = writer.stream().id();
    let mut changes = node.subscribe();
    let tap = node.begin(writer.stream(), None);
    while node.get(id).is_some_and(|it| it.state == RecordingState::Live) {
        changes.blocking_recv().expect("a change");
    }
    let failed = node.untold().pop().expect("to be told");
    let why = failed.error.expect("a reason");
    assert!(failed.state == RecordingState::Failed && why.contains("room"), "it says what to do: {why}");
    assert_eq!(node.stats().failed_total, 1);
    tap.end();
    node.told(id);
    assert_eq!(node.stats().untold, 0);
    node.close();
}

/// A recording whose recorder did not get to its end.
fn torn(root: &Path, id: StreamId) {
    recorded(&root.join(id.to_string()), &id.to_string(), 9.0);
    let journal = root.join(id.to_string()).join("journal.log");
    let text = std::fs::read_to_string(&journal).expect("readable");
    let end = text.trim_end().rfind('\n').expect("lines");
    std::fs::write(&journal, &text[..=end]).expect("written");
}

/// Waits until a recording is like this.
fn until(node: &Recordings, id: StreamId, what: impl Fn(&Recording) -> bool) -> Recording {
    let mut changes = node.subscribe();
    loop {
        if let Some(found) = node.get(id).filter(|it| what(it)) {
            return found;
        }
        changes.blocking_recv().expect("a change");
    }
}

#[test]
fn a_recording_that_a_full_disk_does_not_let_be_finished_is_finished_when_there_is_room() {
    let root = tempfile::tempdir().expect("a folder");
    let id = StreamId::from_raw(1_600_000_000_000 << 16 | 1);
    torn(root.path(), id);
    let fault = inject(root.path());
    fault.full(true);
    // By its age it would be removed at once.
    let config = RecordingConfig { keep_days: 1, keep_mib: 0, ..RecordingConfig::default() };
    let node = Recordings::open(config, root.path(), None).expect("opened");
    let waits = until(&node, id, |it| it.error.is_some());
    assert_eq!((waits.state, waits.untold), (RecordingState::Processing, false), "it has not failed");
    assert!(waits.error.is_some_and(|why| why.contains("make room")), "it says what to do");
    fault.full(false);
    node.chores.wake();
    let ready = until(&node, id, |it| it.state == RecordingState::Ready);
    assert_eq!((ready.error, ready.untold, ready.repaired), (None, true, true));
    assert!(ready.mp4_bytes.is_some() && ready.duration_ms.is_some_and(|it| it > 8000));
    node.close();
    let stats = node.stats();
    assert_eq!((stats.failed_total, stats.repaired_total, stats.finished_total), (0, 1, 1));
}

#[test]
fn what_an_earlier_version_gave_up_because_of_the_disk_is_finished_and_not_removed() {
    let root = tempfile::tempdir().expect("a folder");
    let id = StreamId::from_raw(1_600_000_000_000 << 16 | 1);
    torn(root.path(), id);
    let folder = root.path().join(id.to_string());
    let mut left = Recording::read(&folder).expect("a manifest");
    left.state = RecordingState::Failed;
    left.error = Some("the disk does not let the recording be finished (no space left on device)".to_owned());
    left.write(&folder).expect("written");
    let node = node_that_keeps(root.path(), 1);
    let found = node.get(id).expect("it is kept");
    assert_eq!((found.state, found.error, found.untold), (RecordingState::Ready, None, true));
    node.close();
}

#[test]
fn a_folder_that_vanished_is_told_and_one_that_was_removed_is_not() {
    let root = tempfile::tempdir().expect("a folder");
    let ids = [1, 2].map(|number| StreamId::from_raw(1_795_348_800_000 << 16 | number));
    for id in ids.map(|id| id.to_string()) {
        recorded(&root.path().join(&id), &id, 9.0);
    }
    let node = node(root.path());
    assert_eq!(node.stats().write_errors_total, 0);
    node.remove(ids[0]).expect("removed");
    node.told(ids[0]);
    assert_eq!(node.stats().write_errors_total, 0, "nobody misses it");
    std::fs::remove_dir_all(root.path().join(ids[1].to_string())).expect("taken away");
    node.told(ids[1]);
    assert_eq!(node.stats().write_errors_total, 1, "what it says of itself was not kept");
    node.close();
}
