//! What a stream leaves plays and seeks in Chromium.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::{Stage, eventually, run_script, source};

use crate::SCRIPT_TIMEOUT;

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_plays_and_seeks() {
    let _alone = crate::alone().await;
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    eventually("ten seconds of it", Duration::from_secs(60), async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 10.0).then_some(())
    })
    .await;
    publisher.kill();
    let ready = eventually("the recording is ready", Duration::from_secs(40), async || {
        let answer = reqwest::get(stage.url(&format!("/api/v1/recordings/{id}"))).await.ok()?;
        let found: Value = answer.json().await.ok()?;
        (found["state"] == "ready").then_some(found)
    })
    .await;
    let urls: Vec<&Value> = vec![&ready["mp4"], &ready["hls"]];
    let input = json!({ "origin": stage.url(""), "urls": urls });
    let seen = run_script("recording.mjs", input, SCRIPT_TIMEOUT).await;
    let seconds = ready["durationMs"].as_f64().expect("a number") / 1000.0;
    for way in seen.as_array().expect("a list") {
        assert!((way["duration"].as_f64().expect("a number") - seconds).abs() < 0.3, "{seconds}: {seen:#}");
        assert_eq!(way["width"], 320, "{seen:#}");
        let places = way["places"].as_array().expect("places");
        let mut before = (0.0, 0.0);
        for place in places {
            let number = |name: &str| place[name].as_f64().expect("a number");
            let (at, to) = (number("at"), number("to"));
            assert!(at >= to && at < to + 4.0, "{seen:#}");
            // 25 pictures per second and sound, from each place on.
            assert!(number("frames") > before.0 + 10.0 && number("sound") > before.1, "{seen:#}");
            before = (number("frames"), number("sound"));
        }
    }
    stage.stop().await;
}
