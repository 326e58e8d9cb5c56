//! Recordings that are over: all of each arrives, once, whatever the bucket does meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use media::StreamId;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::bucket::Memory;
use crate::bucket::{Bucket, Headers, KeepLocal, Reason};
use crate::recording::{Recording, RecordingConfig, RecordingState, Recordings, Storage, recorded};
use crate::upload::pace::UPLOADS_MAX;
use crate::vod_routes;

/// For the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with recordings, and a node that uploads them into a bucket.
pub(super) struct Node {
    pub(super) recordings: Arc<Recordings>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    pub(super) fn start(root: &Path, memory: &Arc<Memory>, config: RecordingConfig, keep: KeepLocal) -> Self {
        let bucket = Bucket::over(Arc::clone(memory) as _, "live/recordings", keep);
        // What the node before it had under way may hold the folder for a moment.
        let folder = File::create(root.join(".lock")).expect("a file");
        folder.lock().expect("given back");
        drop(folder);
        let recordings = Recordings::open(config, root, Some(bucket)).expect("opened");
        let stop = CancellationToken::new();
        let task = tokio::task::spawn_local(Arc::clone(&recordings).upload(stop.clone()));
        Self { recordings, stop, task }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
        self.recordings.close();
    }

    /// Waits until a recording is like this.
    pub(super) async fn until(&self, id: StreamId, what: impl Fn(&Recording) -> bool) -> Recording {
        self.eventually("a recording", || self.recordings.get(id).filter(|it| what(it))).await
    }

    /// Waits until the uploader has looked at all that there was when it began, and has nothing to do.
    async fn looked_at_everything(&self) {
        let counters = &self.recordings.offsite().expect("a bucket").counters;
        self.eventually("an uploader with nothing to do", || {
            let looked = counters.rounds.load(Ordering::Acquire) > 0;
            (looked && counters.snapshot().backlog_recordings == 0).then_some(())
        })
        .await;
    }

    pub(super) async fn uploaded(&self, id: StreamId) -> Recording {
        self.until(id, |it| it.uploaded.as_ref().is_some_and(|it| it.complete)).await
    }

    /// Looks whenever something was done. Virtual time passes while there is nothing to do; the recordings' own thread takes
    /// real time, and so does whoever gives up because it is stuck.
    pub(super) async fn eventually<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let mut patience = Patience::new();
        loop {
            let mut done = std::pin::pin!(self.recordings.progress.notified());
            // From here on nothing that is done is missed.
            done.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            tokio::select! {
                () = done => {}
                _ = &mut patience.over => {
                    let (list, stats) = (self.recordings.list(None, None, 9), self.recordings.storage_stats());
                    panic!("{what}: {list:?} {stats:?}")
                }
            }
        }
    }
}

/// Over after so much real time that whoever is not done by then is stuck.
struct Patience {
    over: oneshot::Receiver<()>,
    _waits: mpsc::Sender<()>,
}

impl Patience {
    fn new() -> Self {
        let (waits, ended) = mpsc::channel::<()>();
        let (tell, over) = oneshot::channel();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = tell.send(());
            }
        });
        Self { over, _waits: waits }
    }
}

/// A recording that a process left which was killed.
pub(super) fn leave(root: &Path, id: StreamId) {
    recorded(&root.join(id.to_string()), &id.to_string(), 9.0);
}

/// Recordings of the tests are of a day in November; how old they are does not matter.
pub(super) fn config() -> RecordingConfig {
    RecordingConfig { keep_days: 0, keep_mib: 0, ..RecordingConfig::default() }
}

pub(super) fn id(number: u64) -> StreamId {
    StreamId::from_raw(1_795_348_800_000 << 16 | number)
}

pub(super) fn root() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The media of a recording on disk.
pub(super) fn on_disk(root: &Path, id: StreamId) -> BTreeMap<String, Bytes> {
    let folder = root.join(id.to_string());
    let mut found = BTreeMap::new();
    for rendition in ["audio", "video"] {
        for entry in fs::read_dir(folder.join(rendition)).into_iter().flatten().filter_map(Result::ok) {
            let name = format!("{id}/{rendition}/{}", entry.file_name().to_string_lossy());
            found.insert(name, fs::read(entry.path()).expect("readable").into());
        }
    }
    if let Ok(bytes) = fs::read(folder.join("video.mp4")) {
        found.insert(format!("{id}/video.mp4"), bytes.into());
    }
    found
}

