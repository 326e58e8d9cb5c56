//! End to end with a real browser: what a viewer sees and hears.

use std::time::Duration;

use media::Kind;
use serde_json::json;
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, run_script};

/// A browser takes seconds to start on a busy machine; a test that takes longer than this hangs.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn chromium_plays_an_rtmp_stream_by_whep() {
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 10, "joins": 3 });
    let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["stats"]["srtp"], "SRTP_AEAD_AES_128_GCM", "{seen}");
    assert_eq!(seen["backwards"], 0, "{seen}");
    let rate = seen["counterPerSecond"].as_f64().expect("a number");
    assert!((20.0..30.0).contains(&rate), "the counter runs at the source's 25 per second: {seen}");
    assert!(seen["stamped"].as_u64() > Some(100), "{seen}");
    assert!(seen["sound"]["loudest"].as_f64() > Some(0.01), "{seen}");
    assert!(seen["latencyMedianMs"].as_f64().is_some_and(|ms| ms < 1000.0), "{seen}");
    assert_eq!(seen["deleteStatus"], 200, "{seen}");
    stage.stop().await;
}
