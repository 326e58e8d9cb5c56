//! From the token in the server's log to a stream on the air, on our page.

use media::ChannelName;
use secrecy::ExposeSecret;
use serde_json::json;
use tests::{Stage, eventually, process, run_script, source};

use crate::SCRIPT_TIMEOUT;

const NEW: &str = "ana";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_account_makes_a_channel_and_a_key_that_goes_live() {
    let _alone = crate::alone().await;
    // As a server without a configuration file.
    let stage = Stage::start_with(|config| config.channels.clear()).await;
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
    encoder.kill();
    stage.stop().await;
}
