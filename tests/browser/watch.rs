//! WebRTC viewers of an RTMP source.

use media::Kind;
use serde_json::json;
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number};

#[tokio::test(flavor = "multi_thread")]
async fn chromium_plays_an_rtmp_stream_by_whep() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 10 });
    let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["stats"]["srtp"], "SRTP_AEAD_AES_128_GCM", "{seen:#}");
    assert_eq!(seen["backwards"], 0, "{seen:#}");
    // How many pictures a busy source draws in a second is its own affair; that its seconds are as long here is not.
    assert!((0.9..1.1).contains(&number(&seen, "speed")), "a second of the source takes a second: {seen:#}");
    assert!(number(&seen, "stamped") > 100.0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    assert!(number(&seen, "latencyMedianMs") < 1000.0, "well below a second: {seen:#}");
    assert_eq!(seen["deleteStatus"], 200, "{seen:#}");
    stage.stop().await;
}

/// The page plays by the gateway, says so, and chat is beside it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_plays_by_webrtc_and_says_how_late() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 8, "expectMode": "webrtc" });
    let seen = run_script("watch.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["state"]["mode"], "webrtc", "{seen:#}");
    assert!(seen["text"].as_str().is_some_and(|text| text.contains("WebRTC 0.")), "{seen:#}");
    assert!(number(&seen, "stamped") > 80.0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    stage.stop().await;
}

/// So many pictures of the second encoder are looked at: four seconds.
const PICTURES_AFTER: f64 = 100.0;

/// The encoder is killed and comes back within the grace window: the viewer stays and sees it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_stays_while_the_encoder_reconnects() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let first = StampedClip::rtmp(&stage.rtmp_url(), 50);
    let before = stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "seconds": 60, "afterStepBack": PICTURES_AFTER,
    });
    let mut scripts = tokio::task::JoinSet::new();
    scripts.spawn(run_script("whep.mjs", input, SCRIPT_TIMEOUT));
    // The viewer has watched for some seconds: 25 pictures and 50 packets of sound in each of them.
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    while stage.server().sfu().stats().core.packets_forwarded < 1000 {
        look.tick().await;
        assert!(scripts.try_join_next().is_none(), "the script ended before it saw anything");
    }
    let mut state = before.watch_state();
    drop(first);
    state.wait_for(|state| *state == media::StreamState::Reconnecting).await.expect("the stream lives");
    let _second = StampedClip::rtmp(&stage.rtmp_url(), 50);
    state.wait_for(|state| *state == media::StreamState::Live).await.expect("the stream lives");
    let seen = scripts.join_next().await.expect("one script").expect("the script runs");
    assert_eq!(stage.live(&[Kind::Video]).await.id(), before.id(), "the same key continues the same stream");
    // The second encoder counts from zero again: exactly one step back, and pictures after it.
    assert_eq!(seen["backwards"], 1, "{seen:#}");
    assert!(number(&seen, "stamped") > PICTURES_AFTER, "{seen:#}");
    stage.stop().await;
}
