//! Channels that are not for everybody, on our page: what keeps a viewer out, what lets him in, grants that end while he
//! watches, links with a grant, and what such a channel has left.

use std::time::Duration;

use media::Kind;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, eventually, process, run_script, source};

use crate::{SCRIPT_TIMEOUT, number};

const PASSWORD: &str = "correct horse";

/// Grants of three seconds, which the server takes for ten more, are watched for 22 s.
const TOKENS_MIN: f64 = 4.0;

/// Gives the channel a visibility; the cookie of its administrator.
async fn shut(stage: &Stage, visibility: &str) -> String {
    let token = stage.server().setup_token().expect("there is no account yet").expose_secret().to_owned();
    let client = reqwest::Client::new();
    let body = json!({ "token": token, "login": "ana", "password": PASSWORD });
    let answer = client.post(stage.url("/api/v1/setup")).json(&body).send().await.expect("HTTP answers");
    let cookie = answer.headers()["set-cookie"].to_str().expect("ASCII").to_owned();
    let change = client.patch(stage.url(&format!("/api/v1/channels/{CHANNEL}"))).header("cookie", &cookie);
    let changed = change.json(&json!({ "visibility": visibility })).send().await.expect("HTTP answers");
    assert!(changed.status().is_success(), "{changed:?}");
    cookie
}

/// The channel is for its followers, and `bob` is none yet.
async fn for_followers(stage: &Stage) {
    shut(stage, "followers").await;
    let bob = json!({ "login": "bob", "password": PASSWORD });
    let made = reqwest::Client::new().post(stage.url("/api/v1/users")).json(&bob);
    let made = made.send().await.expect("HTTP answers");
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
        "flags": flags, "expectMode": mode, "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_link_with_a_grant_opens_a_channel_live_and_what_it_has_left() {
    let _alone = crate::alone().await;
    let stage = Stage::start_with(|config| config.publish.reconnect_grace_s = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    let cookie = shut(&stage, "signed").await;
    let asked = reqwest::Client::new().post(stage.url(&format!("/api/v1/channels/{CHANNEL}/grants")));
    let asked = asked.header("cookie", cookie).json(&json!({ "subject": "a friend", "seconds": 3600 }));
    let made: Value = asked.send().await.expect("HTTP answers").json().await.expect("JSON");
    let grant = made["token"].as_str().expect("a token");
    let visit = async |over: bool| {
        let input = json!({
            "origin": stage.url(""), "channel": CHANNEL, "grant": grant, "over": over, "login": "ana",
            "password": PASSWORD, "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
        });
        let seen = run_script("link.mjs", input, SCRIPT_TIMEOUT).await;
        assert_eq!(seen["errors"], json!([]), "{seen:#}");
        for outside in ["guest", "forged"] {
            assert_eq!(seen[outside], "none", "{outside} sees nothing: {seen:#}");
        }
        seen
    };
    let live = visit(false).await;
    for (way, mode, opened) in
        [("gateway", "webrtc", None), ("whep", "webrtc", Some("whep 201")), ("hls", "hls", Some("hls"))]
    {
        assert_eq!(live[way]["mode"], mode, "{live:#}");
        assert!(number(&live[way], "frames") > 10.0, "{way} moves: {live:#}");
        let by = live[way]["opened"].as_array().expect("a list");
        assert!(opened.is_none_or(|opened| by.contains(&json!(opened))), "by {way}: {live:#}");
    }
    publisher.kill();
    // The operator, on the server itself, sees all of them.
    eventually("the recording plays", Duration::from_secs(40), async || {
        let answer = reqwest::get(stage.url(&format!("/api/v1/recordings/{id}"))).await.ok()?;
        answer.json::<Value>().await.ok()?["hls"].is_string().then_some(())
    })
    .await;
    let over = visit(true).await;
    assert_eq!(over["signed"], 200, "{over:#}");
    for who in ["link", "owner"] {
        assert_eq!((&over[who]["mode"], &over[who]["vod"]), (&json!("recording"), &json!(true)), "{over:#}");
        assert!(number(&over[who], "frames") > 10.0, "{who} sees it move: {over:#}");
    }
    stage.stop().await;
}
