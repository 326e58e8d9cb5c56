//! A channel for followers, on our page: what keeps a viewer out, what lets him in, and grants that end while he watches.

use media::Kind;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, process, run_script};

use crate::{SCRIPT_TIMEOUT, number};

const PASSWORD: &str = "correct horse";

/// Grants of three seconds, which the server takes for ten more, are watched for 22 s.
const TOKENS_MIN: f64 = 4.0;

/// The channel is for its followers, and `bob` is none yet.
async fn for_followers(stage: &Stage) {
    let token = stage.server().setup_token().expect("there is no account yet").expose_secret().to_owned();
    let client = reqwest::Client::new();
    let body = json!({ "token": token, "login": "ana", "password": PASSWORD });
    let answer = client.post(stage.url("/api/v1/setup")).json(&body).send().await.expect("HTTP answers");
    let cookie = answer.headers()["set-cookie"].to_str().expect("ASCII").to_owned();
    let change = client.patch(stage.url(&format!("/api/v1/channels/{CHANNEL}"))).header("cookie", cookie);
    let changed = change.json(&json!({ "visibility": "followers" })).send().await.expect("HTTP answers");
    assert!(changed.status().is_success(), "{changed:?}");
    let bob = json!({ "login": "bob", "password": PASSWORD });
    let made = client.post(stage.url("/api/v1/users")).json(&bob).send().await.expect("HTTP answers");
    assert!(made.status().is_success(), "{made:?}");
}

async fn watch(tcp: bool, flags: Value, mode: &str) {
    let stage = Stage::start_with(|config| {
        config.rtc.tcp = tcp;
        config.accounts.sign_up = control::account::SignUp::Open;
    })
    .await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    for_followers(&stage).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "login": "bob", "password": PASSWORD, "seconds": 6,
        "flags": flags, "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("grants.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    assert_eq!(seen["guestMode"], "none", "nothing plays to a guest: {seen:#}");
    assert_eq!(seen["followed"]["mode"], mode, "{seen:#}");
    // The picture moves: its own counter says so.
    assert!(number(&seen["followed"], "distinct") > 10.0, "{seen:#}");
    assert_eq!(seen["followed"]["backwards"], 0, "{seen:#}");
    assert_eq!(seen["speaker"], "bob", "who is signed in speaks under their name: {seen:#}");
    // The first grant is long over, and nobody saw that.
    assert_eq!(seen["old"], 401, "{seen:#}");
    assert!(number(&seen, "tokens") >= TOKENS_MIN, "{seen:#}");
    assert_eq!(seen["renewed"]["mode"], "hls", "{seen:#}");
    assert_eq!(seen["renewed"]["backwards"], 0, "{seen:#}");
    assert!(number(&seen["renewed"], "distinct") > 100.0, "{seen:#}");
    let rate = number(&seen["renewed"], "counterPerSecond");
    // hls.js plays up to a tenth faster while it is behind, and waits where the machine is busy.
    assert!((15.0..30.0).contains(&rate), "it goes on at the source's 25 per second: {seen:#}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_for_followers_plays_to_who_follows_it() {
    let _alone = crate::alone().await;
    watch(true, json!([]), "webrtc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_for_followers_plays_by_hls_where_udp_is_blocked() {
    let _alone = crate::alone().await;
    watch(false, json!(["--webrtc-ip-handling-policy=disable_non_proxied_udp"]), "hls").await;
}
