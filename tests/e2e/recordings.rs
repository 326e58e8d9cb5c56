//! Recordings: they play when the stream is over, and after the server was killed in the middle of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use media::Kind;
use serde_json::Value;
use tests::process::setting;
use tests::rtmp::{Numbered, audio_mark, video_mark};
use tests::stage::{CHANNEL, KEY};
use tests::{Process, Stage, eventually, source};

use crate::node::Node;

/// Kills in a run; `SWIFTWATER_TEST_KILLS` says another number.
const KILLS: u32 = 3;

/// What was sent this long before a kill is in the recording.
const SAFE_AFTER: Duration = Duration::from_millis(200);

/// Frames of sound that may be earlier than the first picture.
const EARLY_SOUND: u32 = 3;

const FPS: u32 = 25;
const AUDIO_HZ: u32 = 44_100;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ended_plays_by_hls_and_as_mp4_and_can_be_removed() {
    let stage = Stage::shared_with(|config| {
        config.publish.reconnect_grace_s = 1;
        // Segments leave memory after about 16 s.
        config.hls.target_duration_min_s = 1;
        config.hls.window_segments = 6;
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let id = stream.id().to_string();
    eventually("segments that left memory", Duration::from_secs(60), async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 50.0).then_some(())
    })
    .await;
    let rendition = stage.url(&format!("/hls/{CHANNEL}/{id}/video"));
    let list = text(&format!("{rendition}/index.m3u8")).await;
    assert!(list.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && list.contains("\ns0.m4s\n"), "to rewind: {list}");
    let first = reqwest::get(format!("{rendition}/s0.m4s")).await.expect("an answer");
    // Memory has no entity tags.
    assert!(first.status().is_success() && first.headers().contains_key("etag"), "{:?}", first.headers());
    let first = first.bytes().await.expect("all of it");
    let live = api(&stage, &id).await;
    assert_eq!((&live["state"], &live["hls"]), (&Value::from("live"), &Value::Null), "{live}");
    let client = reqwest::Client::new();
    let url = stage.url(&format!("/api/v1/recordings/{id}"));
    assert_eq!(client.delete(&url).send().await.expect("an answer").status(), 409, "it is live");

    publisher.kill();
    let ready = eventually("the recording is ready", Duration::from_secs(40), async || {
        let found = api(&stage, &id).await;
        (found["state"] == "ready").then_some(found)
    })
    .await;
    let seconds = ready["durationMs"].as_f64().expect("a number") / 1000.0;
    assert!(seconds > 4.0 && ready["error"].is_null() && ready["holes"] == 0, "{ready}");
    let again = reqwest::get(stage.url(&format!("/vod/{id}/video/s0.m4s"))).await.expect("an answer");
    assert_eq!(again.bytes().await.expect("all of it"), first, "the recording is the live stream");
    for path in ["hls", "mp4"] {
        let url = stage.url(ready[path].as_str().expect("a path"));
        // All of it decodes without a complaint.
        let player = Process::start("ffmpeg", ["-v", "error", "-xerror", "-i", &url, "-f", "null", "-"]);
        let (status, said) =
            tokio::task::spawn_blocking(|| player.wait(Duration::from_secs(60))).await.expect("it ran");
        assert!(status.success() && said.is_empty(), "{path}: {said}");
    }
    let mp4 = stage.url(ready["mp4"].as_str().expect("a path"));
    let length = ready["mp4Bytes"].as_u64().expect("a number");
    for (range, status, wanted) in [
        ("bytes=0-99", 206, format!("bytes 0-99/{length}")),
        ("bytes=-10", 206, format!("bytes {}-{}/{length}", length - 10, length - 1)),
        (&*format!("bytes={length}-"), 416, format!("bytes */{length}")),
    ] {
        let answer = client.get(&mp4).header("range", range).send().await.expect("an answer");
        let told = answer.headers().get("content-range").and_then(|it| it.to_str().ok()).map(str::to_owned);
        assert_eq!((answer.status().as_u16(), told), (status, Some(wanted)), "{range}");
    }
    let answer = client.get(&mp4).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    let tag = answer.headers()["etag"].clone();
    assert_eq!(answer.bytes().await.expect("all of it").len() as u64, length);
    let answer = client.get(&mp4).header("if-none-match", tag).send().await.expect("an answer");
    assert_eq!(answer.status(), 304);

    let list = reqwest::get(stage.url("/api/v1/recordings?limit=1")).await.expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    assert_eq!((&list["items"][0]["id"], &list["next"]), (&Value::from(id.clone()), &Value::Null));
    assert_eq!(client.delete(&url).send().await.expect("an answer").status(), 204);
    for gone in [&url, &mp4] {
        let answer = client.get(gone).send().await.expect("an answer");
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    stage.stop().await;
}

async fn text(url: &str) -> String {
    reqwest::get(url).await.expect("an answer").text().await.expect("text")
}

async fn api(stage: &Stage, id: &str) -> Value {
    let answer = reqwest::get(stage.url(&format!("/api/v1/recordings/{id}"))).await.expect("an answer");
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_a_kill_is_in_the_recording() {
    // What is promised is a time, 200 ms.
    let _alone = tests::stage::alone().await;
    let rounds = setting("SWIFTWATER_TEST_KILLS").and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut random = clock();
    println!("seed {random}");
    for round in 0..rounds {
        // xorshift: when to kill, 0.4 to 7.4 s after the first frame.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let after = Duration::from_millis(400 + random % 7000);
        let data = tempfile::tempdir().expect("a folder");
        let sent = publish_and_kill(data.path(), after).await;
        let (video, audio) = recovered(data.path()).await;
        let safe_after = SAFE_AFTER + sent.stood_still();
        let safe = |frames: &[Instant]| {
            frames.iter().take_while(|at| **at + safe_after < sent.killed).count() as u32
        };
        let first = (0..).find(|number| video.contains(&video_mark(*number)));
        assert_eq!(first, Some(0), "round {round}, killed after {after:?}");
        let lost: Vec<u32> =
            (0..safe(&sent.video)).filter(|number| !video.contains(&video_mark(*number))).collect();
        assert!(lost.is_empty(), "round {round}, killed after {after:?}: pictures {lost:?}");
        // Sound from before the first picture is left out, live too: they are stamped by different clocks.
        let first = (0..EARLY_SOUND).find(|number| audio.contains(&audio_mark(*number)));
        let lost: Vec<u32> = (first.unwrap_or(EARLY_SOUND)..safe(&sent.audio))
            .filter(|number| !audio.contains(&audio_mark(*number)))
            .collect();
        assert!(lost.is_empty(), "round {round}, killed after {after:?}: sound {lost:?}");
        let kept = (0..sent.video.len() as u32).filter(|it| video.contains(&video_mark(*it))).count();
        println!(
            "round {round}: killed after {after:?}, {kept} of {} pictures sent, safe after {safe_after:?}",
            sent.video.len()
        );
    }
}

/// When which frame was sent, and when the server was killed.
struct Sent {
    video: Vec<Instant>,
    audio: Vec<Instant>,
    killed: Instant,
}

impl Sent {
    /// How long the machine let nobody do anything in the last second before the kill: the publisher, who sends something
    /// every 40 ms, was not let either.
    fn stood_still(&self) -> Duration {
        let last = self.killed - Duration::from_secs(1);
        let mut sent: Vec<Instant> =
            self.video.iter().chain(&self.audio).copied().filter(|at| *at > last).collect();
        sent.push(self.killed);
        sent.sort_unstable();
        let longest = sent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        longest.saturating_sub(Duration::from_millis(u64::from(1000 / FPS)))
    }
}

async fn publish_and_kill(data: &Path, after: Duration) -> Sent {
    let node = start(data).await;
    let rtmp = node.rtmp;
    let published = tokio::task::spawn_blocking(move || publish(rtmp, after)).await;
    // The encoder is still there when the server is not.
    let (_publication, mut sent) = published.expect("it ran");
    sent.killed = now();
    node.kill().await;
    sent
}

/// Publishes for so long, and goes on.
fn publish(rtmp: SocketAddr, after: Duration) -> (Numbered, Sent) {
    let mut publication = Numbered::publish(rtmp, KEY).expect("published");
    let mut sent = Sent { video: Vec::new(), audio: Vec::new(), killed: now() };
    let began = now();
    while now() - began < after {
        // Whichever is due first.
        let video_at = sent.video.len() as u32 * 1000 / FPS;
        let audio_at = (sent.audio.len() as u64 * 1024 * 1000 / u64::from(AUDIO_HZ)) as u32;
        let due = began + Duration::from_millis(u64::from(video_at.min(audio_at)));
        std::thread::sleep(due.min(began + after).saturating_duration_since(now()));
        if now() < due {
            break;
        }
        if video_at <= audio_at {
            let number = sent.video.len() as u32;
            publication.video(number, video_at, number.is_multiple_of(50), 4000).expect("sent");
            sent.video.push(now());
        } else {
            publication.audio(sent.audio.len() as u32, audio_at).expect("sent");
            sent.audio.push(now());
        }
    }
    (publication, sent)
}

/// Starts the server again, waits for the recording, and says which frames its segments hold.
async fn recovered(data: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let node = start(data).await;
    let base = format!("http://{}", node.http);
    let ready = eventually("the recording is ready", Duration::from_secs(60), async || {
        let list =
            reqwest::get(format!("{base}/api/v1/recordings")).await.ok()?.json::<Value>().await.ok()?;
        let found = list["items"][0].clone();
        (found["state"] == "ready" || found["state"] == "failed").then_some(found)
    })
    .await;
    assert_eq!((&ready["state"], &ready["repaired"]), (&Value::from("ready"), &Value::from(true)), "{ready}");
    assert!(ready["error"].is_null() && ready["channel"] == CHANNEL, "{ready}");
    let id = ready["id"].as_str().expect("an id");
    (
        marks(&format!("{base}/vod/{id}/video"), "#picture").await,
        marks(&format!("{base}/vod/{id}/audio"), "#sound").await,
    )
}

/// The marks in all segments of a Rendition, which must stand in their order.
async fn marks(base: &str, wanted: &str) -> BTreeSet<String> {
    let mut found = Vec::new();
    let answer = reqwest::get(format!("{base}/index.m3u8")).await.expect("an answer");
    if !answer.status().is_success() {
        return BTreeSet::new();
    }
    let list = answer.text().await.expect("text");
    assert!(list.contains("#EXT-X-PLAYLIST-TYPE:VOD") && list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    for uri in list.lines().filter(|line| !line.starts_with('#')) {
        let answer = reqwest::get(format!("{base}/{uri}")).await.expect("an answer");
        assert!(answer.status().is_success(), "{uri}");
        let bytes = answer.bytes().await.expect("all of it");
        // Eight digits and the end of the mark.
        let marks = bytes.windows(wanted.len() + 9).filter(|it| it.starts_with(wanted.as_bytes()));
        found.extend(marks.map(|mark| String::from_utf8_lossy(mark).into_owned()));
    }
    assert!(found.is_sorted_by(|a, b| a < b), "in order, each once: {found:?}");
    found.into_iter().collect()
}

/// Starts a server in a process of its own.
async fn start(data: &Path) -> Node {
    Node::start(data, &format!("[[channels]]\nname = {CHANNEL:?}\nkeys = [{KEY:?}]\n")).await
}

#[expect(clippy::disallowed_methods, reason = "a live source runs by the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "another seed for each run; it is printed")]
fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) << 20 | since.as_secs() & 0xf_ffff | 1
}
