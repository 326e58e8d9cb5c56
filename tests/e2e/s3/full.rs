//! A bucket that is full while a stream is live, and has room again.

use super::*;
use tests::log;

/// What still finds room: playlists, beginnings of files, some sound. No picture does.
const FITS: u64 = 6000;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_slows_nobody_is_told_once_and_takes_all_when_it_has_room() {
    let bucket = Bucket::start().await;
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(|config| {
        settings(&bucket, &disk)(config);
        config.hls.s3.keep_local = KeepLocal::UntilUploaded;
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    let objects = bucket.objects(&id);
    eventually("objects", SOON, async || (media_of(&objects).len() >= 6).then_some(())).await;

    bucket.fill(FITS);
    let full = "swiftwater_storage_errors_total{reason=\"full\"}";
    eventually("a refusal", SOON, async || (stage.metric(full).await >= 2.0).then_some(())).await;
    twenty_segments_reach_viewers(&stage, &id).await;
    let error = eventually("what to do", SOON, async || {
        api(&stage, &id).await["uploaded"]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("is full") && error.contains("XMinioStorageFull"), "{error}");
    assert!(stage.metric("swiftwater_storage_backlog_objects").await >= 5.0);
    for reason in ["other", "denied", "late"] {
        let metric = format!("swiftwater_storage_errors_total{{reason=\"{reason}\"}}");
        assert_eq!(stage.metric(&metric).await, 0.0, "{reason}");
    }

    publisher.kill();
    let ready = eventually("the recording is ready", SOON, async || {
        let found = api(&stage, &id).await;
        (found["state"] == "ready").then_some(found)
    })
    .await;
    assert!(ready["holes"] == 0 && ready["storage"] == "disk", "nothing is deleted: {ready}");
    let on_disk = media_of(&disk.path().join(&id));
    let before = changed(&objects);
    let pictures =
        |files: &BTreeMap<String, SystemTime>| files.keys().filter(|it| it.starts_with("video/s")).count();
    assert!(before.len() < on_disk.len() && pictures(&before) < 20, "{} of {}", before.len(), on_disk.len());
    // Small objects come and go, so it fails and works by turns: the log has it once.
    assert_eq!(log::lines(&["cannot upload", "the bucket is full", "XMinioStorageFull"]).len(), 1);

    bucket.make_room();
    complete(&stage, &id).await;
    assert!(media_of(&objects) == on_disk, "byte by byte");
    let after = changed(&objects);
    let again: Vec<&String> =
        before.iter().filter(|(name, at)| after[*name] != **at).map(|it| it.0).collect();
    assert!(again.is_empty(), "put again: {again:?}");
    eventually("no media on disk", SOON, async || media_of(&disk.path().join(&id)).is_empty().then_some(()))
        .await;
    assert_eq!(stage.metric("swiftwater_storage_failing").await, 0.0);
    let moved = api(&stage, &id).await;
    for path in ["hls", "mp4"] {
        plays(&stage.url(moved[path].as_str().expect("a path"))).await;
    }
    stage.stop().await;
}
