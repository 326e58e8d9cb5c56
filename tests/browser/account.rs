//! From the token in the server's log to a stream on the air, on our page.

use std::time::Duration;

use media::ChannelName;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::{Stage, eventually, process, run_script, source};

use crate::SCRIPT_TIMEOUT;

const NEW: &str = "ana";

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_first_account_makes_a_channel_and_a_key_that_goes_live() {
    let _alone = crate::alone().await;
    // As a server without a configuration file.
    let stage = Stage::start_with(|config| {
        config.channels.clear();
        config.publish.reconnect_grace_s = 1;
    })
    .await;
    let token = stage.server().setup_token().expect("there is no account yet").expose_secret().to_owned();
    let input = json!({
        "origin": stage.url(""), "token": token, "channel": NEW, "password": "correct horse",
        "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("account.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    assert!(seen["refused"].as_str().is_some_and(|words| words.contains("token")), "a wrong token: {seen:#}");
    assert_eq!(seen["shownAgain"], 0, "a key is shown once: {seen:#}");
    assert_eq!(seen["visibility"], "unlisted", "{seen:#}");
    let (server, key) = (seen["server"].as_str().expect("a URL"), seen["key"].as_str().expect("a key"));
    // What the page says goes into the encoder as it is.
    let encoder = source::pattern(&format!("{server}/{key}"), source::PLAIN);
    let channel = ChannelName::parse(NEW).expect("valid");
    eventually("the channel is live", SCRIPT_TIMEOUT, async || stage.server().hub().stream(&channel)).await;
    let id = stage.server().hub().stream(&channel).expect("live").id().to_string();
    eventually("some of it is on disk", PATIENCE, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 4.0).then_some(())
    })
    .await;
    encoder.kill();
    // What it left is the owner's, and for followers only from now on.
    let path = format!("/api/v1/recordings/{id}");
    let ready = eventually("the file is made", PATIENCE, async || {
        let found: Value = reqwest::get(stage.url(&path)).await.ok()?.json().await.ok()?;
        found["mp4Bytes"].is_u64().then_some(found)
    })
    .await;
    let input = json!({
        "origin": stage.url(""), "channel": NEW, "login": "ana", "password": "correct horse",
        "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("own_recordings.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    assert_eq!((&seen["opened"], &seen["head"]), (&json!(true), &json!("ftyp")), "{seen:#}");
    assert_eq!(seen["bytes"], ready["mp4Bytes"], "the whole file: {seen:#}");
    let gone = reqwest::get(stage.url(&path)).await.expect("HTTP answers").status();
    assert_eq!(gone, 404, "removed");
    stage.stop().await;
}
