//! The load generator's viewers in small: twenty watch one stream by WebRTC, some of them decrypt everything.

use std::sync::Arc;
use std::time::Duration;

use media::Kind;
use tests::spectator::{self, Manner, Spectator, Tally};
use tests::{Process, Stage, eventually, source, stage};
use tokio::task::JoinSet;

const VIEWERS: usize = 20;
/// One in so many decrypts: in a debug build that takes its time.
const FULL_EVERY: usize = 4;
/// How many packets they watch, all together: some seconds.
const PACKETS: u64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_viewers_of_an_rtmp_stream_decrypt_everything() {
    let stage = Stage::start().await;
    let clip = source::clip();
    let _publisher =
        Process::ffmpeg(encode(&clip.to_string_lossy(), &["-c:a", "aac", "-f", "flv", &stage.rtmp_url()]));
    watch(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_viewers_of_a_whip_stream_decrypt_everything() {
    let stage = Stage::start().await;
    let clip = source::clip();
    let (whip, key) = (stage.url("/whip"), stage::KEY);
    let target = ["-ac", "2", "-c:a", "libopus", "-f", "whip", "-authorization", key, &whip];
    let _publisher = Process::ffmpeg9(encode(&clip.to_string_lossy(), &target));
    watch(&stage).await;
    stage.stop().await;
}

/// ffmpeg's arguments: the clip in a loop, in real time, without B-frames.
fn encode<'a>(clip: &'a str, target: &[&'a str]) -> Vec<&'a str> {
    let input = ["-re", "-stream_loop", "-1", "-i", clip];
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "50"];
    let rate = ["-pix_fmt", "yuv420p", "-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "2500k"];
    [&input[..], &video, &rate, &["-ar", "48000"], target].concat()
}

async fn watch(stage: &Stage) {
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let (client, tally) = (spectator::http_client(), Arc::new(Tally::default()));
    let whep = stage.url(&format!("/whep/{}", stage::CHANNEL));
    let mut audience = JoinSet::new();
    for number in 0..VIEWERS {
        let manner = Manner { full: number % FULL_EVERY == 0, ..Manner::default() };
        let viewer = Spectator::join(&client, &whep, manner, Arc::clone(&tally)).await;
        let mut viewer = viewer.expect("WHEP takes it");
        viewer.connect().await;
        audience.spawn(async move { viewer.watch().await });
    }
    let from = tally.packets();
    let enough = async || {
        let seen = tally.packets() >= from + PACKETS && tally.sender_reports() >= VIEWERS as u64;
        seen.then_some(())
    };
    tokio::select! {
        () = eventually("enough packets and reports", Duration::from_secs(20), enough) => {}
        ended = audience.join_next() => panic!("a viewer ended: {ended:?}"),
    }
    audience.shutdown().await;

    let stats = stage.server().sfu().stats();
    assert_eq!(tally.connected(), VIEWERS as u64);
    assert_eq!(stats.core.connected_gcm, VIEWERS as u64, "{stats:?}");
    assert!(tally.full_received() > PACKETS / (2 * FULL_EVERY as u64), "{}", tally.full_received());
    assert_eq!(tally.full_decrypted(), tally.full_received(), "everything can be decrypted");
    // On a busy machine the server's socket may lose packets of the publisher: those nobody can have.
    let never_had = stats.core.published_lost as i64 * (VIEWERS / FULL_EVERY) as i64;
    assert!(tally.full_missing() <= never_had, "{} lost, {never_had} never came", tally.full_missing());
    assert_eq!((stats.core.nonce_refused, stats.socket.send_errors), (0, 0), "{stats:?}");
}
