//! Webhooks against real receivers on loopback: signed, retried, refused, and at least once through `kill -9`.

#![expect(
    clippy::disallowed_methods,
    reason = "a child process is told by its environment what it is, and killed by the clock"
)]

#[path = "../../tests/src/wait.rs"]
#[allow(unreachable_pub, reason = "of the crate of tests")]
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::Secrets;
use control::db::{Database, Delivery, DeliveryState, Page};
use control::hooks::{Event, WebhookConfig, Webhooks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// The child of the test that kills: where its database lies, and where it sends to.
const CHILD_DATA: &str = "SWIFTWATER_TEST_OUTBOX_DATA";
const CHILD_URL: &str = "SWIFTWATER_TEST_OUTBOX_URL";

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Message {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Message {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// A receiver on loopback that answers what its function says.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Message>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    async fn start(status: fn(usize) -> u16) -> Self {
        Self::start_with(status, 0).await
    }

    /// With an answer of so many bytes.
    async fn start_with(status: fn(usize) -> u16, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&taken);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                connections.spawn(async move {
                    while let Some(message) = read(&mut socket).await {
                        let number = {
                            let mut seen = seen.lock().expect("no panic");
                            seen.push(message);
                            seen.len()
                        };
                        let status = status(number);
                        let body = "x".repeat(bytes);
                        let answer = format!(
                            "HTTP/1.1 {status} x\r\nlocation: /\r\ncontent-length: {bytes}\r\n\r\n{body}"
                        );
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, taken, _tasks: tasks }
    }

    fn taken(&self) -> Vec<Message> {
        self.taken.lock().expect("no panic").clone()
    }
}

async fn read(socket: &mut TcpStream) -> Option<Message> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let read = socket.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let headers: BTreeMap<String, String> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        if body.len() >= headers["content-length"].parse().expect("a length") {
            return Some(Message { headers, body: body.to_owned() });
        }
    }
}

fn event(id: &str) -> Event {
    let data = json!({ "channel": "ana", "stream": "1" });
    Event { id: id.to_owned(), kind: "stream.online", channel_id: None, at: 1_795_000_000_000, data }
}

async fn sender(data: &Path, secrets: &Secrets) -> (Database, Arc<Webhooks>) {
    let database = Database::open(None, data).await.expect("a database");
    let config = WebhookConfig { allow_networks: vec!["127.0.0.0/8".parse().expect("a network")] };
    let webhooks = Webhooks::new(database.clone(), secrets.clone(), &config).expect("a sender");
    (database, webhooks)
}

async fn log_of(database: &Database, hook: &str) -> Vec<Delivery> {
    database.deliveries(hook, &Page { after: None, limit: 100 }).await.expect("the log")
}

