//! Sound against picture at the exit itself: by what the packets and segments say, without the player that shows them. For
//! figures also at 30 s: `SWIFTWATER_TEST_SECONDS=32 cargo test -p tests --test browser exits -- --nocapture`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::{ChannelName, Codec, Kind};
use serde_json::json;
use tests::clapper::{self, Offset};
use tests::film::Film;
use tests::link::{Link, Terms};
use tests::rendition::Rendition;
use tests::stage::{CHANNEL, KEY};
use tests::viewer::Offer;
use tests::{Entrance, Process, Stage, Tape, Viewer, eventually, run_script};

use crate::{SCRIPT_TIMEOUT, median, number, seconds};

/// What is seen and heard together at an exit is apart by at most this.
const EXIT_APART_MS_MAX: f64 = 40.0;

/// After so many seconds; a mark is the middle of the beeps of the second before it and of the two after it.
const MARKS: [u64; 3] = [1, 5, 30];

/// Beeps up to the mark at 5 s.
const ENOUGH_SECONDS: u64 = 8;

/// A machine that was too slow to make all of the sound: its browser's own reports cannot tell before the next of them what is
/// missing, and what is missing is apart in the meantime at every exit. Such a run is printed, not judged.
const LOST_MS_MAX: f64 = 15.0;

/// Reports lost until after the mark at 5 s, and for less than the one at 30 s.
const REPORTS_LOST_FOR: Duration = Duration::from_secs(8);

/// Of a file, before the first picture is at an exit and after the last.
const PUBLISHED_BESIDES: Duration = Duration::from_secs(8);

/// A browser, an encoder and a server start on a busy machine.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What was sent at the exits: by WebRTC, and by HLS of a codec that HLS has.
async fn film(stage: &Stage, channel: &str, codec: Codec) -> Vec<(&'static str, Film)> {
    let name = ChannelName::parse(channel).expect("valid");
    let live = async || {
        let stream = stage.server().hub().stream(&name)?;
        [Kind::Video, Kind::Audio].iter().all(|kind| stream.source(*kind).is_some()).then_some(())
    };
    eventually("picture and sound", BEGIN_TIMEOUT, live).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (webrtc, hls) = tokio::join!(by_webrtc(stage, channel, codec, dir.path()), async {
        if codec == Codec::H264 { Some(by_hls(stage, channel, dir.path()).await) } else { None }
    });
    [("WebRTC", webrtc)].into_iter().chain(hls.map(|film| ("HLS", film))).collect()
}

async fn by_webrtc(stage: &Stage, channel: &str, codec: Codec, dir: &Path) -> Film {
    let tape = Tape::default();
    let offer = Offer::new().await.taped(&tape);
    let answer = offer.post(&stage.url(&format!("/whep/{channel}"))).await;
    watch(offer.accept(&answer)).await;
    develop(tape, answer, codec, dir).await
}

/// As long as it is looked at, from the first sound on: a picture may be of another payload type than a viewer counts.
async fn watch(mut viewer: Viewer) {
    viewer.until("sound", |seen| seen.audio.count() > 0).await;
    tokio::time::sleep(length()).await;
}

async fn develop(tape: Tape, answer: String, codec: Codec, dir: &Path) -> Film {
    let dir = dir.to_owned();
    let developed = tokio::task::spawn_blocking(move || tape.develop(&answer, codec, &dir));
    developed.await.expect("decodes")
}

async fn by_hls(stage: &Stage, channel: &str, dir: &Path) -> Film {
    let [picture, sound] = Rendition::of(&stage.url(&format!("/hls/{channel}/master.m3u8"))).await;
    let (pictures, sounds) = tokio::join!(picture.keep(length(), dir), sound.keep(length(), dir));
    tokio::task::spawn_blocking(move || Film::read(&pictures, &sounds)).await.expect("decodes")
}

/// How long it is looked at.
fn length() -> Duration {
    Duration::from_secs(seconds(ENOUGH_SECONDS))
}

/// The middle of what was found around a mark.
fn at_mark(offsets: &[Offset], mark: u64) -> Option<f64> {
    let mark = mark as f64;
    let near = offsets.iter().filter(|it| (mark - 1.0..mark + 2.0).contains(&it.second));
    let near: Vec<f64> = near.map(|it| it.ms).collect();
    (!near.is_empty()).then(|| median(near))
}

