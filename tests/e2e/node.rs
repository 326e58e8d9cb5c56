//! A server in a process of its own, which can be killed; and what it finds in its database.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use control::account::Accounts;
use control::db::{NewChannel, Role, User, Visibility};
use control::hooks::Webhooks;
use control::{Database, Secrets};
use secrecy::ExposeSecret;
use server::{Config, Server};
use tests::process::setting;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::person::{PASSWORD, Person};

/// Tells this very program to be the server: the path of its configuration.
const CONFIG: &str = "SWIFTWATER_TEST_NODE";

/// What the child says before its two addresses.
const SAYS: &str = "the server listens on ";

/// A server takes its time on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server. Dropped, it ends by SIGKILL.
pub(crate) struct Node {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) rtmp: SocketAddr,
    /// Open as long as the child lives: the test harness in it ends when nobody reads what it says.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Node {
    /// Starts one with this data directory, and these settings besides.
    pub(crate) async fn start(data: &Path, settings: &str) -> Self {
        Self::start_in(data, settings, &[]).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn start_in(data: &Path, settings: &str, environment: &[(&str, &str)]) -> Self {
        // Whoever asks it by HTTP needs one, also in a run of one test.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (config, log) = (data.join("config.toml"), data.join("config.log"));
        let text = format!(
            "data.dir = {data:?}\nhttp.listen = \"127.0.0.1:0\"\nrtmp.listen = \"127.0.0.1:0\"\nrtc.port = 0\n\
             rtc.announce = [\"127.0.0.1\"]\n{settings}"
        );
        fs::write(&config, text).expect("written");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "node::a_server_to_be_killed", "--nocapture"])
            .envs(environment.iter().copied())
            .env(CONFIG, &config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a file"))
            .kill_on_drop(true)
            .spawn()
            .expect("this very program");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let told = async {
            while let Ok(Some(line)) = said.next_line().await {
                // The test harness may have begun the line.
                if let Some((_, addresses)) = line.split_once(SAYS) {
                    return Some(addresses.to_owned());
                }
            }
            None
        };
        let told = tokio::time::timeout(START_TIMEOUT, told).await.ok().flatten();
        let Some((http, rtmp)) = told.as_deref().and_then(|it| it.split_once(' ')) else {
            panic!("the server does not start: {}", fs::read_to_string(log).unwrap_or_default());
        };
        let address = |text: &str| text.parse().expect("an address");
        Self { child, http: address(http), rtmp: address(rtmp), _said: said }
    }

    /// Ends it without a goodbye.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("our child");
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
    println!("{SAYS}{} {}", server.http(), server.rtmp());
    std::future::pending::<()>().await;
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
