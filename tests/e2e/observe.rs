//! What the server says of itself: metrics, peers by the API, peers by the gateway.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::viewer::Offer;
use tests::{Gateway, Stage, Viewer, eventually, exposition, source};

async fn peers(stage: &Stage) -> Value {
    let url = stage.url(&format!("/api/v1/streams/{CHANNEL}/peers"));
    let response = reqwest::get(url).await.expect("HTTP answers");
    assert_eq!(response.status().as_u16(), 200);
    response.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_prometheus_reads_and_each_says_what_it_means() {
    let stage = Stage::shared().await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(30).await;
    // Live ones only: not of the burst with which the viewer began. It comes once a second.
    eventually("a keyframe that was measured", Duration::from_secs(20), async || {
        let measured = stage.metric("swiftwater_sfu_forward_latency_keyframe_seconds_count").await;
        (measured > 0.0).then_some(())
    })
    .await;
    let response = reqwest::get(stage.url("/metrics")).await.expect("HTTP answers");
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let families = exposition::read(&response.text().await.expect("text"));
    // Only those of the table have a HELP line.
    let bare: Vec<&String> = families.iter().filter(|(_, it)| it.help.is_none()).map(|it| it.0).collect();
    assert!(bare.is_empty(), "without a row in server/src/metrics/table.rs: {bare:?}");
    for (family, label) in [
        ("swiftwater_sfu_viewers_connected", ""),
        ("swiftwater_sfu_packets_dropped_total", "reason=\"stale\""),
        ("swiftwater_sfu_peers_refused_total", "limit=\"overload\""),
        ("swiftwater_sfu_shard_overload_level", "shard=\"0\""),
        ("swiftwater_sfu_shard_busy_ratio", "shard=\"0\""),
        ("swiftwater_hls_parts_total", ""),
    ] {
        let samples = families.get(family).map(|it| &it.samples[family]);
        let found = samples.is_some_and(|samples| samples.iter().any(|(labels, _)| labels == label));
        assert!(found, "{family}{{{label}}} among {families:#?}");
    }
    for kind in ["audio", "video", "keyframe"] {
        let name = format!("swiftwater_sfu_forward_latency_{kind}_seconds");
        assert!(families[&name].samples[&format!("{name}_count")][0].1 > 0.0, "{name}");
    }
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_how_each_peer_is_doing_but_not_to_everybody() {
    let stage = Stage::shared().await;
    let url = stage.url(&format!("/api/v1/streams/{CHANNEL}/peers"));
    let client = reqwest::Client::new();
    let through_a_proxy = client.get(&url).header("x-forwarded-for", "203.0.113.9");
    let nobody = client.get(stage.url("/api/v1/streams/NOBODY!/peers"));
    for (request, status, kind) in
        [(client.get(&url), 404, "offline"), (nobody, 404, "no-channel"), (through_a_proxy, 403, "forbidden")]
    {
        let response = request.send().await.expect("HTTP answers");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = response.json().await.expect("JSON");
        assert_eq!(problem["type"], format!("urn:swiftwater:problem:{kind}"), "{problem}");
    }

    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let (mut one, mut other) = (Viewer::join(&stage.whep_url()).await, Viewer::join(&stage.whep_url()).await);
    one.frames(50).await;
    other.frames(50).await;
    let told = eventually("a receiver report of both", Duration::from_secs(20), async || {
        let told = peers(&stage).await;
        let viewers = told["viewers"].as_array().expect("a list");
        let whole = viewers.iter().all(|viewer| viewer["video"]["fractionLost"].is_number());
        (viewers.len() == 2 && whole).then_some(told)
    })
    .await;
    assert_eq!(
        (&told["channel"], &told["publisher"]["transport"]),
        (&json!(CHANNEL), &json!("rtmp")),
        "{told}"
    );
    assert_eq!(told["publisher"]["peer"], Value::Null, "RTMP is no peer");
    assert_eq!(told["publisher"]["tracks"][0]["layers"][0]["width"], 320, "{told}");
    let addresses = [one.address().to_string(), other.address().to_string()];
    for viewer in told["viewers"].as_array().expect("a list") {
        assert!(addresses.iter().any(|it| viewer["remote"] == it.as_str()), "{viewer}");
        assert_eq!(viewer["role"], "viewer");
        assert_eq!(
            (&viewer["state"], &viewer["transport"]),
            (&json!("connected"), &json!("udp")),
            "{viewer}"
        );
        assert_eq!(viewer["srtpProfile"], "SRTP_AEAD_AES_128_GCM");
        assert_eq!((&viewer["layer"], &viewer["cap"]), (&json!(""), &json!("full")), "{viewer}");
        for (kind, codec) in [("audio", "Opus"), ("video", "H.264")] {
            let down = &viewer[kind];
            assert_eq!((&down["codec"], &down["flow"]), (&json!(codec), &json!("live")), "{viewer}");
            assert!(down["bitrateBps"].as_u64() > Some(10_000), "{viewer}");
            assert!(down["packets"].as_u64() > Some(50), "{viewer}");
        }
        assert!(viewer["connectedMs"].as_u64() > Some(500), "{viewer}");
        assert_eq!(viewer["catchUps"], 1, "{viewer}");
    }
    assert_ne!(told["viewers"][0]["id"], told["viewers"][1]["id"]);
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_may_ask_how_its_own_connection_is_doing_now_and_then() {
    let stage = Stage::shared().await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut member = Gateway::hello(&stage).await;
    let ask = |pc: &str| json!({ "type": "rtc.stats", "pc": pc });
    assert_eq!(member.ask(ask("pc1")).await["error"]["code"], "not_found");
    let offer = Offer::new().await;
    let ch = format!("stream:{CHANNEL}");
    let answer = member.ask(json!({ "type": "rtc.play", "ch": ch, "sdp": offer.sdp() })).await;
    let pc = answer["pc"].as_str().expect("a name").to_owned();
    let mut viewer = offer.accept(answer["sdp"].as_str().expect("an SDP"));
    viewer.frames(30).await;

    let told = member.ask(ask(&pc)).await;
    assert_eq!((&told["type"], &told["pc"]), (&json!("rtc.stats"), &json!(pc)), "{told}");
    assert_eq!(told["stats"]["remote"], viewer.address().to_string(), "{told}");
    assert!(told["stats"]["video"]["packets"].as_u64() >= Some(30), "{told}");
    assert!(told["addedMs"].as_f64().is_some_and(|ms| ms > 0.0), "{told}");
    let again = member.ask(ask(&pc)).await;
    assert_eq!(
        (&again["error"]["code"], &again["error"]["retryable"]),
        (&json!("rate_limited"), &json!(true))
    );
    drop(publisher);
    stage.stop().await;
}
