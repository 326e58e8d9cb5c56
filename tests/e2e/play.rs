//! Watching by the gateway: `rtc.play`, and a session that outlives its socket.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::viewer::Offer;
use tests::{Gateway, Stage, Viewer, eventually, source};

fn play(offer: &Offer) -> Value {
    json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": offer.sdp() })
}

/// Asks to play and begins to watch; also the name of the peer connection.
async fn watch(member: &mut Gateway) -> (Viewer, String) {
    let offer = Offer::new().await;
    let answer = member.ask(play(&offer)).await;
    assert_eq!(answer["type"], "rtc.answer", "{answer}");
    let viewer = offer.accept(answer["sdp"].as_str().expect("an SDP"));
    (viewer, answer["pc"].as_str().expect("a name").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_plays_by_the_gateway_and_survives_the_loss_of_its_socket() {
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 1).await;
    let mut member = Gateway::open(&stage).await;
    member.send(&json!({ "type": "hello", "v": 1 })).await;
    let session = member.until("welcome").await["session"].clone();
    assert_eq!(member.ask(play(&Offer::new().await)).await["error"]["code"], "no_publisher");
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[Kind::Video, Kind::Audio]).await;

    let broken = json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": "v=0\r\nnonsense" });
    assert_eq!(member.ask(broken).await["error"]["code"], "bad_request");
    let (mut viewer, pc) = watch(&mut member).await;
    viewer.until("both kinds", |seen| seen.video.frames() > 10 && seen.audio.count() > 10).await;
    let state = member.find("the peer's state", |frame| frame["pc"] == pc.as_str()).await;
    assert_eq!((&state["type"], &state["state"]), (&json!("rtc.state"), &json!("active")), "{state}");
    assert_eq!(state["srtp"], "SRTP_AEAD_AES_128_GCM");

    // Paused, the picture stops and the sound does not; resumed, it comes back.
    let pause = |kind: &str| json!({ "type": kind, "pc": pc, "kind": "video" });
    assert_eq!(member.ask(pause("rtc.pause")).await["type"], "ack");
    let sound = viewer.seen().audio.count();
    viewer.until("sound while paused", |seen| seen.audio.count() > sound + 25).await;
    let paused = viewer.seen().video.frames();
    viewer.until("more of it", |seen| seen.audio.count() > sound + 50).await;
    assert_eq!(viewer.seen().video.frames(), paused);
    assert_eq!(member.ask(pause("rtc.resume")).await["type"], "ack");
    viewer.frames(10).await;

    // The socket is lost; the session is taken up by the next one, and the picture never stops.
    drop(member);
    eventually("the session waits", Duration::from_secs(10), async || {
        (stage.metric("swiftwater_gateway_sessions").await == 1.0).then_some(())
    })
    .await;
    viewer.frames(10).await;
    let mut member = resume(&stage, &session).await;
    viewer.frames(10).await;
    assert!(!viewer.seen().closed && viewer.seen().video.lost() == 0);

    // Half-open: the server has not seen that the old socket is dead. The session follows its owner.
    let mut owner = resume(&stage, &session).await;
    assert_eq!(member.closed().await, Some(4505));
    viewer.frames(10).await;
    assert_eq!(stage.server().sfu().stats().core.viewers, 1);

    // The peer is still the session's: it hears how it ends, and may begin again as often as it likes.
    publisher.kill();
    let closed = owner.until("rtc.closed").await;
    assert_eq!((&closed["pc"], &closed["reason"]), (&json!(pc), &json!("stream_ended")), "{closed}");
    viewer.until("the end", |seen| seen.closed).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_over_leave_room_for_others() {
    let stage = Stage::shared_with(|config| config.publish.reconnect_grace_s = 1).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut member = Gateway::hello(&stage).await;
    let mut watching = Vec::new();
    for _ in 0..4 {
        watching.push(watch(&mut member).await);
    }
    let conflict = member.ask(play(&Offer::new().await)).await;
    assert_eq!(conflict["error"]["code"], "conflict", "{conflict}");

    // The client ends one itself: a goodbye to its peer, and room for another.
    let (mut viewer, pc) = watching.remove(0);
    viewer.frames(5).await;
    assert_eq!(member.ask(json!({ "type": "rtc.close", "pc": pc })).await["type"], "ack");
    viewer.until("the goodbye", |seen| seen.closed).await;
    watching.push(watch(&mut member).await);
    for (viewer, _) in &mut watching {
        viewer.until("a connection", |seen| seen.connected).await;
    }

    // The stream ends all of them: the client need not tidy up before it plays the next one.
    publisher.kill();
    for (viewer, pc) in &mut watching {
        viewer.until("the end", |seen| seen.closed).await;
        let pc = pc.as_str();
        member.find("rtc.closed", |frame| frame["type"] == "rtc.closed" && frame["pc"] == pc).await;
    }
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    assert_ne!(stage.live(&[Kind::Video, Kind::Audio]).await.id(), stream.id());
    let (mut viewer, _) = watch(&mut member).await;
    viewer.frames(5).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_resumes_a_session_that_is_not_there() {
    let stage = Stage::shared().await;
    let mut member = Gateway::open(&stage).await;
    member.send(&json!({ "type": "hello", "v": 1 })).await;
    let idle = member.until("welcome").await["session"].clone();
    drop(member);
    // Without a picture there is nothing to keep; and what was never given out is nobody's.
    for session in [idle, json!("s_00000000"), json!("")] {
        let mut other = Gateway::open(&stage).await;
        other.send(&json!({ "type": "hello", "v": 1, "resume": { "session": session } })).await;
        let welcome = other.until("welcome").await;
        assert_eq!(welcome["resumed"], false, "{welcome}");
        assert_ne!(welcome["session"], session);
    }
    stage.stop().await;
}

async fn resume(stage: &Stage, session: &Value) -> Gateway {
    let mut member = Gateway::open(stage).await;
    member.send(&json!({ "type": "hello", "v": 1, "resume": { "session": session } })).await;
    let welcome = member.until("welcome").await;
    assert_eq!((&welcome["resumed"], &welcome["session"]), (&json!(true), session), "{welcome}");
    member
}
