//! A long look, for figures: `SWIFTWATER_TEST_SECONDS=60 cargo test -p tests --test browser steady -- --nocapture`.

use media::Kind;
use serde_json::json;
use tests::source::{StampedClip, clip};
use tests::stage::CHANNEL;
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number, seconds};

/// A viewer sees no more gaps than one of the same clip over a peer connection inside the page, plus one; and
/// two seconds after joining, a second viewer is as late as the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_as_steady_as_a_connection_inside_the_page() {
    let seconds = seconds(10);
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "seconds": seconds, "join": true, "clip": clip(),
    });
    let seen = run_script("steady.mjs", input, SCRIPT_TIMEOUT).await;
    let latency = stage.server().sfu().stats().forward_latency;
    eprintln!("{seen:#}\nserver's own share: {latency:?}");
    let (viewer, control) = (&seen["viewer"], &seen["control"]);
    assert!(number(viewer, "gapsOver200ms") <= number(control, "gapsOver200ms") + 1.0, "{seen:#}");
    assert_eq!(viewer["backwards"], 0, "{seen:#}");
    let rate = number(viewer, "counterPerSecond");
    assert!((24.0..26.0).contains(&rate), "the source's 25 per second: {seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    // 30 ms is the promise; the rest is for frames that a busy machine shows one later.
    assert!(number(&seen["join"], "apartMs").abs() <= 30.0 + 40.0, "{seen:#}");
    stage.stop().await;
}
