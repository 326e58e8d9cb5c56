//! A viewer that floods the DTLS library after a valid ICE check.

use std::fs;
use std::time::Duration;

use tests::{Stage, Stranger, Viewer, eventually, source};

/// Fragments of one byte. Each would be a piece of memory for ever, and all of them a stack overflow.
const FRAGMENTS: u32 = 100_000;

/// What memory may differ by before and after: the allocator keeps pages, and the log of the test grows.
/// 100,000 kept fragments would be more than 10 MiB with their records, and 30 with the allocator's part.
const MEMORY_KIB_MAX: i64 = 8 * 1024;

/// What descriptors may differ by: none of ours is opened, the HTTP client of the test may keep one.
const DESCRIPTORS_MAX: i64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_handshake_fragments_end_one_viewer_and_nothing_else() {
    let stage = Stage::start().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[media::Kind::Video, media::Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(25).await;

    // Once unmeasured, so that buffers that are made once are there.
    flood(&stage, 1).await;
    viewer.frames(25).await;
    let (memory, descriptors) = (memory_kib(), descriptors());
    flood(&stage, 2).await;
    viewer.frames(25).await;

    let core = stage.server().sfu().stats().core;
    assert_eq!((core.panics_caught, core.viewers), (0, 1), "{core:?}");
    assert!(!viewer.seen().closed && viewer.seen().video.lost() == 0, "{:?}", *viewer.seen());
    let grown = eventually("memory is given back", Duration::from_secs(10), async || {
        let grown = memory_kib() - memory;
        (grown <= MEMORY_KIB_MAX).then_some(grown)
    });
    let grown = grown.await;
    let opened = eventually("descriptors are given back", Duration::from_secs(10), async || {
        let opened = self::descriptors() - descriptors;
        (opened.abs() <= DESCRIPTORS_MAX).then_some(opened)
    });
    eprintln!("after {FRAGMENTS} fragments: {grown} KiB of memory, {} descriptors", opened.await);
    // Who comes now is served as before.
    Viewer::join(&stage.whep_url()).await.frames(5).await;
    stage.stop().await;
}

/// A viewer proves its address and floods; returns when it has been refused as the `count`th.
async fn flood(stage: &Stage, count: u64) {
    let sfu = stage.server().sfu();
    let received = sfu.stats().socket.datagrams_received;
    let stranger = Stranger::new(&stage.whep_url(), stage.rtc_address()).await;
    stranger.prove().await;
    stranger.flood((0..FRAGMENTS).map(fragment)).await;
    eventually("the flooding viewer is refused", Duration::from_secs(15), async || {
        (sfu.stats().core.dtls_refused == count).then_some(())
    })
    .await;
    // The kernel drops what the server does not read in time; that must not be nearly all.
    let read = sfu.stats().socket.datagrams_received - received;
    assert!(read > u64::from(FRAGMENTS) / 50, "only {read} datagrams reached the server");
}

/// A DTLS record with one byte at `offset` of a ClientHello of 64 KiB (RFC 6347 sections 4.1 and 4.2.2).
fn fragment(offset: u32) -> Vec<u8> {
    let number = offset.to_be_bytes();
    let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
    datagram.extend_from_slice(&number);
    datagram.extend_from_slice(&[0, 13, 1, 1, 0xff, 0xff, 0, 0]);
    datagram.extend_from_slice(&number[1..]);
    datagram.extend_from_slice(&[0, 0, 1, 7]);
    datagram
}

/// VmRSS of this process, of which the server is a part.
fn memory_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors() -> i64 {
    fs::read_dir("/proc/self/fd").expect("Linux").count() as i64
}