/// Nothing of the media of a recording is on disk.
pub(super) fn is_bare(root: &Path, id: StreamId) -> bool {
    let folder = root.join(id.to_string());
    ["audio", "video", "video.mp4"].iter().all(|name| !folder.join(name).exists())
}

pub(super) async fn in_bucket(memory: &Memory, id: StreamId) -> BTreeMap<String, Bytes> {
    let objects = memory.objects().await.into_iter();
    let of = |(name, (bytes, ..)): (String, (Bytes, String, String))| {
        let name = name.strip_prefix("live/recordings/")?.to_owned();
        (name.starts_with(&id.to_string()) && !name.ends_with(".m3u8")).then_some((name, bytes))
    };
    objects.filter_map(of).collect()
}

pub(super) fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), test)
}

#[test]
fn all_of_a_recording_arrives_with_its_headers() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        let whole = node.uploaded(id(1)).await;
        let disk = on_disk(root.path(), id(1));
        assert!(disk.len() > 10, "{disk:?}");
        assert_eq!(in_bucket(&memory, id(1)).await, disk);
        let uploaded = whole.uploaded.expect("told");
        let segments = disk.keys().filter(|name| name.ends_with(".m4s")).count() as u64;
        let bytes: u64 = disk.values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!((uploaded.segments, uploaded.bytes, uploaded.error), (segments, bytes, None));
        assert_eq!((whole.state, whole.storage), (RecordingState::Ready, Storage::Disk));
        for (name, (bytes, kind, cache)) in memory.objects().await {
            let wanted = match name.rsplit('/').next().expect("a name") {
                "master.m3u8" | "index.m3u8" => ("application/vnd.apple.mpegurl", "public, max-age=60"),
                "video.mp4" => ("video/mp4", "public, max-age=86400"),
                _ if name.contains("/audio/") => ("audio/mp4", "public, max-age=31536000, immutable"),
                _ => ("video/mp4", "public, max-age=31536000, immutable"),
            };
            assert_eq!((kind.as_str(), cache.as_str()), wanted, "{name}");
            if name.ends_with("index.m3u8") {
                let text = String::from_utf8(bytes.to_vec()).expect("text");
                assert!(
                    text.contains("#EXT-X-PLAYLIST-TYPE:VOD") && text.ends_with("#EXT-X-ENDLIST\n"),
                    "{text}"
                );
            }
        }
        assert!(memory.puts().values().all(|puts| *puts == 1), "{:?}", memory.puts());
        assert!(memory.running_max() <= UPLOADS_MAX);
        node.stop().await;
        // What is there is there: the next start has nothing to do, not even if it does not know that and must look what
        // the ledger says.
        for knows in [true, false] {
            if !knows {
                let folder = root.path().join(id(1).to_string());
                let mut left = Recording::read(&folder).expect("a manifest");
                assert!(left.uploaded.take().is_some_and(|it| it.complete));
                left.write(&folder).expect("written");
            }
            let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
            node.looked_at_everything().await;
            let found = node.uploaded(id(1)).await.uploaded.expect("told");
            assert_eq!((found.segments, found.bytes), (segments, bytes));
            assert_eq!(node.recordings.storage_stats().expect("a bucket").uploads_total, 0);
            assert!(memory.puts().values().all(|puts| *puts == 1), "{:?}", memory.puts());
            node.stop().await;
        }
    });
}

#[test]
fn what_arrived_before_the_process_ended_is_not_put_again() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        memory.delay(Duration::from_millis(100));
        let mut starts = 0;
        loop {
            starts += 1;
            let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
            let before = memory.puts().len();
            let seen = node
                .eventually("three more objects", || {
                    let complete = node.recordings.get(id(1))?.uploaded.is_some_and(|it| it.complete);
                    (complete || memory.puts().len() >= before + 3).then_some(complete)
                })
                .await;
            // It ends without a word.
            node.task.abort();
            let _ = node.task.await;
            node.recordings.close();
            drop(node.recordings);
            if seen {
                break;
            }
            assert!(starts < 100);
        }
        assert!(starts > 2, "it was interrupted");
        assert_eq!(in_bucket(&memory, id(1)).await, on_disk(root.path(), id(1)));
        let again: usize = memory.puts().values().map(|puts| puts - 1).sum();
        // What was under way at each end.
        assert!(again <= starts * UPLOADS_MAX, "{again} after {starts} starts: {:?}", memory.puts());
    });
}

