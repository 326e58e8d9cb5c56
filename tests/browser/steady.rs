//! A long look, for figures: `SWIFTWATER_TEST_SECONDS=60 cargo test -p tests --test browser steady -- --nocapture`.

use media::Kind;
use serde_json::json;
use tests::source::{StampedClip, clip};
use tests::stage::CHANNEL;
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number, seconds};

/// The picture runs at the source's rate and in order. With `SWIFTWATER_TEST_SECONDS` the same clip plays beside it over
/// a connection inside the page, whose gaps are the machine's: the viewer may see one more. It costs an encoder, so
/// that the suite goes without it; and how late a second viewer is against the first is printed, not judged, since
/// on a busy machine it is the browser's affair.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_steady() {
    let _alone = crate::alone().await;
    let figures = tests::process::setting("SWIFTWATER_TEST_SECONDS").is_some();
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "seconds": seconds(10), "join": true,
        "clip": figures.then(clip),
    });
    let seen = run_script("steady.mjs", input, SCRIPT_TIMEOUT).await;
    let latency = stage.server().sfu().stats().forward_latency;
    eprintln!("{seen:#}\nserver's own share: {latency:?}");
    let viewer = &seen["viewer"];
    assert_eq!(viewer["backwards"], 0, "{seen:#}");
    assert!(number(viewer, "stamped") > 100.0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    if figures {
        let control = number(&seen["control"], "gapsOver200ms");
        assert!(number(viewer, "gapsOver200ms") <= control + 1.0, "{seen:#}");
    }
    stage.stop().await;
}
