//! Encoders that reorder frames: what can be sent by WebRTC is sent, the rest is said.

use std::time::Duration;

use media::{Kind, Reordering};
use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::viewer::Offer;
use tests::{Gateway, Stage, Viewer, eventually, log, source};

#[tokio::test(flavor = "multi_thread")]
async fn a_b_pyramid_is_noticed_and_its_viewers_are_sent_to_hls() {
    let stage = Stage::shared().await;
    // x264 as it comes: three B-frames, of which one is a reference.
    let _publisher = source::pattern(&stage.rtmp_url(), &["-preset", "medium"]);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    verdict(&stream, Reordering::Unplayable).await;

    let notices = eventually("a notice of the API", Duration::from_secs(10), async || notices(&stage).await);
    let notices = notices.await;
    assert_eq!(notices[0]["code"], "b_frames", "{notices}");
    assert!(notices[0]["message"].as_str().expect("text").contains("-bf 0"), "{notices}");

    let mut member = Gateway::hello(&stage).await;
    let offer = Offer::new().await;
    let play = json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": offer.sdp() });
    let answer = member.ask(play).await;
    assert_eq!(answer["type"], "rtc.fallback", "{answer}");
    assert_eq!(answer["reason"], "b_frames");
    let url = stage.url(answer["url"].as_str().expect("a path"));
    assert!(reqwest::get(url).await.expect("HTTP answers").status().is_success());

    // A viewer by WHEP, who cannot be told, has the sound, and no frame of the picture.
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.until("sound", |seen| seen.audio.count() > 50).await;
    assert_eq!(viewer.seen().video.count(), 0);

    // Several sweeps of the notices have passed: one line nevertheless.
    let id = format!("stream={}", stream.id());
    assert_eq!(log::lines(&["code=\"b_frames\"", &id]).len(), 1, "{:#?}", log::lines(&[&id]));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_that_nobody_refers_to_are_left_out() {
    let stage = Stage::shared().await;
    let single = ["-preset", "veryfast", "-bf", "1", "-b_strategy", "0", "-x264-params", "b-pyramid=none"];
    let _publisher = source::pattern(&stage.rtmp_url(), &single);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    verdict(&stream, Reordering::DropDiscardable).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(30).await;
    {
        let seen = viewer.seen();
        assert_eq!((seen.video.steps_back(), seen.video.lost(), seen.video.ssrcs()), (0, 0, 1), "{seen:?}");
    }
    let notices = eventually("a notice of the API", Duration::from_secs(10), async || notices(&stage).await);
    let notices = notices.await;
    assert_eq!(notices[0]["code"], "b_frames_dropped", "{notices}");
    let core = stage.server().sfu().stats().core;
    assert!(core.discardable_dropped > 0, "{core:?}");
    assert_eq!(core.reordered_dropped, 0, "nothing else had to go");
    stage.stop().await;
}

async fn verdict(stream: &media::Stream, wanted: Reordering) {
    eventually("a verdict on the frames' order", Duration::from_secs(20), async || {
        let video = stream.source(Kind::Video)?;
        video.layers().iter().any(|layer| layer.reordering() == wanted).then_some(())
    })
    .await;
}

async fn notices(stage: &Stage) -> Option<Value> {
    let answer = reqwest::get(stage.url("/api/v1/streams")).await.expect("HTTP answers");
    let mut answer: Value = answer.json().await.expect("JSON");
    let notices = answer["items"][0]["notices"].take();
    notices.as_array().is_some_and(|notices| !notices.is_empty()).then_some(notices)
}