#[test]
fn credentials_that_were_revoked_and_given_back_lose_nothing() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        memory.deny(true);
        // Retention would remove it at once.
        let config = RecordingConfig { keep_days: 1, ..config() };
        let node = Node::start(root.path(), &memory, config, KeepLocal::Always);
        let ready = node.until(id(1), |it| it.state == RecordingState::Ready).await;
        let stats = |node: &Node| node.recordings.storage_stats().expect("a bucket");
        node.eventually("ten failures", || (stats(&node).errors_denied_total >= 10).then_some(())).await;
        let told = stats(&node);
        assert_eq!((told.failing, told.uploads_total, told.backlog_recordings), (1, 0, 1), "{told:?}");
        assert!(told.backlog_objects > 10 && told.backlog_bytes > 0 && ready.storage == Storage::Disk);
        node.eventually("held", || (stats(&node).held == 1).then_some(())).await;
        let error = node.until(id(1), |it| it.uploaded.as_ref().is_some_and(|it| it.error.is_some())).await;
        let error = error.uploaded.and_then(|it| it.error).expect("told");
        assert!(error.contains("access_key_id"), "it says what to do: {error}");
        assert!(node.recordings.get(id(1)).is_some(), "nothing is removed that is not in the bucket");
        memory.deny(false);
        node.uploaded(id(1)).await;
        assert_eq!(in_bucket(&memory, id(1)).await, on_disk(root.path(), id(1)));
        node.eventually("all is well", || (stats(&node).failing == 0).then_some(())).await;
        node.stop().await;
    });
}

#[test]
fn a_bucket_that_stands_still_holds_a_few_requests_and_is_asked_again() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        leave(root.path(), id(2));
        memory.stand(true);
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        let late = || node.recordings.storage_stats().expect("a bucket").errors_late_total;
        node.eventually("requests that were given up", || (late() >= 8).then_some(())).await;
        assert!(memory.running_max() <= UPLOADS_MAX, "{}", memory.running_max());
        memory.stand(false);
        for number in [1, 2] {
            node.uploaded(id(number)).await;
            assert_eq!(in_bucket(&memory, id(number)).await, on_disk(root.path(), id(number)));
        }
        node.stop().await;
    });
}

#[test]
fn what_left_the_disk_plays_from_the_bucket_under_the_same_address() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        node.uploaded(id(1)).await;
        let disk = on_disk(root.path(), id(1));
        let lists = |node: &Node| {
            let router = vod_routes(Arc::clone(&node.recordings));
            async move { ask(&router, &format!("/vod/{}/video/index.m3u8", id(1)), &[]).await.2 }
        };
        let list = lists(&node).await;
        node.stop().await;
        let node = Node::start(root.path(), &memory, config(), KeepLocal::UntilUploaded);
        node.until(id(1), |it| it.storage == Storage::S3).await;
        node.eventually("no media on disk", || is_bare(root.path(), id(1)).then_some(())).await;
        assert_eq!(lists(&node).await, list);
        node.stop().await;

        // After a restart too.
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        let router = vod_routes(Arc::clone(&node.recordings));
        for (name, bytes) in &disk {
            let (status, headers, found) = ask(&router, &format!("/vod/{name}"), &[]).await;
            assert_eq!((status, found.len()), (StatusCode::OK, bytes.len()), "{name}");
            assert_eq!(found, bytes, "{name}");
            assert_eq!(headers["content-length"], bytes.len().to_string().as_str());
            assert_eq!(headers["accept-ranges"], "bytes");
        }
        let mp4 = format!("/vod/{}/video.mp4", id(1));
        let (_, headers, whole) = ask(&router, &mp4, &[]).await;
        assert!(headers["content-disposition"].to_str().expect("text").contains("ana-"), "{headers:?}");
        let (tag, len) = (headers["etag"].to_str().expect("text").to_owned(), whole.len());
        for (range, status, from, to) in [
            ("bytes=10-99".to_owned(), 206, 10, 100),
            ("bytes=-10".to_owned(), 206, len - 10, len),
            (format!("bytes={len}-"), 416, 0, 0),
        ] {
            let (answer, headers, found) = ask(&router, &mp4, &[("range", &range)]).await;
            assert_eq!((answer.as_u16(), &found[..]), (status, &whole[from..to]), "{range}");
            assert!(headers["content-range"].to_str().expect("text").ends_with(&format!("/{len}")));
        }
        assert_eq!(ask(&router, &mp4, &[("if-none-match", &tag)]).await.0, StatusCode::NOT_MODIFIED);
        let other = ask(&router, &mp4, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await;
        assert_eq!((other.0, other.2.len()), (StatusCode::OK, len));
        memory.deny(true);
        let (status, headers, _) = ask(&router, &mp4, &[]).await;
        assert_eq!(
            (status.as_u16(), &headers["cache-control"]),
            (503, &"no-store".parse().expect("a value"))
        );
        let reads = node.recordings.storage_stats().expect("a bucket");
        assert!(reads.reads_total > disk.len() as u64 && reads.errors_denied_total == 1, "{reads:?}");
        node.stop().await;
    });
}

