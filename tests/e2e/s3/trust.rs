//! A bucket behind TLS, by an authority that nobody knows but who is told of it.

use super::*;
use tests::log;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_a_private_authority_is_used_by_who_trusts_that_and_by_nobody_else() {
    let bucket = Bucket::start_tls().await;
    assert!(bucket.endpoint().starts_with("https://"));
    let disk = tempfile::tempdir().expect("a folder");
    let stage = Stage::shared_with(|config| {
        settings(&bucket, &disk)(config);
        config.hls.s3.ca_file = None;
    })
    .await;
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let id = stage.live(&[Kind::Video, Kind::Audio]).await.id().to_string();
    let untrusted = "swiftwater_storage_errors_total{reason=\"untrusted\"}";
    eventually("that it is not trusted", SOON, async || (stage.metric(untrusted).await >= 2.0).then_some(()))
        .await;
    let error = eventually("what to do", SOON, async || {
        api(&stage, &id).await["uploaded"]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("ca_file") && error.contains("UnknownIssuer"), "it says what to do: {error}");
    assert_eq!(log::lines(&["cannot upload", "ca_file", "UnknownIssuer"]).len(), 1);
    // The stream goes on, to disk and to viewers.
    let recorded = stage.metric("swiftwater_recording_segments_total").await;
    eventually("six segments more", SOON, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= recorded + 6.0).then_some(())
    })
    .await;
    publisher.kill();
    eventually("the recording is ready", SOON, async || {
        (api(&stage, &id).await["state"] == "ready").then_some(())
    })
    .await;
    nothing_was_lost(&stage).await;
    assert!(!bucket.objects(&id).exists(), "nothing was sent");
    stage.stop().await;

    eventually("that the folder is given up", SOON, async || {
        fs::File::create(disk.path().join(".lock")).ok()?.try_lock().ok()
    })
    .await;
    let stage = Stage::shared_with(settings(&bucket, &disk)).await;
    complete(&stage, &id).await;
    let (on_disk, stored) = (media_of(&disk.path().join(&id)), media_of(&bucket.objects(&id)));
    assert!(on_disk.len() > 10 && stored == on_disk, "{:?} and {:?}", stored.keys(), on_disk.keys());
    assert_eq!(stage.metric(untrusted).await, 0.0);
    plays(bucket.objects(&id).join("master.m3u8").to_str().expect("text")).await;
    stage.stop().await;
}
