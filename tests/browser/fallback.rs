//! Viewers who cannot be served by WebRTC get LL-HLS by themselves, and are told why.

use media::Kind;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number};

/// Promised to users: a moving picture within five seconds of opening the page, fallback or not. The rest
/// is for a machine on which an encoder, a server and a browser share two cores.
const FALLBACK_MS_MAX: f64 = 5000.0 + 3000.0;

async fn watch(stage: &Stage, more: Value) -> Value {
    let mut input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 8 });
    if let (Value::Object(input), Value::Object(more)) = (&mut input, more) {
        input.extend(more);
    }
    let seen = run_script("watch.mjs", input, SCRIPT_TIMEOUT).await;
    eprintln!("{seen:#}");
    seen
}

/// Waits until the packager has something to play: what is tested is the fallback, not the start of a stream.
async fn playable(stage: &Stage) {
    let master = stage.url(&format!("/hls/{CHANNEL}/master.m3u8"));
    for _ in 0..10 {
        if reqwest::get(&master).await.is_ok_and(|response| response.status().is_success()) {
            return;
        }
    }
    panic!("no playlist");
}

fn assert_plays_by_hls(seen: &Value, why: &str) {
    assert_eq!(seen["state"]["mode"], "hls", "{seen:#}");
    assert!(seen["text"].as_str().is_some_and(|text| text.contains(why)), "{why}: {seen:#}");
    assert!(number(seen, "playingMs") < FALLBACK_MS_MAX, "{seen:#}");
    assert!(number(seen, "stamped") > 60.0, "{seen:#}");
    assert_eq!(seen["backwards"], 0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    assert!(number(seen, "latencyMedianMs") < 6000.0, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_udp_falls_back_to_hls() {
    let _alone = crate::alone().await;
    // With ICE-TCP it would stay with WebRTC.
    let stage = Stage::start_with(|config| config.rtc.tcp = false).await;
    let _clip = StampedClip::rtmp_small(&stage.rtmp_url(), 60);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    playable(&stage).await;
    // The browser may not use UDP at all.
    let flags = json!(["--webrtc-ip-handling-policy=disable_non_proxied_udp"]);
    let seen = watch(&stage, json!({ "flags": flags })).await;
    assert_plays_by_hls(&seen, "UDP");
    // UDP goes out and nothing comes back: a port of ours that never answers.
    let hole = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = hole.local_addr().expect("bound").port();
    let seen = watch(&stage, json!({ "swallow": port })).await;
    assert_plays_by_hls(&seen, "UDP");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_fall_back_to_hls_and_the_page_says_what_to_change() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let url = stage.rtmp_url();
    // x264 with its defaults: three B-frames, a pyramid of references.
    let encode = [
        "-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-b:v", "2000k", "-c:a", "aac", "-f", "flv",
        &url,
    ];
    let _clip = StampedClip::start_small("ffmpeg", &encode);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    playable(&stage).await;
    let seen = watch(&stage, json!({})).await;
    assert_plays_by_hls(&seen, "B-frames");
    let streams: Value =
        reqwest::get(stage.url("/api/v1/streams")).await.expect("API").json().await.expect("JSON");
    assert_eq!(streams["items"][0]["notices"][0]["code"], "b_frames", "{streams:#}");
    stage.stop().await;
}
