//! A disk of this node that does not take that a recording has left it.

use std::time::Duration;

use super::bucket::Memory;
use super::whole::{Node, config, id, is_bare, leave, local, on_disk, root};
use crate::bucket::KeepLocal;
use crate::recording::{RecordingState, Storage};
use crate::storage::disk::inject;

#[test]
fn a_manifest_that_cannot_be_written_keeps_a_recording_on_disk_and_is_tried_again_now_and_then() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        leave(root.path(), id(2));
        memory.deny(true);
        let node = Node::start(root.path(), &memory, config(), KeepLocal::UntilUploaded);
        for number in [1, 2] {
            node.until(id(number), |it| it.state == RecordingState::Ready).await;
        }
        let fault = inject(&root.path().join(id(1).to_string()).join("recording.json"));
        fault.full(true);
        memory.deny(false);
        node.uploaded(id(1)).await;
        node.until(id(2), |it| it.storage == Storage::S3).await;
        let refused = || node.recordings.stats().write_errors_total;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            () = node.eventually("refusals", || (refused() > 10).then_some(())) => {
                panic!("it is tried at once and for ever");
            }
        }
        let kept = node.recordings.get(id(1)).expect("there");
        assert_eq!((kept.storage, refused() > 0), (Storage::Disk, true));
        assert!(on_disk(root.path(), id(1)).len() > 10);
        fault.full(false);
        // Whatever is done, the rules are looked at after it.
        node.recordings.remove(id(2)).expect("removed");
        node.until(id(1), |it| it.storage == Storage::S3).await;
        node.eventually("no media on disk", || is_bare(root.path(), id(1)).then_some(())).await;
        node.stop().await;
    });
}
