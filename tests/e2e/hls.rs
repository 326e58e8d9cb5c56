//! RTMP and WHIP in, LL-HLS out at the same time: read by ffmpeg, judged by a strict parser.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use media::{ChannelName, Kind};
use reqwest::StatusCode;
use tests::stage::{CHANNEL, KEY};
use tests::{Process, Stage, source};

const OTHER: &str = "other";
const OTHER_KEY: &str = "live_other_key";

/// Snapshots of each playlist, one per new part: enough to see segments end and the window move.
const SNAPSHOTS: usize = 8;

/// How often in a row an encoder on a busy machine may stand still for longer than the server holds a request.
const PAUSES_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn rtmp_and_whip_play_by_hls_at_the_same_time() {
    let stage = Stage::start_with(|config| {
        config.channels.push(control::ChannelConfig {
            name: ChannelName::parse(OTHER).expect("valid"),
            title: String::new(),
            keys: vec![OTHER_KEY.to_owned().into()],
            rewind_s: None,
            rewind_mib: None,
        });
    })
    .await;
    let clip = source::clip();
    let clip = clip.to_string_lossy();
    let input = [
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        &clip,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "0",
        "-g",
        "50",
    ];
    let rtmp = stage.rtmp_url();
    let audio = ["-c:a", "aac", "-ar", "44100", "-ac", "2", "-f", "flv", &rtmp];
    let _rtmp = Process::ffmpeg([&input[..], &audio[..]].concat());
    let whip = stage.url("/whip");
    let opus = ["-profile:v", "baseline", "-c:a", "libopus", "-ar", "48000", "-ac", "2"];
    let target = ["-f", "whip", "-authorization", OTHER_KEY, &whip];
    let _whip = Process::ffmpeg9([&input[..], &opus[..], &target[..]].concat());
    assert_ne!(KEY, OTHER_KEY);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    for channel in [CHANNEL, OTHER] {
        let master = stage.url(&format!("/hls/{channel}/master.m3u8"));
        let playlists = snapshots(&master).await;
        judge(&playlists);
        plays(&master).await;
    }
    stage.stop().await;
}

/// The multivariant playlist, and each media playlist as it grows.
async fn snapshots(master: &str) -> Vec<String> {
    let client = reqwest::Client::new();
    let get = async |url: String| {
        let response = client.get(&url).send().await.expect("an answer");
        let status = response.status();
        (status, response.text().await.expect("text"))
    };
    // A stream that just began has nothing to list yet; the server holds the request as long as it may.
    let mut text = String::new();
    for _ in 0..10 {
        let (status, body) = get(master.to_owned()).await;
        if status.is_success() {
            text = body;
            break;
        }
    }
    let base = master.rsplit_once('/').expect("a path").0;
    let video = text.lines().find(|line| !line.starts_with('#') && !line.is_empty()).expect("a variant");
    let audio = text.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("sound");
    let mut found = vec![text.clone()];
    for playlist in [video, audio] {
        let url = format!("{base}/{playlist}");
        let (_, mut text) = get(url.clone()).await;
        for _ in 0..SNAPSHOTS {
            let (msn, part) = next_part(&text);
            let wanted = format!("{url}?_HLS_msn={msn}&_HLS_part={part}");
            let (mut status, mut next) = get(wanted.clone()).await;
            // An encoder that stands still for longer than a player waits; players ask again.
            for _ in 0..PAUSES_MAX {
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    break;
                }
                (status, next) = get(wanted.clone()).await;
            }
            assert!(status.is_success(), "{status}: {next}");
            found.push(std::mem::replace(&mut text, next));
        }
    }
    found
}

/// The media sequence number and the part that a playlist waits for.
pub(crate) fn next_part(text: &str) -> (u64, usize) {
    let first: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))
        .and_then(|number| number.parse().ok())
        .expect("a media sequence");
    let segments = text.lines().filter(|line| line.starts_with("#EXTINF")).count() as u64;
    let open = text.rsplit("#EXTINF").next().unwrap_or(text);
    (first + segments, open.lines().filter(|line| line.starts_with("#EXT-X-PART:")).count())
}

/// hls-parser in strict mode finds nothing.
fn judge(playlists: &[String]) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
    let mut judge = Command::new("node")
        .arg("../hls/validate.mjs")
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    judge.stdin.take().expect("piped").write_all(playlists.concat().as_bytes()).expect("read");
    let output = judge.wait_with_output().expect("node ends");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", playlists.last().expect("playlists"));
}

/// ffmpeg reads picture and sound without a complaint.
async fn plays(master: &str) {
    let arguments = [
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "info",
        "-xerror",
        "-i",
        master,
        "-t",
        "4",
        "-f",
        "null",
        "-",
    ];
    let player = Process::start("ffmpeg", arguments);
    let (status, said) =
        tokio::task::spawn_blocking(|| player.wait(Duration::from_secs(60))).await.expect("ffmpeg ran");
    assert!(status.success(), "{said}");
    for wanted in ["h264", "aac", "1280x720"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
