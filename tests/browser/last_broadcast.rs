//! What a channel has left plays on its page while it is offline, until it is live again.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::{Stage, eventually, process, run_script, source};

use crate::{SCRIPT_TIMEOUT, number};

/// Longer than the steps that the script takes in it.
const SEGMENTS: f64 = 16.0;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_broadcast_plays_until_the_channel_is_live_again() {
    let _alone = crate::alone().await;
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    eventually("some of it is on disk", Duration::from_secs(90), async || {
        (stage.metric("swiftwater_recording_segments_total").await >= SEGMENTS).then_some(())
    })
    .await;
    publisher.kill();
    eventually("the recording plays", Duration::from_secs(40), async || {
        let answer = reqwest::get(stage.url(&format!("/api/v1/recordings/{id}"))).await.ok()?;
        let found: Value = answer.json().await.ok()?;
        found["hls"].is_string().then_some(())
    })
    .await;
    let input = json!({
        "origin": stage.url(""), "channel": tests::stage::CHANNEL, "rtmp": stage.rtmp_url(),
        "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("last_broadcast.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    let card = seen["card"].as_str().unwrap_or_default();
    assert!(card.starts_with("Last broadcast") && card.contains("ago"), "{seen:#}");
    for step in ["begun", "on", "again", "picked"] {
        assert_eq!(
            (&seen[step]["mode"], &seen[step]["state"]),
            (&json!("recording"), &json!("playing")),
            "{seen:#}"
        );
        assert!(
            number(&seen[step], "ran") > 0.5 && number(&seen[step], "frames") > 10.0,
            "{step} moves: {seen:#}"
        );
    }
    assert!(
        number(&seen["on"], "at") >= number(&seen["begun"], "at") + 5.0,
        "five seconds further on: {seen:#}"
    );
    assert!(seen["said"].as_str().is_some_and(|said| said.contains(" of ")), "{seen:#}");
    for step in ["live", "back"] {
        assert_eq!(seen[step]["mode"], "webrtc", "{seen:#}");
        assert!(number(&seen[step], "frames") > 10.0, "{step} moves: {seen:#}");
    }
    stage.stop().await;
}
