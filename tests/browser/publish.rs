//! Publishing by WHIP: from a browser and from ffmpeg.

use media::Kind;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, run_script};

use crate::lips::assert_together;
use crate::{SCRIPT_TIMEOUT, number, seconds};

async fn publish(codec: &str, hls: bool) -> Value {
    let stage = Stage::start().await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "codec": codec, "seconds": seconds(10),
        "hls": hls,
    });
    let seen = run_script("publish.mjs", input, SCRIPT_TIMEOUT).await;
    stage.stop().await;
    eprintln!("{seen:#}");
    seen
}

fn assert_plays(seen: &Value) {
    assert!(number(seen, "stamped") > 80.0, "{seen:#}");
    assert_eq!(seen["backwards"], 0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_publishes_h264_and_others_watch_by_webrtc_and_hls() {
    let _alone = crate::alone().await;
    let seen = publish("H264", true).await;
    assert_plays(&seen["webrtc"]);
    assert_eq!(seen["webrtc"]["stats"]["codec"], "video/H264", "{seen:#}");
    assert_plays(&seen["hls"]);
    assert_eq!(seen["hls"]["errors"], json!([]), "{seen:#}");
    // Sound against picture by ear and eye, where the page's own audio path does not distort it.
    assert_together(&seen, "hls");
    assert_eq!(seen["deleteStatus"], 200, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_publishes_vp8_and_others_watch_by_webrtc() {
    let _alone = crate::alone().await;
    let seen = publish("VP8", false).await;
    assert_plays(&seen["webrtc"]);
    assert_eq!(seen["webrtc"]["stats"]["codec"], "video/VP8", "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_publishes_vp9_and_others_watch_by_webrtc() {
    let _alone = crate::alone().await;
    let seen = publish("VP9", false).await;
    assert_plays(&seen["webrtc"]);
    assert_eq!(seen["webrtc"]["stats"]["codec"], "video/VP9", "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_publishes_av1_and_others_watch_by_webrtc() {
    let _alone = crate::alone().await;
    let seen = publish("AV1", false).await;
    assert_plays(&seen["webrtc"]);
    assert_eq!(seen["webrtc"]["stats"]["codec"], "video/AV1", "{seen:#}");
}

/// A tone on the left and another on the right, heard so by who asks for two channels.
#[tokio::test(flavor = "multi_thread")]
async fn sound_keeps_its_two_channels() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "seconds": 4 });
    let seen = run_script("stereo.mjs", input, SCRIPT_TIMEOUT).await;
    stage.stop().await;
    for (channel, own, other) in [("left", "low", "high"), ("right", "high", "low")] {
        let (own, other) = (number(&seen[channel], own), number(&seen[channel], other));
        assert!(own > 0.05 && own > 10.0 * other, "{channel}: {seen:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_by_whip_and_chromium_watches() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let _clip = StampedClip::whip(&stage.url("/whip"), KEY, 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 8 });
    let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
    assert_plays(&seen);
    stage.stop().await;
}
