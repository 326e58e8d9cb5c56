//! How far back live viewers may go is the channel's affair, within what the server allows; the recording keeps all of it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::{Stage, eventually, source};

use crate::person::{set_up, sign_up};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_says_how_far_back_his_viewers_may_go() {
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        config.publish.reconnect_grace_s = 0;
        config.hls.target_duration_min_s = 1;
        config.hls.window_segments = 6;
        config.hls.recording.rewind_s = 3600;
    })
    .await;
    let admin = set_up(&stage).await;
    let ana = sign_up(&stage, "owner").await;
    ana.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let path = "/api/v1/channels/show";
    let shown = ana.get(&stage, path).await;
    assert_eq!((&shown["rewindSeconds"], &shown["rewindMib"]), (&Value::Null, &Value::Null), "{shown}");
    // Less than the server, not more; and not of a channel that the configuration file has.
    for (body, status) in [
        (json!({ "rewindSeconds": 3601 }), 422),
        (json!({ "rewindMib": 15 }), 422),
        (json!({ "rewindMib": 99_999_999 }), 422),
        (json!({ "rewindSeconds": "long" }), 422),
        (json!({ "rewindSeconds": 600, "rewindMib": 64 }), 200),
        (json!({ "rewindMib": null }), 200),
    ] {
        assert_eq!(ana.status(&stage, Method::PATCH, path, Some(body.clone())).await, status, "{body}");
    }
    let shown = ana.get(&stage, path).await;
    assert_eq!((&shown["rewindSeconds"], &shown["rewindMib"]), (&json!(600), &Value::Null), "{shown}");
    let configured = format!("/api/v1/channels/{CHANNEL}");
    let body = Some(json!({ "rewindSeconds": 0 }));
    assert_eq!(admin.status(&stage, Method::PATCH, &configured, body.clone()).await, 409);
    assert_eq!(ana.status(&stage, Method::PATCH, path, body).await, 200);

    let key = ana.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let key = key["secret"].as_str().expect("shown once");
    let encoder = source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN);
    let begun = eventually("it is live", PATIENCE, async || {
        let recordings = ana.get(&stage, "/api/v1/recordings?channel=show").await;
        recordings["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    // Segments of picture and sound.
    eventually("more segments than memory keeps", PATIENCE, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 24.0).then_some(())
    })
    .await;
    let list = text(&stage.url(&format!("/hls/show/{begun}/video/index.m3u8"))).await;
    let first = list.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    assert!(first.is_some_and(|it| it != "0"), "the window and no more: {list}");
    encoder.kill();
    let vod = eventually("it plays from the recording", PATIENCE, async || {
        let url = stage.url(&format!("/vod/{begun}/video/index.m3u8"));
        let answer = reqwest::get(url).await.expect("an answer");
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    })
    .await;
    assert!(vod.contains("\ns0.m4s\n"), "the recording has all of it: {vod}");
    stage.stop().await;
}

async fn text(url: &str) -> String {
    reqwest::get(url).await.expect("an answer").text().await.expect("text")
}
