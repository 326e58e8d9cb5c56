//! Who is one too many, and who is there while a shard is overloaded.

use std::time::Duration;

use media::{ChannelName, Kind};
use serde_json::{Value, json};
use tests::stage::{CHANNEL, KEY};
use tests::viewer::Offer;
use tests::{Gateway, Stage, Viewer, eventually, log, source};

/// Offers of a real encoder: one Layer, and three.
const OFFER: &str = include_str!("../../sfu/tests/fixtures/offers/obs.offer.sdp");
const SIMULCAST: &str = include_str!("../../sfu/tests/fixtures/offers/obs-simulcast.offer.sdp");

/// Asks by WHEP and is refused: the problem, and after how many seconds to try again.
async fn refused(stage: &Stage) -> (Value, Option<u32>) {
    let offer = Offer::new().await;
    let request = reqwest::Client::new().post(stage.whep_url()).header("content-type", "application/sdp");
    let response = request.body(offer.sdp().to_owned()).send().await.expect("WHEP answers");
    assert_eq!(response.status().as_u16(), 503);
    let retry = response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
    (response.json().await.expect("JSON"), retry)
}

fn play(offer: &Offer) -> Value {
    json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": offer.sdp() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_who_is_one_too_many_is_told_so_and_nobody_else_notices() {
    let stage = Stage::shared_with(|config| config.rtc.viewers_per_stream_max = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut first = Viewer::join(&stage.whep_url()).await;
    first.frames(10).await;
    let (problem, retry) = refused(&stage).await;
    assert_eq!(problem["type"], "urn:swiftwater:problem:capacity", "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains("play it by HLS")), "{problem}");
    assert_eq!(retry, Some(30));
    let mut member = Gateway::hello(&stage).await;
    let refusal = member.ask(play(&Offer::new().await)).await;
    assert_eq!(refusal["error"]["code"], "capacity", "{refusal}");
    assert_eq!(refusal["error"]["retryable"], true, "{refusal}");
    let text = refusal["error"]["message"].as_str().expect("text");
    assert!(text.contains("/hls/stage/master.m3u8"), "{text}");
    assert_eq!(stage.metric("swiftwater_sfu_peers_refused_total{limit=\"viewers_of_stream\"}").await, 2.0);
    assert_eq!(
        log::lines(&["a WebRTC peer was refused", "viewers_per_stream_max"]).len(),
        1,
        "one line, not two"
    );
    first.frames(10).await;
    assert_eq!(first.seen().video.lost(), 0);
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_much_for_the_line_is_told_to_play_by_hls() {
    let stage = Stage::shared_with(|config| config.rtc.egress_bitrate_max_bps = Some(128_000)).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    // What a viewer needs is known once the stream was measured.
    eventually("the picture's bit rate is known", Duration::from_secs(20), async || {
        let streams = reqwest::get(stage.url("/api/v1/streams")).await.ok()?.json::<Value>().await.ok()?;
        streams["items"][0]["video"]["layers"][0]["bitrateBps"].as_u64().filter(|bps| *bps > 128_000)
    })
    .await;
    let (problem, retry) = refused(&stage).await;
    assert_eq!((&problem["type"], retry), (&json!("urn:swiftwater:problem:capacity"), Some(30)), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains("play by HLS")), "{problem}");
    let mut member = Gateway::hello(&stage).await;
    let refusal = member.ask(play(&Offer::new().await)).await;
    assert_eq!(refusal["error"]["code"], "capacity", "{refusal}");
    assert_eq!(stage.metric("swiftwater_sfu_peers_refused_total{limit=\"egress\"}").await, 2.0);
    assert_eq!(stage.metric("swiftwater_sfu_viewers").await, 0.0);
    assert_eq!(log::lines(&["a WebRTC peer was refused", "egress_bitrate_max_bps"]).len(), 1);
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_place_for_a_peer_says_so_and_has_one_when_somebody_leaves() {
    let stage = Stage::shared_with(|config| config.rtc.peers_max = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut member = Gateway::hello(&stage).await;
    let offer = Offer::new().await;
    let answer = member.ask(play(&offer)).await;
    let mut first = offer.accept(answer["sdp"].as_str().expect("an answer"));
    first.frames(5).await;
    let (problem, retry) = refused(&stage).await;
    assert_eq!((&problem["type"], retry), (&json!("urn:swiftwater:problem:capacity"), Some(30)), "{problem}");
    assert_eq!(problem["detail"], "this server has no room for another WebRTC peer: try again in a minute");
    assert_eq!(stage.metric("swiftwater_sfu_peers_refused_total{limit=\"peers\"}").await, 1.0);
    first.frames(5).await;
    member.ask(json!({ "type": "rtc.close", "pc": answer["pc"] })).await;
    eventually("the place is free", Duration::from_secs(10), async || {
        let offer = Offer::new().await;
        let again = member.ask(play(&offer)).await;
        again["sdp"].as_str().map(|_| ())
    })
    .await;
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_so_many_streams_and_an_encoder_always_finds_its_own() {
    let other = "other";
    let stage = Stage::shared_with(|config| {
        config.publish.publishers_max = 1;
        config.channels.push(control::ChannelConfig {
            name: ChannelName::parse(other).expect("valid"),
            title: "Other".to_owned(),
            keys: vec!["live_other_key".to_owned().into()],
            rewind_s: None,
            rewind_mib: None,
        });
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video]).await;
    let whip = reqwest::Client::new().post(stage.url("/whip/other")).bearer_auth("live_other_key");
    let response =
        whip.header("content-type", "application/sdp").body(OFFER).send().await.expect("WHIP answers");
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers()["retry-after"], "60");
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:swiftwater:problem:capacity", "{problem}");
    assert!(
        problem["detail"].as_str().is_some_and(|it| it.contains("as many streams as it takes")),
        "{problem}"
    );
    let rtmp =
        source::pattern(&format!("rtmp://{}/live/live_other_key", stage.rtmp_address()), source::PLAIN);
    let (status, said) =
        tokio::task::spawn_blocking(move || rtmp.wait(Duration::from_secs(30))).await.expect("it ran");
    assert!(!status.success() && said.contains("as many streams as it takes"), "{said}");
    assert_eq!(stage.metric("swiftwater_publishers_refused_total").await, 2.0);

    // The same key again takes its own Stream over: that is no further one.
    let again = source::pattern(&stage.rtmp_url(), source::PLAIN);
    eventually("the stream goes on", Duration::from_secs(20), async || {
        (stage.metric("swiftwater_rtmp_replaced_total").await == 1.0).then_some(())
    })
    .await;
    drop((publisher, again));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_with_too_many_layers_is_told_how_many_and_replaces_nobody() {
    let stage = Stage::shared_with(|config| config.rtc.publish_layers_max = 2).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video]).await;
    let whip = reqwest::Client::new().post(stage.url("/whip")).bearer_auth(KEY);
    let response =
        whip.header("content-type", "application/sdp").body(SIMULCAST).send().await.expect("WHIP answers");
    assert_eq!(response.status().as_u16(), 422);
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:swiftwater:problem:too-many-layers", "{problem}");
    assert_eq!(problem["detail"], "3 simulcast layers are more than this server takes (2): send fewer");
    assert_eq!(stream.publication().transport, "rtmp");
    drop(publisher);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_node_refuses_viewers_sheds_pictures_and_never_sound() {
    // What a handful of viewers costs is overload here: this machine must not have to be full for the test.
    let stage = Stage::shared_with(|config| {
        (config.rtc.overload_busy_percent, config.rtc.shards) = (1, 1);
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut crowd = Vec::new();
    while stage.metric("swiftwater_sfu_shard_overload_level{shard=\"0\"}").await < 1.0 {
        assert!(crowd.len() < 200, "a machine on which 200 viewers are no work at all");
        let (mut member, offer) = (Gateway::hello(&stage).await, Offer::new().await);
        let answer = member.ask(play(&offer)).await;
        if let Some(sdp) = answer["sdp"].as_str() {
            let mut viewer = offer.accept(sdp);
            viewer.until("sound", |seen| seen.audio.count() > 0).await;
            crowd.push((member, viewer));
        }
    }
    let (problem, retry) = refused(&stage).await;
    assert_eq!(
        (&problem["type"], retry),
        (&json!("urn:swiftwater:problem:overloaded"), Some(30)),
        "{problem}"
    );
    let mut late = Gateway::hello(&stage).await;
    let refusal = late.ask(play(&Offer::new().await)).await;
    assert_eq!(refusal["error"]["code"], "overloaded", "{refusal}");
    assert!(stage.metric("swiftwater_sfu_peers_refused_total{limit=\"overload\"}").await >= 2.0);
    assert!(!log::lines(&["the shard sheds more", "no_new_viewers"]).is_empty(), "the operator is told");

    // There is one Layer, so pictures are next, the newest viewer's first.
    let (member, newest) = crowd.last_mut().expect("somebody was let in");
    let told =
        member.find("no picture", |frame| frame["type"] == "rtc.state" && frame["video"] == "off").await;
    assert_eq!((&told["state"], &told["reason"]), (&json!("active"), &json!("overload")), "{told}");
    // Shards publish their numbers four times a second; the viewer hears at once.
    eventually("a viewer without a picture in the metrics", Duration::from_secs(10), async || {
        (stage.metric("swiftwater_sfu_viewers_audio_only").await >= 1.0).then_some(())
    })
    .await;
    let heard = newest.seen().audio.count();
    newest.until("sound all the same", |seen| seen.audio.count() > heard + 100).await;
    assert_eq!(newest.seen().audio.lost(), 0, "not one packet of sound");
    drop((publisher, crowd));
    stage.stop().await;
}