#[tokio::test]
async fn a_message_is_signed_and_delivered_once_however_often_it_is_announced() {
    let data = tempfile::tempdir().expect("a directory");
    let (database, webhooks) = sender(data.path(), &Secrets::random()).await;
    let receiver = Receiver::start(|_| 204).await;
    let (hook, secret) =
        webhooks.add(None, &receiver.url, &["stream.online".to_owned()]).await.expect("added");
    assert!(secret.starts_with("whsec_") && !hook.secret_sealed.contains(&secret[6..]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&webhooks).run(stop.clone()));
    for _ in 0..3 {
        assert_eq!(webhooks.announce(&event("evt_1")).await.expect("announced"), 1);
    }
    let other = Event { kind: "stream.offline", ..event("evt_2") };
    assert_eq!(webhooks.announce(&other).await.expect("announced"), 0, "it did not ask for that");
    let log = eventually("delivered", PATIENCE, async || {
        let log = log_of(&database, &hook.id).await;
        log.first().is_some_and(|it| it.state == DeliveryState::Delivered).then_some(log)
    })
    .await;
    assert_eq!((log.len(), log[0].attempt, log[0].last_status), (1, 1, Some(204)));
    let taken = receiver.taken();
    assert_eq!(taken.len(), 1);
    let body: Value = serde_json::from_str(&taken[0].body).expect("JSON");
    assert_eq!(body["type"], "stream.online");
    assert_eq!(body["timestamp"], "2026-11-18T11:06:40.000Z");
    assert_eq!(body["data"]["channel"], "ana");
    // As a receiver checks it, by the words of the specification.
    let signed = format!("{}.{}.{}", taken[0].id(), taken[0].headers["webhook-timestamp"], taken[0].body);
    assert_eq!(taken[0].headers["webhook-signature"], format!("v1,{}", hmac(&secret, &signed)));
    stop.cancel();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_receiver_that_fails_is_asked_again_and_one_that_is_gone_is_not() {
    let data = tempfile::tempdir().expect("a directory");
    let (database, webhooks) = sender(data.path(), &Secrets::random()).await;
    let failing = Receiver::start(|_| 500).await;
    let moved = Receiver::start(|_| 301).await;
    let gone = Receiver::start(|_| 410).await;
    let mut hooks = Vec::new();
    for receiver in [&failing, &moved, &gone] {
        hooks.push(webhooks.add(None, &receiver.url, &[]).await.expect("added").0);
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&webhooks).run(stop.clone()));
    assert_eq!(webhooks.announce(&event("evt_1")).await.expect("announced"), 3);
    for hook in &hooks {
        eventually("an attempt", PATIENCE, async || {
            log_of(&database, &hook.id).await.first().filter(|it| it.attempt == 1).map(drop)
        })
        .await;
    }
    for (hook, state, status) in [
        (&hooks[0], DeliveryState::Pending, 500),
        (&hooks[1], DeliveryState::Pending, 301),
        (&hooks[2], DeliveryState::Dead, 410),
    ] {
        let log = log_of(&database, &hook.id).await;
        assert_eq!((log[0].state, log[0].last_status), (state, Some(status)));
        if state == DeliveryState::Pending {
            let wait = log[0].next_at - log[0].created_at;
            assert!((4000..60_000).contains(&wait), "about five seconds: {wait}");
        }
    }
    let disabled = eventually("turned off", PATIENCE, async || {
        Some(database.hook(&hooks[2].id).await.expect("there")).filter(|hook| !hook.enabled)
    })
    .await;
    assert!(disabled.disabled_reason.expect("a reason").contains("410"));
    assert_eq!(
        webhooks.announce(&event("evt_2")).await.expect("announced"),
        2,
        "the one that is gone hears no more"
    );
    stop.cancel();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_long_answer_counts_by_its_status() {
    let data = tempfile::tempdir().expect("a directory");
    let (database, webhooks) = sender(data.path(), &Secrets::random()).await;
    // More than is read of an answer: a framework's page about an error, a site's page in place of an API.
    let failing = Receiver::start_with(|_| 500, 20 * 1024).await;
    let taking = Receiver::start_with(|_| 200, 20 * 1024).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&webhooks).run(stop.clone()));
    let mut hooks = Vec::new();
    for receiver in [&failing, &taking] {
        hooks.push(webhooks.add(None, &receiver.url, &[]).await.expect("added").0);
    }
    assert_eq!(webhooks.announce(&event("evt_1")).await.expect("announced"), 2);
    for (hook, state, status) in
        [(&hooks[0], DeliveryState::Pending, 500), (&hooks[1], DeliveryState::Delivered, 200)]
    {
        let delivery = eventually("an attempt", PATIENCE, async || {
            log_of(&database, &hook.id).await.into_iter().next().filter(|it| it.attempt == 1)
        })
        .await;
        assert_eq!((delivery.state, delivery.last_status), (state, Some(status)));
    }
    stop.cancel();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_user_cannot_send_the_server_to_a_private_address() {
    let data = tempfile::tempdir().expect("a directory");
    let database = Database::open(None, data.path()).await.expect("a database");
    let webhooks =
        Webhooks::new(database.clone(), Secrets::random(), &WebhookConfig::default()).expect("a sender");
    for url in [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "https://user:pass@hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://a/",
        "hooks.example",
        "",
    ] {
        assert!(webhooks.add(None, url, &[]).await.is_err(), "{url}");
    }
    assert!(webhooks.add(None, "https://hooks.example/", &["stream.offlin".to_owned()]).await.is_err());
    // A name may be added; what it leads to is looked at when it is connected to.
    let receiver = Receiver::start(|_| 200).await;
    let (hook, _) =
        webhooks.add(None, &receiver.url.replace("127.0.0.1", "localhost"), &[]).await.expect("a name");
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&webhooks).run(stop.clone()));
    webhooks.announce(&event("evt_1")).await.expect("announced");
    let log = eventually("an attempt", PATIENCE, async || {
        let log = log_of(&database, &hook.id).await;
        (log[0].attempt == 1).then_some(log)
    })
    .await;
    assert!(log[0].last_error.as_deref().is_some_and(|error| error.contains("not public")), "{log:?}");
    assert!(receiver.taken().is_empty());
    stop.cancel();
    running.await.expect("no panic");
}

