//! An encoder that dies and comes back within the grace: viewers stay.

use std::time::Duration;

use media::{Kind, StreamState};
use tests::stage::CHANNEL;
use tests::{Stage, Viewer, eventually, source};

#[tokio::test(flavor = "multi_thread")]
async fn viewers_stay_when_the_encoder_is_killed_and_started_again() {
    let stage = Stage::shared().await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(25).await;
    let playlist =
        eventually("a media playlist", Duration::from_secs(20), async || media_playlist(&stage).await);
    let playlist = playlist.await;

    let mut state = stream.watch_state();
    publisher.kill();
    let lost = async { state.wait_for(|state| *state == StreamState::Reconnecting).await.map(|_| ()) };
    tokio::time::timeout(Duration::from_secs(20), lost).await.expect("at once").expect("it lives");
    let before = (viewer.seen().video.count(), viewer.seen().audio.count());

    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    viewer.until("the picture again", |seen| seen.video.count() > before.0 + 50).await;
    viewer.until("the sound again", |seen| seen.audio.count() > before.1 + 50).await;
    let resumed = stage.live(&[Kind::Video, Kind::Audio]).await;
    assert_eq!((resumed.id(), resumed.epoch()), (stream.id(), 1));
    {
        // One unbroken sequence for the decoder: no hole, no new source, no step back in time.
        let seen = viewer.seen();
        assert!(seen.connected && !seen.closed);
        for packets in [&seen.video, &seen.audio] {
            assert_eq!((packets.lost(), packets.ssrcs(), packets.steps_back()), (0, 1, 0), "{seen:?}");
        }
    }
    assert_eq!(stage.server().sfu().stats().core.viewers, 1);
    eventually("a DISCONTINUITY in the playlist", Duration::from_secs(20), async || {
        let text = get(&stage, &playlist).await?;
        text.lines().any(|line| line == "#EXT-X-DISCONTINUITY").then_some(())
    })
    .await;
    stage.stop().await;
}

/// The path of the first media playlist in the multivariant one.
async fn media_playlist(stage: &Stage) -> Option<String> {
    let master = get(stage, &format!("/hls/{CHANNEL}/master.m3u8")).await?;
    let uri = master.lines().find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(if uri.starts_with('/') { uri.to_owned() } else { format!("/hls/{CHANNEL}/{uri}") })
}

async fn get(stage: &Stage, path: &str) -> Option<String> {
    let answer = reqwest::get(stage.url(path)).await.expect("HTTP answers");
    if answer.status().is_success() { answer.text().await.ok() } else { None }
}
