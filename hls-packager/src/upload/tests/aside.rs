//! A recording that this node's disk does not give out, beside others.

use std::fs;

use super::bucket::Memory;
use super::whole::{Node, config, id, in_bucket, leave, local, on_disk, root};
use crate::bucket::KeepLocal;

#[test]
fn a_ledger_that_cannot_be_read_holds_up_its_own_recording_only() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        leave(root.path(), id(2));
        // No file is as unreadable as a folder.
        let ledger = root.path().join(id(1).to_string()).join("uploaded.log");
        fs::create_dir(&ledger).expect("made");
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        node.uploaded(id(2)).await;
        assert_eq!(in_bucket(&memory, id(2)).await, on_disk(root.path(), id(2)));
        // It is tried again, it is not forgotten, and the bucket is not to blame.
        node.eventually("a recording left alone", || {
            let told = node.recordings.storage_stats().expect("a bucket");
            let alone = told.errors_disk_total >= 3 && told.backlog_recordings == 1;
            (alone && told.failing == 0).then_some(())
        })
        .await;
        fs::remove_dir(&ledger).expect("removed");
        node.uploaded(id(1)).await;
        assert_eq!(in_bucket(&memory, id(1)).await, on_disk(root.path(), id(1)));
        node.stop().await;
    });
}
