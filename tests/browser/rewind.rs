//! Back in time on our page: from WebRTC to HLS, and to the present again.

use media::Kind;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, process, run_script};

use crate::{SCRIPT_TIMEOUT, number};

/// How far the viewer goes back.
const BACK_S: f64 = 20.0;

/// What loading takes comes on top, on a machine that an encoder, a server and a browser share.
const SLACK_MS: f64 = 6000.0;

async fn go_back_and_return(flags: Value, via: Option<&str>) -> Value {
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp_small(&stage.rtmp_url(), 60);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "backSeconds": BACK_S, "flags": flags, "via": via,
        "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("rewind.mjs", input, SCRIPT_TIMEOUT).await;
    stage.stop().await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    // The clock that is burned into the picture says where in time it is; its counter, that it moves.
    let before = number(&seen["before"], "latencyMedianMs");
    let back = number(&seen["back"], "latencyMedianMs");
    let wanted = before + BACK_S * 1000.0;
    // How late the picture of before was, the page and we measure at different times.
    assert!((BACK_S * 1000.0 - 2500.0..wanted + SLACK_MS).contains(&back), "{back} ms behind: {seen:#}");
    assert_eq!(
        (&seen["back"]["mode"], &seen["back"]["state"]),
        (&json!("hls"), &json!("playing")),
        "{seen:#}"
    );
    assert_eq!(seen["back"]["backwards"], 0, "{seen:#}");
    assert!(number(&seen["back"], "distinct") > 20.0, "{seen:#}");
    let further = number(&seen["further"], "latencyMedianMs") - back;
    assert!((3500.0..5000.0 + SLACK_MS).contains(&further), "five seconds further back: {seen:#}");
    // Without its place it would be at the present again.
    assert!(number(&seen["resumed"], "latencyMedianMs") > back, "a pause keeps its place: {seen:#}");
    let words = |at: usize| seen["said"][at].as_str().unwrap_or_default().to_owned();
    assert_eq!((words(0), words(2)), ("Live".to_owned(), "Live".to_owned()), "{seen:#}");
    assert!(words(1).ends_with("seconds behind live"), "{seen:#}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_by_webrtc_goes_back_and_returns_to_webrtc() {
    let _alone = crate::alone().await;
    let seen = go_back_and_return(json!([]), None).await;
    assert_eq!(seen["before"]["mode"], "webrtc", "{seen:#}");
    assert_eq!(seen["present"]["mode"], "webrtc", "{seen:#}");
    assert!(number(&seen["present"], "latencyMedianMs") < 1000.0, "live is live: {seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_by_hls_goes_back_and_returns_to_the_edge() {
    let _alone = crate::alone().await;
    let seen = go_back_and_return(json!([]), Some("hls")).await;
    assert_eq!(seen["before"]["mode"], "hls", "{seen:#}");
    assert_eq!(seen["present"]["mode"], "hls", "{seen:#}");
    assert!(number(&seen["present"], "latencyMedianMs") < 6000.0, "near the edge again: {seen:#}");
}
