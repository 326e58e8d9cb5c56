//! An S3 server that checks signatures (s3s-fs), with a bucket on disk: in this process, or in one that can be killed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hls_packager::S3Config;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::process::setting;
use crate::wait::eventually;

/// The bucket's name.
const NAME: &str = "recordings";

/// Who may use it, and by which secret.
const KEY: &str = "swiftwater";
const SECRET: &str = "the secret of the tests";

/// The folder and the address of a server in a process of its own.
const FOLDER: &str = "SWIFTWATER_TEST_BUCKET_FOLDER";
const LISTEN: &str = "SWIFTWATER_TEST_BUCKET_LISTEN";

/// Where such a process says that it listens.
const TOLD: &str = ".listens";

/// How long a process may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// A bucket, and the server in front of it.
pub struct Bucket {
    folder: TempDir,
    address: SocketAddr,
    door: Door,
    _tasks: JoinSet<()>,
    process: Option<Child>,
}

/// Who is let in, and how long that takes.
#[derive(Clone, Default)]
struct Door {
    /// The secret that signatures are checked with; without one the key is not known.
    secret: Arc<Mutex<Option<String>>>,
    delay_ms: Arc<AtomicU64>,
}

#[async_trait]
impl S3Auth for Door {
    async fn get_secret_key(&self, key: &str) -> S3Result<SecretKey> {
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed))).await;
        let secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match secret {
            Some(secret) if key == KEY => Ok(SecretKey::from(secret)),
            _ => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

impl Bucket {
    /// A server in this process.
    pub async fn start() -> Self {
        let folder = new_folder();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let door = Door::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, folder.path().to_owned(), door.clone()));
        let bucket = Self { folder, address, door, _tasks: tasks, process: None };
        bucket.open(true);
        bucket
    }

    /// A server in a process of its own. The test binary has a test `test` that calls [`Self::be_killed`].
    pub async fn start_process(test: &str) -> Self {
        let folder = new_folder();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (door, tasks) = (Door::default(), JoinSet::new());
        let mut bucket = Self { folder, address, door, _tasks: tasks, process: None };
        bucket.begin(test).await;
        bucket
    }

    /// The server of [`Self::start_process`]: not a test by itself.
    pub async fn be_killed() {
        let Some(folder) = setting(FOLDER).map(PathBuf::from) else { return };
        let listen: SocketAddr = setting(LISTEN).expect("told").parse().expect("an address");
        // Somebody may have the port for a moment.
        let listener =
            eventually("the port", BEGINS_WITHIN, async || TcpListener::bind(listen).await.ok()).await;
        let address = listener.local_addr().expect("bound").to_string();
        fs::write(folder.join("new"), address).expect("written");
        fs::rename(folder.join("new"), folder.join(TOLD)).expect("renamed");
        let door = Door::default();
        *door.secret.lock().unwrap_or_else(PoisonError::into_inner) = Some(SECRET.to_owned());
        serve(listener, folder, door).await;
    }

    /// Ends the process without a goodbye.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the process, at the address that it had.
    pub async fn begin(&mut self, test: &str) {
        let told = self.folder.path().join(TOLD);
        let _ = fs::remove_file(&told);
        let process = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, self.folder.path())
            .env(LISTEN, self.address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this very program");
        self.process = Some(process);
        self.address = eventually("the bucket's server", BEGINS_WITHIN, async || {
            fs::read_to_string(&told).ok()?.parse().ok()
        })
        .await;
    }

    /// Whether the key is known, from now on.
    pub fn open(&self, open: bool) {
        self.set_secret(open.then_some(SECRET));
    }

    /// The secret is another one than the node has, from now on.
    pub fn change_secret(&self) {
        self.set_secret(Some("another secret"));
    }

    fn set_secret(&self, secret: Option<&str>) {
        *self.door.secret.lock().unwrap_or_else(PoisonError::into_inner) = secret.map(str::to_owned);
    }

    /// Every request takes so long, from now on.
    pub fn delay(&self, delay: Duration) {
        self.door.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Settings of a node that uses it.
    pub fn config(&self) -> S3Config {
        S3Config {
            bucket: Some(NAME.to_owned()),
            endpoint: Some(format!("http://{}", self.address)),
            prefix: "live/recordings".to_owned(),
            access_key_id: Some(KEY.to_owned()),
            secret_access_key: Some(SECRET.to_owned().into()),
            allow_http: true,
            ..S3Config::default()
        }
    }

    /// Where the objects of a recording lie, as files.
    pub fn objects(&self, recording: &str) -> PathBuf {
        self.folder.path().join(NAME).join("live/recordings").join(recording)
    }

    /// Content-Type and Cache-Control of an object of a recording, as they were stored with it.
    pub fn headers(&self, recording: &str, object: &str) -> Option<(String, String)> {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let key = encode(&format!("live/recordings/{recording}/{object}"));
        let path = self.folder.path().join(format!(".bucket-{}.object-{key}.metadata.json", encode(NAME)));
        let headers: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&fs::read(&path).ok()?).expect("JSON");
        let get = |name| headers.get(name).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
        Some((get("content_type"), get("cache_control")))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.kill();
    }
}

fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(NAME)).expect("a bucket");
    folder
}

async fn serve(listener: TcpListener, folder: PathBuf, door: Door) {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).expect("a folder"));
    builder.set_auth(door);
    let service = builder.build();
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let service = service.clone();
        connections.spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
