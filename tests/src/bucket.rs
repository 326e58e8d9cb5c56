//! An S3 server that checks signatures (s3s-fs), with a bucket on disk: in this process, or in one that can be killed.

mod authority;
mod door;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hls_packager::S3Config;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::door::{Door, Key};
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
    pub(crate) door: Door,
    /// The certificate of who vouches for it, if it speaks TLS.
    authority: Option<PathBuf>,
    _tasks: JoinSet<()>,
    process: Option<Child>,
}

impl Bucket {
    /// A server in this process.
    pub async fn start() -> Self {
        Self::start_behind(None, new_folder()).await
    }

    /// The same behind TLS, by an authority that nobody knows.
    pub async fn start_tls() -> Self {
        let folder = new_folder();
        let file = folder.path().join("authority.pem");
        Self::start_behind(Some(file), folder).await
    }

    async fn start_behind(authority: Option<PathBuf>, folder: TempDir) -> Self {
        let tls = authority.as_deref().map(authority::certify);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let door = Door::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, folder.path().to_owned(), door.clone(), tls));
        let bucket = Self { folder, address, door, authority, _tasks: tasks, process: None };
        bucket.open(true);
        bucket
    }

    /// A server in a process of its own. The test binary has a test `test` that calls [`Self::be_killed`].
    pub async fn start_process(test: &str) -> Self {
        let folder = new_folder();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (door, tasks) = (Door::default(), JoinSet::new());
        let mut bucket = Self { folder, address, door, authority: None, _tasks: tasks, process: None };
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
        door.keys().push_back(key(SECRET));
        serve(listener, folder, door, None).await;
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
        self.set_key(open.then(|| key(SECRET)));
    }

    /// The secret is another one than the node has, from now on.
    pub fn change_secret(&self) {
        self.set_key(Some(key("another secret")));
    }

    fn set_key(&self, key: Option<Key>) {
        *self.door.keys() = key.into_iter().collect();
    }

    /// Every request takes so long, from now on.
    pub fn delay(&self, delay: Duration) {
        self.door.delay(delay);
    }

    /// It is almost full from now on: what has more bytes finds no room.
    pub fn fill(&self, fits: u64) {
        self.door.limit(fits);
    }

    /// Everything finds room again.
    pub fn make_room(&self) {
        self.door.limit(0);
    }

    /// Settings of a node that uses it.
    pub fn config(&self) -> S3Config {
        S3Config {
            bucket: Some(NAME.to_owned()),
            endpoint: Some(self.endpoint()),
            prefix: "live/recordings".to_owned(),
            access_key_id: Some(KEY.to_owned()),
            secret_access_key: Some(SECRET.to_owned().into()),
            allow_http: self.authority.is_none(),
            ca_file: self.authority.clone(),
            ..S3Config::default()
        }
    }

    /// Its URL, without its name.
    pub fn endpoint(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
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

/// The key of the tests, by this secret.
fn key(secret: &str) -> Key {
    Key { id: KEY.to_owned(), secret: secret.to_owned(), session: None }
}

async fn serve(listener: TcpListener, folder: PathBuf, door: Door, tls: Option<TlsAcceptor>) {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).expect("a folder"));
    builder.set_auth(door.clone());
    builder.set_access(door);
    let service = builder.build();
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let (service, tls) = (service.clone(), tls.clone());
        connections.spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let _ = match tls {
                None => connection.serve_connection(TokioIo::new(socket), service).await,
                Some(tls) => {
                    // Who does not trust it goes.
                    let Ok(socket) = tls.accept(socket).await else { return };
                    connection.serve_connection(TokioIo::new(socket), service).await
                }
            };
        });
    }
}