/// Prints each second and the marks; says which marks are missed.
fn judge(source: &str, films: &[(&'static str, Film)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (exit, film) in films {
        let offsets = clapper::offsets(film);
        let each: Vec<String> =
            offsets.iter().map(|it| format!("{:.1} s: {:.1}", it.second, it.ms)).collect();
        eprintln!("{source}, {exit}: {} pictures; ms by second: {}", film.pictures.len(), each.join(", "));
        for mark in MARKS.into_iter().filter(|mark| mark + 2 <= seconds(ENOUGH_SECONDS)) {
            let apart = at_mark(&offsets, mark);
            eprintln!("{source}, {exit}, at {mark} s: {apart:.1?} ms");
            if !apart.is_some_and(|ms| ms.abs() <= EXIT_APART_MS_MAX) {
                wrong.push(format!("{exit} at {mark} s: {apart:?} ms"));
            }
        }
    }
    wrong
}

/// Of the demo's pictures: when each was due, which is not when a busy machine drew it.
fn by_number(films: Vec<(&'static str, Film)>) -> Vec<(&'static str, Film)> {
    let fps = f64::from(server::demo::Options::default().fps);
    films.into_iter().map(|(exit, film)| (exit, film.paced(fps))).collect()
}

fn assert_together(source: &str, films: &[(&'static str, Film)]) {
    let wrong = judge(source, films);
    assert!(wrong.is_empty(), "{source}: {wrong:?}");
}

/// A browser publishes, by a line if there is one, until all is recorded.
async fn film_of_a_browser(
    stage: Stage,
    codec: Codec,
    line: Option<&Link>,
) -> (Vec<(&'static str, Film)>, f64) {
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "port": line.map(|line| line.address().port()),
        "codec": if codec == Codec::Vp8 { "VP8" } else { "H264" },
    });
    let recorded = async {
        let films = film(&stage, CHANNEL, codec).await;
        stage.stop().await;
        films
    };
    let (said, films) = tokio::join!(run_script("exits.mjs", input, SCRIPT_TIMEOUT), recorded);
    (films, number(&said, "lostMs"))
}

/// Judged if the browser could make what it published.
fn assert_published_together(source: &str, (films, lost_ms): &(Vec<(&'static str, Film)>, f64)) {
    let wrong = judge(source, films);
    eprintln!("{source}: the microphone fell behind by {lost_ms:.1} ms");
    assert!(wrong.is_empty() || *lost_ms > LOST_MS_MAX, "{source}: {wrong:?}, {lost_ms} ms lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_leaves_with_its_sound_at_both_exits() {
    let _alone = crate::alone().await;
    let stage = Stage::start_with(|config| config.demo = true).await;
    let films = film(&stage, server::demo::CHANNEL, Codec::H264).await;
    stage.stop().await;
    assert_together("demo by RTMP", &by_number(films));
}

/// What the demo drew and sounded, as a file: it begins with the first segment, and Opus is what WHIP takes.
async fn record_demo(dir: &Path) -> PathBuf {
    let stage = Stage::start_with(|config| config.demo = true).await;
    let origin = stage.url(&format!("/hls/{}/master.m3u8", server::demo::CHANNEL));
    eventually("the demo by HLS", BEGIN_TIMEOUT, async || {
        reqwest::get(&origin).await.is_ok_and(|it| it.status().is_success()).then_some(())
    })
    .await;
    let file = dir.join("demo.mkv");
    let span = (length() + PUBLISHED_BESIDES).as_secs().to_string();
    let input = ["-live_start_index", "0", "-i", &origin, "-map", "0:v:0", "-map", "0:a:0", "-t", &span];
    let output = ["-c:v", "copy", "-c:a", "libopus", "-b:a", "96k"].map(OsStr::new);
    let arguments = input.map(OsStr::new).into_iter().chain(output).chain([file.as_os_str()]);
    let recorder = Process::ffmpeg(arguments);
    let recorded = tokio::task::spawn_blocking(move || recorder.wait(SCRIPT_TIMEOUT)).await.expect("ends");
    stage.stop().await;
    assert!(recorded.0.success(), "{recorded:?}");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ffmpeg_sends_by_whip_leaves_with_its_sound_at_both_exits() {
    let _alone = crate::alone().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = record_demo(dir.path()).await;
    let stage = Stage::start().await;
    let whip = stage.url("/whip");
    let input = ["-re", "-i"].map(OsStr::new).into_iter().chain([file.as_os_str()]);
    let output = ["-c", "copy", "-f", "whip", "-authorization", KEY, &whip].map(OsStr::new);
    let encoder = Process::ffmpeg9(input.chain(output));
    let films = film(&stage, CHANNEL, Codec::H264).await;
    encoder.kill();
    stage.stop().await;
    assert_together("ffmpeg 9 by WHIP", &by_number(films));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_h264_leaves_with_its_sound_at_both_exits() {
    let _alone = crate::alone().await;
    let films = film_of_a_browser(Stage::start().await, Codec::H264, None).await;
    assert_published_together("browser by WHIP, H.264", &films);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_vp8_leaves_with_its_sound() {
    let _alone = crate::alone().await;
    let films = film_of_a_browser(Stage::start().await, Codec::Vp8, None).await;
    assert_published_together("browser by WHIP, VP8", &films);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_reports_come_late_leaves_with_its_sound_at_both_exits() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let terms = Terms { reports_lost_for: REPORTS_LOST_FOR, ..Terms::default() };
    let line = Link::to(stage.rtc_address(), terms).await;
    let films = film_of_a_browser(stage, Codec::H264, Some(&line)).await;
    let carried = line.carried();
    eprintln!("{carried:?}");
    assert!(carried.reports_lost > 2, "{carried:?}");
    assert_published_together("browser by WHIP, H.264, reports lost for 8 s", &films);
}

/// The same capture at the exits, and by what the browser says by itself without a server of ours. Printed, not judged: the
/// difference is the server's, and a machine that encodes twice is another one than that of a broadcast.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_captured_together_by_itself_and_at_the_exits() {
    let _alone = crate::alone().await;
    let tape = Tape::default();
    let mut entrance = Entrance::open(&tape).await;
    let stage = Stage::start().await;
    let input = json!({
        "origin": stage.url(""), "mirror": entrance.origin(), "channel": CHANNEL, "key": KEY, "codec": "H264",
    });
    let recorded = async {
        let taped = async {
            let (viewer, answer) = entrance.guest().await;
            watch(viewer).await;
            answer
        };
        let (films, answer) = tokio::join!(film(&stage, CHANNEL, Codec::H264), taped);
        stage.stop().await;
        (films, answer)
    };
    let (said, (mut films, answer)) = tokio::join!(run_script("exits.mjs", input, SCRIPT_TIMEOUT), recorded);
    let dir = tempfile::tempdir().expect("a temporary directory");
    films.push(("by itself", develop(tape, answer, Codec::H264, dir.path()).await));
    let missed = judge("browser twice, H.264", &films);
    eprintln!("{missed:?}, the microphone fell behind by {:.1} ms", number(&said, "lostMs"));
}