#[test]
fn room_on_disk_is_made_of_what_is_in_the_bucket() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        leave(root.path(), id(2));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        for number in [1, 2] {
            node.uploaded(id(number)).await;
        }
        node.stop().await;
        for number in [1, 2] {
            let folder = root.path().join(id(number).to_string());
            let mut large = Recording::read(&folder).expect("a manifest");
            large.bytes = 2 << 20;
            large.write(&folder).expect("written");
        }
        // One is as large as all may be: the older one goes from disk, and none from the list.
        let config = RecordingConfig { keep_mib: 2, ..config() };
        let node = Node::start(root.path(), &memory, config, KeepLocal::Always);
        node.until(id(1), |it| it.storage == Storage::S3).await;
        let newer = node.recordings.get(id(2)).expect("it is listed");
        assert_eq!((newer.storage, on_disk(root.path(), id(2)).is_empty()), (Storage::Disk, false));
        assert_eq!(node.recordings.stats().bytes, 2 << 20);
        node.stop().await;
    });
}

#[test]
fn a_recording_that_is_removed_is_removed_from_the_bucket_even_if_that_is_away() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        leave(root.path(), id(1));
        leave(root.path(), id(2));
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        for number in [1, 2] {
            node.uploaded(id(number)).await;
        }
        node.recordings.remove(id(1)).expect("removed");
        let empty = |number| {
            let memory = Arc::clone(&memory);
            async move { in_bucket(&memory, id(number)).await.is_empty() }
        };
        let removed = || node.recordings.storage_stats().expect("a bucket").removed_total;
        node.eventually("removed", || (removed() > 0).then_some(())).await;
        assert!(empty(1).await && !empty(2).await);
        memory.deny(true);
        node.recordings.remove(id(2)).expect("removed");
        let denied = || node.recordings.storage_stats().expect("a bucket").errors_denied_total;
        node.eventually("a failure", || (denied() > 0).then_some(())).await;
        node.stop().await;
        memory.deny(false);
        // It is remembered.
        let node = Node::start(root.path(), &memory, config(), KeepLocal::Always);
        assert!(node.recordings.list(None, None, 9).is_empty());
        let left = || fs::read_dir(root.path()).expect("a folder").count();
        node.eventually("nothing but the lock is left", || (left() == 1).then_some(())).await;
        assert!(memory.objects().await.is_empty(), "{:?}", memory.objects().await.keys());
        node.stop().await;
    });
}

#[test]
fn large_files_are_put_in_parts_and_small_ones_at_once() {
    local(async {
        let (root, memory) = (root(), Memory::new());
        let bucket = Bucket::over(Arc::clone(&memory) as _, "", KeepLocal::Always);
        let headers = Headers { content_type: "video/mp4", cache: "no-store", disposition: None };
        for len in [0, 1000, 8 << 20, (20 << 20) + 7] {
            let bytes: Vec<u8> = (0..len).map(|at: usize| (at / 7) as u8).collect();
            let path = root.path().join("file");
            fs::write(&path, &bytes).expect("written");
            let sum = bucket.put_file("a/file", &path, len as u64, &headers).await.expect("put");
            assert_eq!(sum, crc32fast::hash(&bytes), "{len}");
            let (found, kind, cache) = memory.objects().await.remove("a/file").expect("there");
            assert_eq!((found.len(), kind.as_str(), cache.as_str()), (len, "video/mp4", "no-store"));
            assert!(found == bytes, "{len}");
            let fault =
                bucket.put_file("a/file", &path, len as u64 + 1, &headers).await.expect_err("too short");
            assert_eq!(fault.reason, Reason::Disk);
        }
    });
}

async fn ask(router: &axum::Router, url: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("a body"))
}
