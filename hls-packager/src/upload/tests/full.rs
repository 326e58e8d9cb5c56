//! A bucket that takes no more, and then has room again.

use std::time::Duration;

use super::bucket::Memory;
use super::whole::{Node, config, id, in_bucket, leave, local, on_disk, root};
use crate::bucket::KeepLocal;
use crate::recording::{RecordingConfig, RecordingState, Storage};
use crate::upload::StorageStats;

fn stats(node: &Node) -> StorageStats {
    node.recordings.storage_stats().expect("a bucket")
}

/// Waits until the uploader has heard so often that there is no room.
async fn refused(node: &Node, times: u64) {
    node.eventually("refusals", || {
        (stats(node).errors_full_total >= times && stats(node).failing == 1).then_some(())
    })
    .await;
}

#[test]
fn a_full_bucket_costs_nothing_and_takes_all_when_it_has_room_again() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        // Some of it finds room.
        memory.limit(200_000);
        // Retention would remove it at once, and what is uploaded would leave the disk.
        let config = RecordingConfig { keep_days: 1, ..config() };
        let node = Node::start(root.path(), &memory, config, KeepLocal::UntilUploaded);
        node.until(id(1), |it| it.state == RecordingState::Ready).await;
        refused(&node, 10).await;
        let disk = on_disk(root.path(), id(1));
        let there = in_bucket(&memory, id(1)).await;
        assert!(!there.is_empty() && there.len() < disk.len(), "{} of {}", there.len(), disk.len());
        let told = stats(&node);
        assert_eq!((told.failing, told.backlog_recordings, told.dropped_local_total), (1, 1, 0), "{told:?}");
        assert!(told.errors_full_total >= 10 && told.errors_other_total == 0, "{told:?}");
        let about = node.until(id(1), |it| it.uploaded.as_ref().is_some_and(|it| it.error.is_some())).await;
        let error = about.uploaded.and_then(|it| it.error).expect("told");
        assert!(error.contains("is full") && error.contains("QuotaExceeded"), "it says what to do: {error}");
        assert_eq!(about.storage, Storage::Disk);
        // Small objects find room after larger ones did not, and each of them ends the pauses: all of them are there.
        let small = disk.values().filter(|it| it.len() < 200_000).count();
        while in_bucket(&memory, id(1)).await.len() < small {
            refused(&node, stats(&node).errors_full_total + 1).await;
        }
        // It is not stormed: after the first pauses, of which there are six, once a minute, at least half of that.
        refused(&node, stats(&node).errors_full_total + 7).await;
        let (begin, before) = (tokio::time::Instant::now(), memory.was_full());
        node.eventually("ten minutes", || (begin.elapsed() > Duration::from_secs(600)).then_some(())).await;
        let asked = memory.was_full() - before;
        assert!((8..=21).contains(&asked), "asked {asked} times in ten minutes");

        memory.limit(0);
        node.uploaded(id(1)).await;
        assert_eq!(in_bucket(&memory, id(1)).await, disk, "all of it, and nothing was lost meanwhile");
        assert!(memory.puts().values().all(|puts| *puts == 1), "{:?}", memory.puts());
        node.eventually("all is well", || (stats(&node).failing == 0).then_some(())).await;
        node.stop().await;
    });
}

#[test]
fn what_needs_no_room_does_not_make_a_full_bucket_a_good_one() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        node.uploaded(id(1)).await;
        let whole: usize = in_bucket(&memory, id(1)).await.values().map(|bytes| bytes.len()).sum();
        node.stop().await;

        // A second one finds no room, until the first is removed.
        memory.limit(whole as u64 + 100_000);
        leave(root.path(), id(2));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        node.until(id(2), |it| it.state == RecordingState::Ready).await;
        refused(&node, 3).await;
        node.recordings.remove(id(1)).expect("removed");
        node.uploaded(id(2)).await;
        assert_eq!(in_bucket(&memory, id(2)).await, on_disk(root.path(), id(2)));
        node.eventually("all is well", || (stats(&node).failing == 0).then_some(())).await;
        node.stop().await;

        // A third finds none, and is removed itself: then nothing is wrong any more.
        leave(root.path(), id(3));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        node.until(id(3), |it| it.state == RecordingState::Ready).await;
        refused(&node, 3).await;
        node.recordings.remove(id(3)).expect("removed");
        node.eventually("its end, and all is well", || {
            (stats(&node).backlog_recordings == 0 && stats(&node).failing == 0).then_some(())
        })
        .await;
        assert!(in_bucket(&memory, id(3)).await.is_empty());
        node.stop().await;
    });
}
