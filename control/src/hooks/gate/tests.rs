use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::super::visit::WAITING_MAX;
use super::*;

/// A backend on loopback. It hands over every body and answers what `answer` says; with `None` it waits until the
/// test opens it.
struct Backend {
    url: String,
    heard: mpsc::Receiver<Value>,
    open: watch::Sender<bool>,
    most: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Backend {
    async fn start(answer: fn(&Value) -> &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook?secret=s3cret", listener.local_addr().expect("bound"));
        let (hear, heard) = mpsc::channel(1024);
        let (open, opened) = watch::channel(true);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let (hear, mut opened) = (hear.clone(), opened.clone());
                let (now, seen) = (Arc::clone(&now), Arc::clone(&seen));
                connections.spawn(async move {
                    while let Some(body) = request(&mut socket).await {
                        let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                        seen.fetch_max(at_once, Ordering::SeqCst);
                        let text = answer(&body);
                        hear.send(body).await.expect("the test listens");
                        opened.wait_for(|open| *open).await.expect("the test runs");
                        now.fetch_sub(1, Ordering::SeqCst);
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, heard, open, most, _tasks: tasks }
    }

    fn config(&self) -> Config {
        let url = || vec![HookUrl::parse(&self.url).expect("a URL")];
        Config { on_publish: url(), on_unpublish: url(), on_play: url(), on_stop: url(), ..Config::default() }
    }

    async fn hears(&mut self) -> Value {
        self.heard.recv().await.expect("the backend runs")
    }

    fn heard_nothing_more(&mut self) {
        assert_eq!(self.heard.try_recv().ok(), None);
    }
}

/// The JSON of the next request.
async fn request(socket: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.expect("a length") {
            return Some(serde_json::from_str(body).expect("JSON"));
        }
    }
}

fn viewer(last: u8, query: &str) -> Caller {
    Caller::viewer("whep", [192, 0, 2, last].into(), ChannelName::parse("ana").expect("a name"), query, None)
}

fn publisher(key: &str) -> Caller {
    Caller { transport: "rtmp", stream: key.to_owned().into(), ..viewer(1, "") }
}

fn gate(config: Config) -> Arc<Gate> {
    Gate::new(config, TaskTracker::new()).expect("a gate")
}

#[tokio::test]
async fn a_gate_without_hooks_is_open_and_free() {
    let gate = gate(Config::default());
    gate.play(&viewer(1, "")).await.expect("open");
    gate.publish(&publisher("k")).await.expect("open");
    assert_eq!((gate.stats().requests, gate.stats().decisions), (0, 0));
}

#[tokio::test]
async fn a_viewer_is_asked_for_once_and_told_of_when_the_last_of_him_leaves() {
    let mut backend = Backend::start(|_| "0").await;
    let gate = gate(backend.config());
    let one = gate.play(&viewer(1, "token=a")).await.expect("allowed");
    let asked = backend.hears().await;
    assert_eq!((&asked["action"], &asked["param"]), (&"on_play".into(), &"?token=a".into()));
    let two = gate.play(&viewer(1, "token=a")).await.expect("allowed");
    let other = gate.play(&viewer(2, "token=a")).await.expect("allowed");
    assert_eq!(backend.hears().await["ip"], "192.0.2.2");
    let stats = gate.stats();
    assert_eq!((stats.requests, stats.cached, stats.decisions, stats.play_allowed), (2, 1, 2, 2));
    // The cache is part of him as long as it is good.
    drop((one, two));
    let stop = CancellationToken::new();
    stop.cancel();
    Arc::clone(&gate).run(stop).await;
    let told = backend.hears().await;
    assert_eq!((&told["action"], &told["client_id"]), (&"on_stop".into(), &asked["client_id"]));
    backend.heard_nothing_more();
    drop(other);
    assert_eq!(backend.hears().await["ip"], "192.0.2.2");
}

#[tokio::test]
async fn a_crowd_that_asks_the_same_is_one_question() {
    let mut backend = Backend::start(|_| r#"{"code":0}"#).await;
    backend.open.send_replace(false);
    let gate = gate(backend.config());
    let mut crowd = JoinSet::new();
    for _ in 0..500 {
        let gate = Arc::clone(&gate);
        crowd.spawn(async move { gate.play(&viewer(1, "")).await });
    }
    backend.hears().await;
    backend.open.send_replace(true);
    while let Some(joined) = crowd.join_next().await {
        joined.expect("no panic").expect("allowed");
    }
    assert_eq!((gate.stats().requests, gate.stats().cached), (1, 499));
    backend.heard_nothing_more();
}

#[tokio::test]
async fn questions_at_a_time_are_bounded() {
    let mut backend = Backend::start(|_| "0").await;
    backend.open.send_replace(false);
    let gate = gate(Config { in_flight_max: 8, timeout_ms: 5000, ..backend.config() });
    let mut crowd = JoinSet::new();
    for last in 0..200 {
        let gate = Arc::clone(&gate);
        crowd.spawn(async move { gate.play(&viewer(last, "")).await });
    }
    for _ in 0..8 {
        backend.hears().await;
    }
    assert_eq!(gate.stats().in_flight, 8);
    backend.open.send_replace(true);
    while let Some(joined) = crowd.join_next().await {
        joined.expect("no panic").expect("allowed");
    }
    assert!(backend.most.load(Ordering::SeqCst) <= 8);
    assert_eq!((gate.stats().requests, gate.stats().in_flight), (200, 0));
}

#[tokio::test]
async fn guesses_cost_a_question_each_but_no_memory() {
    let mut backend = Backend::start(|_| r#"{"code":1,"msg":"no"}"#).await;
    let gate = gate(Config { on_stop: Vec::new(), ..backend.config() });
    for guess in 0..300 {
        let refused = gate.play(&viewer(1, &format!("token={guess}"))).await.expect_err("refused");
        assert_eq!(refused, Refusal::Forbidden(Some("no".to_owned())));
        backend.hears().await;
    }
    // The same guess again costs not even that.
    gate.play(&viewer(1, "token=299")).await.expect_err("refused");
    backend.heard_nothing_more();
    assert_eq!((gate.stats().play_refused, gate.stats().cached), (300, 1));
}

#[tokio::test]
async fn every_publisher_is_asked_for_and_hears_why_not() {
    let mut backend = Backend::start(|body| match body["stream"].as_str() {
        Some("live_good") => r#"{"code":0,"data":{"channel":"ana"}}"#,
        _ => r#"{"code":403,"msg":"key live_evil is blocked"}"#,
    })
    .await;
    let gate = gate(backend.config());
    for _ in 0..2 {
        let admitted = gate.publish(&publisher("live_good")).await.expect("allowed");
        assert_eq!(admitted.channel.map(|it| it.to_string()).as_deref(), Some("ana"));
        assert_eq!(backend.hears().await["action"], "on_publish");
        drop(admitted.visit);
        assert_eq!(backend.hears().await["action"], "on_unpublish");
    }
    for _ in 0..2 {
        let refused = gate.publish(&publisher("live_evil")).await.expect_err("refused");
        // A backend that says the key back says it to nobody.
        assert_eq!(refused.to_string(), "Refused by this site: key … is blocked");
    }
    backend.hears().await;
    backend.heard_nothing_more();
    let replaced = gate.publish(&publisher("live_good")).await.expect("allowed");
    backend.hears().await;
    replaced.visit.forget();
    backend.heard_nothing_more();
}

#[tokio::test]
async fn an_end_is_told_before_the_next_beginning_is_asked() {
    let mut backend = Backend::start(|_| "0").await;
    let gate = gate(backend.config());
    let first = gate.publish(&publisher("k")).await.expect("allowed");
    backend.hears().await;
    backend.open.send_replace(false);
    drop(first.visit);
    let again = Arc::clone(&gate);
    let mut second = JoinSet::new();
    second.spawn(async move { again.publish(&publisher("k")).await });
    assert_eq!(backend.hears().await["action"], "on_unpublish");
    // Another stream need not wait for it.
    let other = Arc::clone(&gate);
    second.spawn(async move { other.publish(&publisher("other")).await });
    assert_eq!(backend.hears().await["stream"], "other");
    backend.heard_nothing_more();
    backend.open.send_replace(true);
    let asked = backend.hears().await;
    assert_eq!((&asked["action"], &asked["stream"]), (&"on_publish".into(), &"k".into()));
    while let Some(joined) = second.join_next().await {
        joined.expect("no panic").expect("allowed");
    }
}

#[tokio::test]
async fn viewers_who_leave_keep_no_publisher_from_coming_back() {
    let mut backend = Backend::start(|_| "0").await;
    let leaving = Backend::start(|_| "0").await;
    leaving.open.send_replace(false);
    let gate = gate(Config { on_stop: leaving.config().on_stop, timeout_ms: 5000, ..backend.config() });
    let first = gate.publish(&publisher("k")).await.expect("allowed");
    backend.hears().await;
    // More than may wait, of whom none is told in time.
    for _ in 0..=WAITING_MAX {
        drop(Visit::new(&gate.teller, Action::Stop, "v".to_owned(), viewer(1, "")));
    }
    assert_eq!((gate.stats().telling, gate.stats().tell_dropped), (WAITING_MAX, 1));
    drop(first.visit);
    gate.publish(&publisher("k")).await.expect("his end was told at once");
    assert_eq!(backend.hears().await["action"], "on_unpublish");
    assert_eq!(backend.hears().await["action"], "on_publish");
    assert_eq!((gate.stats().told, gate.stats().tell_dropped), (1, 1));
}

#[tokio::test]
async fn a_backend_that_does_not_answer_refuses_or_lets_in_as_configured() {
    let backend = Backend::start(|_| "perhaps").await;
    let slow = Backend::start(|_| "0").await;
    slow.open.send_replace(false);
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", dead.local_addr().expect("bound"));
    drop(dead);
    let dead = Config { on_publish: vec![HookUrl::parse(&url).expect("a URL")], ..Config::default() };
    let dead = Config { on_play: dead.on_publish.clone(), ..dead };
    for config in [backend.config(), Config { timeout_ms: 50, ..slow.config() }, dead] {
        let closed = gate(Config { on_stop: Vec::new(), on_unpublish: Vec::new(), ..config.clone() });
        assert_eq!(closed.play(&viewer(1, "")).await.expect_err("closed"), Refusal::Unavailable);
        let refused = closed.publish(&publisher("k")).await.expect_err("closed");
        assert!(refused.to_string().contains("try again"), "{refused}");
        assert_eq!((closed.stats().play_failed, closed.stats().publish_failed), (1, 1));
        let open = gate(Config { fail_open: true, on_stop: Vec::new(), on_unpublish: Vec::new(), ..config });
        open.play(&viewer(1, "")).await.expect("open");
        open.publish(&publisher("k")).await.expect("open");
        assert_eq!(open.stats().opened, 2);
    }
}

#[tokio::test]
async fn all_backends_must_allow_it() {
    let mut one = Backend::start(|_| "0").await;
    let mut two = Backend::start(|_| "5").await;
    let mut config = one.config();
    config.on_play.extend(two.config().on_play);
    let gate = gate(config);
    assert_eq!(gate.play(&viewer(1, "")).await.expect_err("refused"), Refusal::Forbidden(None));
    assert_eq!(one.hears().await, two.hears().await);
}

#[tokio::test]
async fn a_longer_text_than_any_honest_one_is_not_handed_on() {
    let mut backend = Backend::start(|_| "0").await;
    let gate = gate(backend.config());
    let long = "x".repeat(3000);
    assert!(matches!(gate.play(&viewer(1, &long)).await, Err(Refusal::Forbidden(Some(_)))));
    assert!(matches!(gate.publish(&publisher(&long)).await, Err(Refusal::Forbidden(Some(_)))));
    backend.heard_nothing_more();
}

#[tokio::test]
async fn a_backend_that_fails_in_a_row_is_left_alone_and_tried_by_one() {
    let mut backend = Backend::start(|body| if body["param"] == "?down" { "<html>" } else { "0" }).await;
    let config = Config { breaker_failures: 3, breaker_open_ms: 200, cache_ms: 0, ..backend.config() };
    let gate = gate(config);
    for _ in 0..3 {
        assert_eq!(gate.play(&viewer(1, "down")).await, Err(Refusal::Unavailable));
        backend.hears().await;
    }
    // Nobody is asked for; publishers are, whose questions have not failed.
    for last in 2..20 {
        assert_eq!(gate.play(&viewer(last, "")).await, Err(Refusal::Unavailable));
    }
    backend.heard_nothing_more();
    let stats = gate.stats();
    assert_eq!((stats.not_asked, stats.breakers_open, stats.play_failed), (18, 1, 21));
    let _publisher = gate.publish(&publisher("k")).await.expect("asked, and let in");
    assert_eq!(backend.hears().await["action"], "on_publish");
    // Its time is over: one is asked for, and since it is answered, all.
    let reopened = async {
        while gate.play(&viewer(30, "")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reopened).await.expect("tried again");
    assert_eq!(backend.hears().await["ip"], "192.0.2.30");
    gate.play(&viewer(31, "")).await.expect("asked, and let in");
    assert_eq!(gate.stats().breakers_open, 0);
}