/// Not a test of its own: what [`kill_9_loses_no_event_that_was_announced`] starts and kills.
#[tokio::test]
async fn child_that_announces_until_it_is_killed() {
    let (Ok(data), Ok(url)) = (std::env::var(CHILD_DATA), std::env::var(CHILD_URL)) else { return };
    let secrets = Secrets::load(&Path::new(&data).join("secret")).expect("secrets");
    let (database, webhooks) = sender(Path::new(&data), &secrets).await;
    if database.hooks(None).await.expect("hooks").is_empty() {
        webhooks.add(None, &url, &[]).await.expect("added");
    }
    let _running = tokio::spawn(Arc::clone(&webhooks).run(CancellationToken::new()));
    let mut out = std::io::stdout();
    for number in 0.. {
        let id = format!("evt_{}_{number}", std::process::id());
        webhooks.announce(&event(&id)).await.expect("announced");
        // Only what is said here was promised.
        writeln!(out, "announced {id}").and_then(|()| out.flush()).expect("the parent listens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_event_that_was_announced() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(|_| 200).await;
    let mut announced = BTreeSet::new();
    for life in 0..5 {
        let (data, url) = (data.path().to_owned(), receiver.url.clone());
        let said =
            tokio::task::spawn_blocking(move || one_life(&data, &url, 40 + 23 * life)).await.expect("it ran");
        announced.extend(said);
    }
    // What the last one left is sent by the next, once its leases have passed.
    let secrets = Secrets::load(&data.path().join("secret")).expect("secrets");
    let (database, webhooks) = sender(data.path(), &secrets).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&webhooks).run(stop.clone()));
    eventually("everything is delivered", PATIENCE, async || {
        (database.deliveries_pending().await.ok()? == 0).then_some(())
    })
    .await;
    stop.cancel();
    running.await.expect("no panic");
    let taken = receiver.taken();
    let ids: BTreeSet<String> = taken.iter().map(|message| message.id().to_owned()).collect();
    let lost: Vec<&String> = announced.difference(&ids).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), announced.len());
    assert!(announced.len() >= 5 * 40, "{}", announced.len());
    println!(
        "{} announced in 5 lives, {} received, {} of them twice",
        announced.len(),
        taken.len(),
        taken.len() - ids.len()
    );
}

/// Starts the child, kills it once it has announced `events`; what it had announced.
fn one_life(data: &Path, url: &str, events: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child_that_announces_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DATA, data)
        .env(CHILD_URL, url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said =
        lines.map_while(Result::ok).filter_map(|line| line.split("announced ").nth(1).map(str::to_owned));
    let said: Vec<String> = said.take(events).collect();
    child.kill().expect("SIGKILL");
    child.wait().expect("ours");
    assert_eq!(said.len(), events, "the child ended by itself");
    said
}

/// HMAC-SHA256 by the parts of another implementation than the sender's.
fn hmac(secret: &str, text: &str) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let key = STANDARD.decode(&secret[6..]).expect("base64");
    STANDARD.encode(sign(&Key::new(HMAC_SHA256, &key), text.as_bytes()))
}
