//! Hooks: a backend written for SRS decides who publishes and who watches; what publishers and viewers see when it
//! is dead, slow, or lies.

use std::time::Duration;

use control::hooks::Keys;
use media::Kind;
use serde_json::{Value, json};
use tests::backend::{BrokenBackend, HookBackend};
use tests::stage::CHANNEL;
use tests::viewer::Offer;
use tests::{Gateway, Process, Stage, eventually, log, source};

/// Keys of the backend, known to nobody else.
const GOOD: &str = "sk_good_5b1f";
const BLOCKED: &str = "sk_blocked_c09e";

/// A real encoder's offer.
const PUBLISH: &str = include_str!("../../sfu/tests/fixtures/offers/obs.offer.sdp");

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_written_for_srs_decides_who_publishes() {
    let backend = HookBackend::start().await;
    let stage = Stage::shared_with(|config| {
        config.channels[0].keys.clear();
        config.hooks.keys = Keys::Backend;
        config.hooks.on_publish = backend.hook("/hooks/stream/start");
        config.hooks.on_unpublish = backend.hook("/hooks/stream/stop");
    })
    .await;
    let rtmp = format!("rtmp://{}/live/{CHANNEL}", stage.rtmp_address());

    // RTMP: refused in the backend's own words, then let in, and told of when it leaves.
    for key in [BLOCKED, "sk_unknown_77"] {
        let (status, said) = ended(source::pattern(&format!("{rtmp}/{key}"), source::PLAIN)).await;
        assert!(!status.success() && said.contains("Refused by this site: Invalid stream key"), "{said}");
    }
    let publisher = source::pattern(&format!("{rtmp}/{GOOD}"), source::PLAIN);
    stage.live(&[Kind::Video]).await;
    let asked = backend.heard("on_publish").await;
    let asked = asked.last().expect("asked");
    for (key, value) in [
        ("stream", GOOD),
        ("app", "live/stage"),
        ("param", ""),
        ("vhost", "__defaultVhost__"),
        ("ip", "127.0.0.1"),
    ] {
        assert_eq!(asked[key], value, "{asked}");
    }
    assert_eq!(backend.heard("on_unpublish").await, Vec::<Value>::new());
    publisher.kill();
    let told = heard(&backend, "on_unpublish", 1).await;
    assert_eq!(told[0]["client_id"], asked["client_id"]);

    // WHIP: the same words in a problem document.
    let whip = async |path: &str, key: Option<&str>| {
        let mut request =
            reqwest::Client::new().post(stage.url(path)).header("content-type", "application/sdp");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request.body(PUBLISH).send().await.expect("HTTP answers")
    };
    let refused = whip("/whip/stage", Some(BLOCKED)).await;
    assert_eq!(refused.status().as_u16(), 403);
    let problem: Value = refused.json().await.expect("JSON");
    assert_eq!(problem["detail"], "Refused by this site: Invalid stream key");
    // The backend knows the key, but neither it nor the URL says the channel.
    let nowhere = whip("/whip", Some(GOOD)).await;
    assert_eq!(nowhere.status().as_u16(), 403);
    assert!(nowhere.text().await.expect("text").contains("which channel"));
    heard(&backend, "on_unpublish", 2).await;
    let accepted = whip("/whip/stage", Some(GOOD)).await;
    assert_eq!(accepted.status().as_u16(), 201);
    let session = accepted.headers()["location"].to_str().expect("ASCII").to_owned();
    let session = if session.starts_with('/') { stage.url(&session) } else { session };
    reqwest::Client::new().delete(session).send().await.expect("HTTP answers");
    let told = heard(&backend, "on_unpublish", 3).await;
    assert_eq!((&told[2]["stream"], &told[2]["app"]), (&json!(GOOD), &json!("live/stage")));

    for key in [GOOD, BLOCKED, "sk_unknown_77"] {
        assert_eq!(log::lines(&[key]), Vec::<String>::new(), "keys are not logged");
    }
    // The third within two seconds of the first would need no question.
    assert!(stage.metric("swiftwater_hooks_publishers_total{outcome=\"refused\"}").await >= 2.0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_written_for_srs_decides_who_watches() {
    let backend = HookBackend::start().await;
    let stage = Stage::shared_with(|config| {
        config.hooks.on_play = backend.hook("/hooks/stream/view");
        config.hooks.on_stop = backend.hook("/hooks/stream/stop");
        config.hooks.cache_ms = 0;
    })
    .await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;

    // WHEP: by the query or by the bearer token, and told of when the session ends.
    let offer = Offer::new().await;
    let refused = whep(&stage, "", &offer).await;
    assert_eq!(refused.status().as_u16(), 403);
    let problem: Value = refused.json().await.expect("JSON");
    assert_eq!(problem["detail"], "Refused by this site: Buy a ticket first");
    let (_, session, _) = offer.open(&format!("{}?ticket=paid", stage.whep_url())).await;
    let asked = backend.heard("on_play").await;
    let asked = asked.last().expect("asked");
    for (key, value) in [("stream", CHANNEL), ("app", "live"), ("param", "?ticket=paid"), ("ip", "127.0.0.1")]
    {
        assert_eq!(asked[key], value, "{asked}");
    }
    let session = if session.starts_with('/') { stage.url(&session) } else { session };
    reqwest::Client::new().delete(session).send().await.expect("HTTP answers");
    assert_eq!(heard(&backend, "on_stop", 1).await[0]["client_id"], asked["client_id"]);

    // The gateway: by the query of its URL.
    let play =
        json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": Offer::new().await.sdp() });
    let mut stranger = Gateway::hello(&stage).await;
    let error = stranger.ask(play.clone()).await;
    assert_eq!((&error["error"]["code"], &error["error"]["retryable"]), (&json!("forbidden"), &json!(false)));
    assert_eq!(error["error"]["message"], "Refused by this site: Buy a ticket first");
    let mut guest = Gateway::hello_with(&stage, "?ticket=paid").await;
    let answer = guest.ask(play).await;
    assert_eq!(answer["type"], "rtc.answer", "{answer}");
    guest.ask(json!({ "type": "rtc.close", "pc": answer["pc"] })).await;
    heard(&backend, "on_stop", 2).await;

    // HLS: by the query of the multivariant playlist; its address may then ask for what that names.
    let get = async |path: &str| reqwest::get(stage.url(path)).await.expect("HTTP answers");
    let master = format!("/hls/{CHANNEL}/master.m3u8");
    let refused = get(&master).await;
    assert_eq!(refused.status().as_u16(), 403);
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert!(refused.text().await.expect("text").contains("Buy a ticket first"));
    let stream = stage.live(&[]).await.id();
    let media = format!("/hls/{CHANNEL}/{stream}/video/index.m3u8");
    assert_eq!(get(&media).await.status().as_u16(), 403, "nor can he who knows the inner URL");
    let playlist = eventually("the first segment", Duration::from_secs(30), async || {
        Some(get(&format!("{master}?ticket=paid")).await).filter(|it| it.status().as_u16() == 200)
    })
    .await;
    assert!(playlist.headers()["cache-control"].to_str().expect("ASCII").starts_with("private"));
    let playlist = playlist.text().await.expect("text");
    let named = playlist.lines().find(|line| !line.is_empty() && !line.starts_with('#')).expect("a variant");
    let media = format!("/hls/{CHANNEL}/{named}");
    assert_eq!(get(&media).await.status().as_u16(), 200, "{media}");
    let asked = backend.heard("on_play").await.len();
    assert_eq!(get(&media).await.status().as_u16(), 200);
    assert_eq!(backend.heard("on_play").await.len(), asked, "a part costs no question");
    // Page, chat and API are not viewers.
    assert_eq!(get("/api/v1/streams").await.status().as_u16(), 200);
    assert_eq!(log::lines(&["ticket=paid"]), Vec::<String>::new(), "parameters are not logged");
    stage.stop().await;
    heard(&backend, "on_stop", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_dead_slow_or_lies_lets_nobody_in_and_everybody_hears_that_it_may_pass() {
    for (name, backend) in [
        ("dead", BrokenBackend::dead().await),
        ("slow", BrokenBackend::slow().await),
        ("html", BrokenBackend::lying("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>0</html>\n").await),
        ("empty", BrokenBackend::lying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await),
        ("error", BrokenBackend::lying("HTTP/1.1 500 Oops\r\ncontent-length: 1\r\n\r\n0").await),
        (
            "elsewhere",
            BrokenBackend::lying("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 1\r\n\r\n0").await,
        ),
    ] {
        // Two stages: viewers need a publisher, who needs another door.
        let stage = Stage::shared_with(|config| {
            config.hooks.on_publish = backend.hook();
            config.hooks.timeout_ms = 500;
        })
        .await;
        let (status, said) = ended(source::pattern(&stage.rtmp_url(), source::PLAIN)).await;
        assert!(!status.success(), "{name}");
        assert!(
            said.contains("The server cannot take streams at the moment: try again in a minute"),
            "{name}: {said}"
        );
        let request =
            reqwest::Client::new().post(stage.url("/whip")).header("content-type", "application/sdp");
        let response =
            request.bearer_auth(tests::stage::KEY).body(PUBLISH).send().await.expect("HTTP answers");
        assert_eq!(response.status().as_u16(), 503, "{name}");
        assert_eq!(response.headers()["retry-after"], "30", "{name}");
        assert!(stage.server().hub().streams().is_empty(), "{name}");
        assert!(!log::lines(&["the hook backend gives no clear answer", "on_publish"]).is_empty(), "{name}");
        stage.stop().await;

        let stage = Stage::shared_with(|config| {
            config.hooks.on_play = backend.hook();
            config.hooks.timeout_ms = 500;
        })
        .await;
        let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
        stage.live(&[Kind::Video]).await;
        let offer = Offer::new().await;
        let response = whep(&stage, "", &offer).await;
        assert_eq!(response.status().as_u16(), 503, "{name}");
        assert_eq!(response.headers()["retry-after"], "10", "{name}");
        let hls =
            reqwest::get(stage.url(&format!("/hls/{CHANNEL}/master.m3u8"))).await.expect("HTTP answers");
        assert_eq!(
            (hls.status().as_u16(), &hls.headers()["retry-after"]),
            (503, &"5".parse().expect("a value")),
            "{name}"
        );
        let mut gateway = Gateway::hello(&stage).await;
        let play = json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": offer.sdp() });
        let error = gateway.ask(play).await;
        assert_eq!(
            (&error["error"]["code"], &error["error"]["retryable"]),
            (&json!("unavailable"), &json!(true)),
            "{name}"
        );
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_may_fail_open_stops_nobody() {
    let backend = BrokenBackend::dead().await;
    let stage = Stage::shared_with(|config| {
        config.hooks.on_publish = backend.hook();
        config.hooks.on_play = backend.hook();
        config.hooks.fail_open = true;
    })
    .await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video]).await;
    Offer::new().await.post(&stage.whep_url()).await;
    assert_eq!(stage.metric("swiftwater_hooks_opened_total").await, 2.0);
    stage.stop().await;
}

async fn whep(stage: &Stage, query: &str, offer: &Offer) -> reqwest::Response {
    let url = format!("{}{query}", stage.whep_url());
    let request = reqwest::Client::new().post(url).header("content-type", "application/sdp");
    request.body(offer.sdp().to_owned()).send().await.expect("HTTP answers")
}

/// Waits until the backend has heard so many of an action.
async fn heard(backend: &HookBackend, action: &str, count: usize) -> Vec<Value> {
    let enough = async || Some(backend.heard(action).await).filter(|heard| heard.len() >= count);
    eventually(&format!("{count} {action}"), Duration::from_secs(30), enough).await
}

async fn ended(process: Process) -> (std::process::ExitStatus, String) {
    tokio::task::spawn_blocking(|| process.wait(Duration::from_secs(30))).await.expect("it ran")
}
