//! Recordings in a bucket, by a server of S3 that checks signatures: it dies, changes its mind, is slow, is full.

mod full;
mod role;
mod trust;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hls_packager::KeepLocal;
use media::Kind;
use serde_json::Value;
use server::Config;
use tempfile::TempDir;
use tests::rtmp::Numbered;
use tests::stage::{CHANNEL, KEY};
use tests::{Bucket, Process, Stage, Viewer, eventually, source};

use crate::hls::next_part;

/// Uploads and what they wait for, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

/// How long a slow bucket takes for each request.
const PUT: Duration = Duration::from_secs(5);

/// The test that is the server of S3, in a process of its own.
const SERVER: &str = "s3::a_bucket_to_be_killed";

/// Not a test by itself: the server that another one starts, by its environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_to_be_killed() {
    Bucket::be_killed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_into_a_bucket_while_it_is_live_though_that_dies_meanwhile() {
    let mut bucket = Bucket::start_process(SERVER).await;
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(settings(&bucket, &disk)).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    let objects = bucket.objects(&id);
    // What a CDN in front of the bucket shows of a stream that is live.
    let list = eventually("a playlist that grows", SOON, async || {
        bucket.headers(&id, "master.m3u8")?;
        let list = fs::read_to_string(objects.join("video/index.m3u8")).ok()?;
        (list.matches(".m4s").count() >= 2).then_some(list)
    })
    .await;
    assert!(list.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !list.contains("ENDLIST"), "{list}");
    for uri in list.lines().filter(|line| !line.starts_with('#')) {
        assert!(objects.join("video").join(uri).exists(), "{uri} is listed");
    }
    for name in ["master.m3u8", "video/index.m3u8", "audio/index.m3u8"] {
        let stored = ("application/vnd.apple.mpegurl".to_owned(), "public, max-age=2".to_owned());
        assert_eq!(bucket.headers(&id, name), Some(stored), "{name}");
    }
    let live = api(&stage, &id).await;
    assert!(live["uploaded"]["segments"].as_u64() > Some(0) && live["storage"] == "disk", "{live}");

    bucket.kill();
    eventually("that it is missed", SOON, async || {
        (stage.metric("swiftwater_storage_failing").await == 1.0).then_some(())
    })
    .await;
    let recorded = stage.metric("swiftwater_recording_segments_total").await;
    eventually("six segments without it", SOON, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= recorded + 6.0).then_some(())
    })
    .await;
    assert!(api(&stage, &id).await["uploaded"]["error"].is_string());
    bucket.begin(SERVER).await;
    eventually("that it is back", Duration::from_secs(90), async || {
        (stage.metric("swiftwater_storage_failing").await == 0.0).then_some(())
    })
    .await;
    publisher.kill();
    let whole = complete(&stage, &id).await;
    assert!(whole["holes"] == 0 && whole["uploaded"]["error"].is_null(), "{whole}");
    nothing_was_lost(&stage).await;

    let (on_disk, stored) = (media_of(&disk.path().join(&id)), media_of(&objects));
    assert!(on_disk.len() > 10, "{:?}", on_disk.keys());
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&stored), names(&on_disk));
    assert!(stored == on_disk, "byte by byte");
    for name in stored.keys() {
        let wanted = match name.as_str() {
            "video.mp4" => ("video/mp4", "public, max-age=86400"),
            name if name.starts_with("audio/") => ("audio/mp4", "public, max-age=31536000, immutable"),
            _ => ("video/mp4", "public, max-age=31536000, immutable"),
        };
        let (kind, cache) = bucket.headers(&id, name).expect("stored");
        assert_eq!((kind.as_str(), cache.as_str()), wanted, "{name}");
    }
    let (_, cache) = bucket.headers(&id, "video/index.m3u8").expect("stored");
    assert_eq!(cache, "public, max-age=60", "it is over");
    // What lies in the bucket plays by itself.
    plays(objects.join("master.m3u8").to_str().expect("text")).await;

    let url = stage.url(&format!("/api/v1/recordings/{id}"));
    assert_eq!(reqwest::Client::new().delete(&url).send().await.expect("an answer").status(), 204);
    eventually("an empty bucket", SOON, async || media_of(&objects).is_empty().then_some(())).await;
    assert!(!objects.join("master.m3u8").exists());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_wrong_then_right_then_revoked_then_given_back_after_a_restart() {
    let bucket = Bucket::start().await;
    bucket.change_secret();
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(settings(&bucket, &disk)).await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    let objects = bucket.objects(&id);
    let denied = "swiftwater_storage_errors_total{reason=\"denied\"}";
    eventually("a refusal", SOON, async || (stage.metric(denied).await >= 2.0).then_some(())).await;
    let error = api(&stage, &id).await["uploaded"]["error"].to_string();
    assert!(error.contains("access_key_id") && !error.contains("the secret of the tests"), "{error}");
    assert!(!objects.exists(), "the signature is checked");
    bucket.open(true);
    eventually("objects", SOON, async || (media_of(&objects).len() >= 6).then_some(())).await;
    bucket.open(false);
    let refused = stage.metric(denied).await;
    eventually("a refusal again", SOON, async || (stage.metric(denied).await > refused).then_some(())).await;
    publisher.kill();
    eventually("the recording is ready", SOON, async || {
        (api(&stage, &id).await["state"] == "ready").then_some(())
    })
    .await;
    nothing_was_lost(&stage).await;
    stage.stop().await;
    let before = changed(&objects);
    assert!(before.len() >= 6 && before.len() < media_of(&disk.path().join(&id)).len(), "{before:?}");

    eventually("that the folder is given up", SOON, async || {
        fs::File::create(disk.path().join(".lock")).ok()?.try_lock().ok()
    })
    .await;
    bucket.open(true);
    let stage = Stage::shared_with(settings(&bucket, &disk)).await;
    complete(&stage, &id).await;
    let (on_disk, stored) = (media_of(&disk.path().join(&id)), media_of(&objects));
    assert!(stored == on_disk, "{:?} and {:?}", stored.keys(), on_disk.keys());
    let after = changed(&objects);
    let again: Vec<&String> =
        before.iter().filter(|(name, at)| after[*name] != **at).map(|it| it.0).collect();
    // What was under way when it stopped; the ledger knows of the others.
    assert!(again.len() <= 4, "put again: {again:?} of {before:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_bucket_slows_nobody_and_the_recording_plays_from_there() {
    let bucket = Bucket::start().await;
    bucket.delay(PUT);
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(|config| {
        settings(&bucket, &disk)(config);
        config.hls.s3.keep_local = KeepLocal::UntilUploaded;
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    twenty_segments_reach_viewers(&stage, &id).await;
    // 0.8 requests per second are made; the rest waits by name.
    let waits = stage.metric("swiftwater_storage_backlog_objects").await;
    assert!((1.0..1024.0).contains(&waits), "{waits}");
    assert_eq!(stage.metric("swiftwater_storage_overflows_total").await, 0.0);
    publisher.kill();
    let ready = eventually("the recording is ready", SOON, async || {
        let found = api(&stage, &id).await;
        (found["state"] == "ready").then_some(found)
    })
    .await;
    assert!(ready["holes"] == 0 && ready["storage"] == "disk", "{ready}");
    let on_disk = media_of(&disk.path().join(&id));
    bucket.delay(Duration::ZERO);
    complete(&stage, &id).await;
    eventually("no media on disk", SOON, async || media_of(&disk.path().join(&id)).is_empty().then_some(()))
        .await;
    let moved = api(&stage, &id).await;
    assert_eq!((&moved["storage"], &moved["hls"]), (&Value::from("s3"), &ready["hls"]), "{moved}");
    for (name, bytes) in &on_disk {
        let answer = reqwest::get(stage.url(&format!("/vod/{id}/{name}"))).await.expect("an answer");
        assert!(answer.status().is_success(), "{name}: {answer:?}");
        assert!(answer.bytes().await.expect("all of it") == bytes[..], "{name}");
    }
    let range = reqwest::Client::new()
        .get(stage.url(&format!("/vod/{id}/video.mp4")))
        .header("range", "bytes=-100")
        .send()
        .await
        .expect("an answer");
    let whole = &on_disk["video.mp4"];
    assert_eq!(range.status(), 206);
    assert!(range.bytes().await.expect("all of it") == whole[whole.len() - 100..]);
    for path in ["hls", "mp4"] {
        plays(&stage.url(moved[path].as_str().expect("a path"))).await;
    }
    stage.stop().await;
}

/// While twenty more segments are recorded, somebody watches by WebRTC and somebody waits for part after part: neither
/// notices the bucket.
async fn twenty_segments_reach_viewers(stage: &Stage, id: &str) {
    let viewer = Viewer::join(&stage.url(&format!("/whep/{CHANNEL}"))).await;
    let recorded = "swiftwater_recording_segments_total";
    let enough = stage.metric(recorded).await + 20.0;
    let (mut parts, mut longest) = (0_u32, Duration::ZERO);
    let segments =
        eventually("twenty segments", SOON, async || (stage.metric(recorded).await >= enough).then_some(()));
    tokio::select! {
        () = segments => {}
        () = wait_for_parts(stage.url(&format!("/hls/{CHANNEL}/{id}/video/index.m3u8")), |waited| {
            parts += 1;
            longest = longest.max(waited);
        }) => {}
    }
    eprintln!("{parts} parts, each within {longest:?}; by WebRTC {:?}", viewer.seen());
    assert!(parts >= 10 && longest < PUT, "{parts} parts, one after {longest:?}");
    assert!(viewer.seen().video.frames() >= 100 && viewer.seen().video.lost() == 0, "{:?}", viewer.seen());
    nothing_was_lost(stage).await;
}

/// Asks for a playlist with its next part again and again, without end, and tells how long each took to come.
#[expect(clippy::disallowed_methods, reason = "what a viewer waits is told by the clock")]
async fn wait_for_parts(playlist: String, mut came: impl FnMut(Duration)) {
    let client = reqwest::Client::new();
    let get = async |url: String| {
        let response = client.get(url).send().await.expect("an answer");
        (response.status().is_success(), response.text().await.expect("text"))
    };
    // Nothing is listed yet, or the encoder stands still: asked again.
    let mut known: Option<String> = None;
    let mut asked = Instant::now();
    loop {
        let url = match &known {
            Some(text) => {
                let (msn, part) = next_part(text);
                format!("{playlist}?_HLS_msn={msn}&_HLS_part={part}")
            }
            None => playlist.clone(),
        };
        let (found, text) = get(url).await;
        if found {
            if known.replace(text).is_some() {
                came(asked.elapsed());
            }
            asked = Instant::now();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_mp4_file_arrives_in_parts() {
    let bucket = Bucket::start().await;
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(settings(&bucket, &disk)).await;
    let mut publisher =
        tokio::task::block_in_place(|| Numbered::publish(stage.rtmp_address(), KEY)).expect("published");
    // 25 pictures per second for 9 s, each as large as fits into a message: 13 MB.
    let (mut tick, mut sounds) = (tokio::time::interval(Duration::from_millis(40)), 0);
    for number in 0..225 {
        tick.tick().await;
        let at = number * 40;
        tokio::task::block_in_place(|| publisher.video(number, at, number % 25 == 0, 60_000)).expect("sent");
        while sounds * 1024 * 10 / 441 <= at {
            publisher.audio(sounds, sounds * 1024 * 10 / 441).expect("sent");
            sounds += 1;
        }
    }
    let id = stage.live(&[Kind::Video]).await.id().to_string();
    drop(publisher);
    let whole = complete(&stage, &id).await;
    let parts = 8 << 20;
    assert!(whole["mp4Bytes"].as_u64() > Some(parts), "{whole}");
    let (on_disk, stored) = (media_of(&disk.path().join(&id)), media_of(&bucket.objects(&id)));
    assert!(stored == on_disk, "{:?} and {:?}", stored.keys(), on_disk.keys());
    let (kind, cache) = bucket.headers(&id, "video.mp4").expect("stored");
    assert_eq!((kind.as_str(), cache.as_str()), ("video/mp4", "public, max-age=86400"));
    stage.stop().await;
}

/// A node that records there and uploads into that bucket.
fn settings(bucket: &Bucket, disk: &TempDir) -> impl FnOnce(&mut Config) + use<> {
    let (s3, dir) = (bucket.config(), disk.path().to_owned());
    move |config| {
        config.publish.reconnect_grace_s = 1;
        config.hls.target_duration_min_s = 1;
        config.hls.recording.dir = Some(dir);
        config.hls.s3 = s3;
    }
}

async fn nothing_was_lost(stage: &Stage) {
    for metric in ["swiftwater_recording_overflows_total", "swiftwater_recording_parts_lost_total"] {
        assert_eq!(stage.metric(metric).await, 0.0, "{metric}");
    }
}

/// All of it is in the bucket.
async fn complete(stage: &Stage, id: &str) -> Value {
    eventually("all of it in the bucket", Duration::from_secs(120), async || {
        let found = api(stage, id).await;
        (found["uploaded"]["complete"] == true).then_some(found)
    })
    .await
}

async fn api(stage: &Stage, id: &str) -> Value {
    let answer = reqwest::get(stage.url(&format!("/api/v1/recordings/{id}"))).await.expect("an answer");
    answer.json().await.expect("JSON")
}

/// All of it decodes without a complaint.
async fn plays(what: &str) {
    let player = Process::start("ffmpeg", ["-v", "error", "-xerror", "-i", what, "-f", "null", "-"]);
    let (status, said) =
        tokio::task::spawn_blocking(|| player.wait(Duration::from_secs(60))).await.expect("it ran");
    assert!(status.success() && said.is_empty(), "{what}: {said}");
}

/// Segments, inits and the MP4 file below a folder, by name.
fn media_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    each(folder, |path| fs::read(path).ok())
}

/// When each of them was written.
fn changed(folder: &Path) -> BTreeMap<String, SystemTime> {
    each(folder, |path| fs::metadata(path).and_then(|it| it.modified()).ok())
}

fn each<T>(folder: &Path, look: impl Fn(&Path) -> Option<T>) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    for below in ["", "video", "audio"] {
        for entry in fs::read_dir(folder.join(below)).into_iter().flatten().filter_map(Result::ok) {
            let name = Path::new(below).join(entry.file_name()).to_string_lossy().into_owned();
            if (name.ends_with(".m4s") || name.ends_with(".mp4"))
                && let Some(value) = look(&entry.path())
            {
                found.insert(name, value);
            }
        }
    }
    found
}
