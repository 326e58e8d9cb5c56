//! A server in a process of its own, which can be killed; and what it finds in its database.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use control::account::Accounts;
use control::db::{NewChannel, Role, User, Visibility};
use control::hooks::Webhooks;
use control::{Database, Secrets};
use secrecy::ExposeSecret;
use server::{Config, Server};
use tests::process::setting;

use crate::person::{PASSWORD, Person};

/// Tells this very program to be the server: the path of its configuration.
const CONFIG: &str = "SWIFTWATER_TEST_NODE";

/// A running server. Dropped, it ends by SIGKILL.
pub(crate) struct Node {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) rtmp: SocketAddr,
}

impl Node {
    /// Starts one with this data directory, and these settings besides. Unless they say so, it records nothing.
    pub(crate) async fn start(data: &Path, settings: &str) -> Self {
        let config = data.join("config.toml");
        let recording =
            if settings.contains("hls.recording") { "" } else { "hls.recording.enabled = false\n" };
        let text = format!(
            "data.dir = {data:?}\nhttp.listen = \"127.0.0.1:0\"\nrtmp.listen = \"127.0.0.1:0\"\nrtc.port = 0\n\
             rtc.announce = [\"127.0.0.1\"]\n{recording}{settings}"
        );
        fs::write(&config, text).expect("written");
        tokio::task::spawn_blocking(move || Self::start_blocking(&config)).await.expect("it ran")
    }

    fn start_blocking(config: &Path) -> Self {
        let told = addresses(config);
        let _ = fs::remove_file(&told);
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "node::a_server_to_be_killed", "--nocapture"])
            .env(CONFIG, config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(config.with_extension("log")).expect("a file"))
            .spawn()
            .expect("this very program");
        let deadline = now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&told).unwrap_or_default();
            if let Some((http, rtmp)) = text.split_once(' ') {
                let address = |text: &str| text.parse().expect("an address");
                return Self { child, http: address(http), rtmp: address(rtmp) };
            }
            let over = child.try_wait().expect("our child");
            let said = || fs::read_to_string(config.with_extension("log")).unwrap_or_default();
            assert!(over.is_none() && now() < deadline, "the server does not start: {over:?} {}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(self) {}
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where HTTP listens.
impl From<&Node> for SocketAddr {
    fn from(node: &Node) -> Self {
        node.http
    }
}

/// Not a test by itself: the server that [`Node::start`] starts, by its environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_to_be_killed() {
    let Some(config) = setting(CONFIG) else { return };
    let config = PathBuf::from(config);
    let server = Server::start(Config::load(Some(&config)).expect("readable")).await.expect("it starts");
    let told = addresses(&config);
    fs::write(told.with_extension("tmp"), format!("{} {}", server.http(), server.rtmp())).expect("written");
    fs::rename(told.with_extension("tmp"), told).expect("renamed");
    std::future::pending::<()>().await;
}

fn addresses(config: &Path) -> PathBuf {
    config.with_extension("addresses")
}

/// What is in the database before a node starts: an administrator, some channels of his, a key for each.
pub(crate) struct Inside {
    pub(crate) database: Database,
    pub(crate) secrets: Secrets,
    pub(crate) accounts: std::sync::Arc<Accounts>,
    pub(crate) admin: User,
    pub(crate) channels: Vec<control::db::Channel>,
    pub(crate) keys: Vec<String>,
}

impl Inside {
    /// Fills the database of a data directory, or that of `url`.
    pub(crate) async fn fill(data: &Path, url: Option<&str>, channels: usize) -> Self {
        let secrets = Secrets::load(&data.join("secret.key")).expect("secrets");
        let database = Database::open(url, data).await.expect("opens");
        let accounts = Accounts::new(database.clone(), secrets.clone(), Default::default());
        let admin =
            accounts.add_user("ana", "", PASSWORD.to_owned().into(), Role::Admin).await.expect("made");
        let mut inside = Self { database, secrets, accounts, admin, channels: Vec::new(), keys: Vec::new() };
        for n in 0..channels {
            let (name, visibility) = (format!("show{n}"), Visibility::Public);
            let new = NewChannel { owner_id: &inside.admin.id, name: &name, title: "A show", visibility };
            let channel = inside.database.add_channel(new, 0).await.expect("made");
            let (_, key) = inside.accounts.add_stream_key(&channel.id, "", None).await.expect("made");
            inside.keys.push(key.expose().to_owned());
            inside.channels.push(channel);
        }
        inside
    }

    /// The administrator, by an API token.
    pub(crate) async fn person(&self, scopes: &[&str]) -> Person {
        let scopes: Vec<String> = scopes.iter().map(|&it| it.to_owned()).collect();
        let (_, token) = self.accounts.add_token(&self.admin, "", &scopes, None).await.expect("made");
        Person { cookie: None, token: Some(token.expose_secret().to_owned()) }
    }

    /// A hook of the instance that hears of everything; its id.
    pub(crate) async fn hook(&self, url: &str) -> String {
        let webhooks =
            Webhooks::new(self.database.clone(), self.secrets.clone(), &crate::webhooks::loopback());
        let (hook, _) = webhooks.expect("a sender").add(None, url, &[]).await.expect("added");
        hook.id
    }
}

#[expect(clippy::disallowed_methods, reason = "a test gives up by the clock")]
fn now() -> Instant {
    Instant::now()
}
