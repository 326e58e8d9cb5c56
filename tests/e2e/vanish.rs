//! Who goes without a goodbye: a publisher in the middle of a frame, a viewer in the middle of watching.

use std::time::Duration;

use media::{Kind, StreamState};
use tests::stage::{CHANNEL, KEY};
use tests::{Gateway, Relay, Stage, Viewer, eventually, source};

/// What comes at once on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_reset_in_mid_frame_is_waited_for_and_then_given_up() {
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 3).await;
    let relay = Relay::to(stage.rtmp_address()).await;
    let _publisher = source::pattern(&format!("rtmp://{}/live/{KEY}", relay.address()), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(5).await;
    let mut member = Gateway::hello(&stage).await;
    member.join(&format!("stream:{CHANNEL}")).await;

    let mut state = stream.watch_state();
    relay.cut().await;
    let lost = async {
        state.wait_for(|state| *state == StreamState::Reconnecting).await.expect("the stream lives");
    };
    tokio::time::timeout(PATIENCE, lost).await.expect("a reset is seen at once");
    let listed = streams(&stage).await;
    assert_eq!(listed[0]["state"], "reconnecting", "{listed}");
    assert!(!viewer.seen().closed);
    let told = member.until("rtc.state").await;
    assert_eq!(told["state"], "inactive", "{told}");

    let over = async { state.wait_for(|state| *state == StreamState::Ended).await.map(|_| ()) };
    tokio::time::timeout(PATIENCE, over).await.expect("after the grace").expect("it ends");
    viewer.until("the end", |seen| seen.closed).await;
    member.until("stream.offline").await;
    assert_eq!(streams(&stage).await, serde_json::json!([]));
    assert_eq!(viewer.seen().video.lost(), 0);

    // The channel is free again, at once.
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    assert_ne!(stage.live(&[Kind::Video]).await.id(), stream.id());
    member.until("stream.online").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_vanishes_is_gone_when_its_consent_expires() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut stays = Viewer::join(&stage.whep_url()).await;
    let mut goes = Viewer::join(&stage.whep_url()).await;
    stays.frames(5).await;
    goes.frames(5).await;
    let sfu = stage.server().sfu();
    assert_eq!(sfu.viewers(stream.id()), 2);
    drop(goes);
    // RFC 7675 section 5.1: 30 s after the last check, which may be a few seconds old.
    eventually("the vanished viewer is gone", Duration::from_secs(45), async || {
        (sfu.stats().core.consent_expired == 1).then_some(())
    })
    .await;
    assert_eq!((sfu.viewers(stream.id()), sfu.stats().core.viewers), (1, 1));
    let frames = stays.seen().video.frames();
    stays.frames(10).await;
    assert_eq!(stays.seen().video.lost(), 0);
    assert!(frames > 20 * 20, "it has watched all the time: {frames}");
    stage.stop().await;
}

async fn streams(stage: &Stage) -> serde_json::Value {
    let answer = reqwest::get(stage.url("/api/v1/streams")).await.expect("HTTP answers");
    let mut answer: serde_json::Value = answer.json().await.expect("JSON");
    answer["items"].take()
}
