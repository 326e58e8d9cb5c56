//! Players of others play our HLS: pixels are read, and what the players complain of.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number, seconds};

/// Behind the burned-in clock: what part targets of 0.5 s promise, and room for a machine on which an encoder, a
/// server and a browser share two cores.
const LOW_LATENCY_MS_MAX: f64 = 2500.0 + 2000.0;
/// The default of the configuration.
const PART_TARGET: Duration = Duration::from_millis(500);

/// Pictures per second, of 30, that are no still.
const MOVES: f64 = 15.0;

/// Who goes back goes to before his first look.
const BEFORE_SECONDS: u64 = 4;

/// HOLD-BACK is three target durations of 2 s.
const LATENCY_MS_MAX: f64 = 6000.0 + 8000.0;

async fn plays(player: &str, browser: &str, settings: Value, latency_max: f64) {
    plays_parts_of(PART_TARGET, player, browser, settings, latency_max).await;
}

async fn plays_parts_of(
    part_target: Duration,
    player: &str,
    browser: &str,
    settings: Value,
    latency_max: f64,
) {
    let _alone = crate::alone().await;
    let stage = Stage::start_with(|config| {
        config.hls.part_target_ms = part_target.as_millis() as u32;
        // Who goes back is soon served from the recording.
        config.hls.window_segments = 6;
    })
    .await;
    let _clip = StampedClip::rtmp_small(&stage.rtmp_url(), 60);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let url = stage.url(&format!("/hls/{CHANNEL}/master.m3u8"));
    for _ in 0..10 {
        if reqwest::get(&url).await.is_ok_and(|response| response.status().is_success()) {
            break;
        }
    }
    let looked = seconds(10);
    let input = json!({
        "url": url, "player": player, "browser": browser, "seconds": looked, "settle": 6, "settings": settings,
        "latencyMax": latency_max,
        "back": (player == "hls.js").then_some(looked + BEFORE_SECONDS),
    });
    let seen = run_script("players.mjs", input, SCRIPT_TIMEOUT + Duration::from_secs(3 * looked)).await;
    eprintln!("{player} in {browser}: {seen:#}");
    assert!(number(&seen, "stamped") > MOVES * looked as f64, "the picture moves: {seen}");
    assert_eq!(seen["backwards"], 0, "{seen}");
    assert!(number(&seen, "latencyMedianMs") < latency_max, "{seen}");
    if player == "hls.js" {
        let (rewound, returned) = (&seen["rewound"], &seen["returned"]);
        let far = number(rewound, "backMs");
        assert!(far > 1000.0 * looked as f64, "{seen}");
        let went = number(rewound, "latencyMedianMs") - number(&seen, "latencyMedianMs");
        assert!((went - far).abs() < 2500.0, "went {went} ms back: {seen}");
        for there in [rewound, returned] {
            assert!(number(there, "stamped") > MOVES * 4.0, "the picture moves: {seen}");
        }
        assert!(number(returned, "latencyMedianMs") < latency_max, "{seen}");
    }
    let faults = seen["faults"].as_array().expect("a list");
    assert!(faults.iter().all(|fault| !fault.as_str().unwrap_or_default().starts_with("fatal")), "{seen}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_with_low_latency_in_chromium() {
    plays("hls.js", "chromium", json!({}), LOW_LATENCY_MS_MAX).await;
}

/// hls.js waits a second more for good whenever it stalled, unless it is told how long a part is. And where it was held up it stays
/// behind, unless it is told how far it may be: then it goes to the end again.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_parts_of_200_ms() {
    let settings =
        json!({ "liveSyncOnStallIncrease": 0.2, "liveSyncDuration": 0.65, "liveMaxLatencyDuration": 3 });
    plays_parts_of(Duration::from_millis(200), "hls.js", "chromium", settings, LOW_LATENCY_MS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_with_low_latency_in_firefox() {
    plays("hls.js", "firefox", json!({}), LOW_LATENCY_MS_MAX).await;
}

/// With low latency, Shaka 5.2 aborts its buffer before every part, and Chromium then drops the parts that begin without
/// a keyframe (docs/hls.md).
#[tokio::test(flavor = "multi_thread")]
async fn shaka_plays_whole_segments() {
    plays("shaka", "chromium", json!({ "streaming": { "lowLatencyMode": false } }), LATENCY_MS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn video_js_plays_with_low_latency() {
    plays("video.js", "chromium", json!({}), LOW_LATENCY_MS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_a_browser_are_variants_that_hls_js_goes_through() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "codec": "H264" });
    let seen = run_script("variants.mjs", input, SCRIPT_TIMEOUT).await;
    eprintln!("{seen:#}");
    let text = seen["text"].as_str().expect("a playlist");
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 3, "{text}");
    for resolution in ["320x180", "640x360", "1280x720"] {
        assert!(text.contains(&format!("RESOLUTION={resolution}")), "{text}");
    }
    let levels = seen["seen"].as_array().expect("levels");
    assert_eq!(levels.len(), 3, "{seen:#}");
    for level in levels {
        assert!(number(level, "stamped") > 30.0, "the picture moves: {level:#}");
    }
    stage.stop().await;
}
