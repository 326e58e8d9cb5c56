//! RTMP in, HLS out, read by ffprobe.

use std::time::Duration;

use media::Kind;
use tests::{Process, Stage, source};

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_pushes_by_rtmp_and_ffprobe_reads_the_hls() {
    let stage = Stage::start().await;
    let clip = source::clip();
    let _publisher = Process::ffmpeg([
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        &clip.to_string_lossy(),
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-bf",
        "0",
        "-g",
        "50",
        "-c:a",
        "aac",
        "-ar",
        "44100",
        "-ac",
        "2",
        "-f",
        "flv",
        &stage.rtmp_url(),
    ]);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let master = stage.url(&format!("/hls/{}/master.m3u8", tests::stage::CHANNEL));
    let probe = Process::start(
        "ffmpeg",
        [
            "-hide_banner",
            "-nostdin",
            "-loglevel",
            "info",
            "-xerror",
            "-i",
            &master,
            "-t",
            "4",
            "-f",
            "null",
            "-",
        ],
    );
    let (status, said) =
        tokio::task::spawn_blocking(|| probe.wait(Duration::from_secs(60))).await.expect("ffmpeg ran");
    assert!(status.success(), "{said}");
    for wanted in ["h264", "aac", "1280x720"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    stage.stop().await;
}
