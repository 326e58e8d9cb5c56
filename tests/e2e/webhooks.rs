//! Webhooks by the API, against a receiver on loopback: made, tested, read about, turned off, removed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use control::hooks::WebhookConfig;
use media::Kind;
use reqwest::Method;
use serde_json::{Value, json};
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, eventually, source};
use tokio::task::JoinSet;

use crate::person::{Person, set_up, sign_up};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver was sent: id, signature, body.
pub(crate) type Message = (String, String, Value);

/// Lets webhooks lead to this machine.
pub(crate) fn loopback() -> WebhookConfig {
    WebhookConfig { allow_networks: vec!["127.0.0.0/8".parse().expect("a network")] }
}

/// A receiver that takes everything.
pub(crate) struct Receiver {
    pub(crate) url: String,
    taken: Arc<Mutex<Vec<Message>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let taken: Arc<Mutex<Vec<Message>>> = Arc::default();
        let seen = Arc::clone(&taken);
        let take = async move |headers: HeaderMap, body: String| {
            let header = |name: &str| headers[name].to_str().expect("ASCII").to_owned();
            let body = serde_json::from_str(&body).expect("JSON");
            seen.lock().expect("no panic").push((header("webhook-id"), header("webhook-signature"), body));
            StatusCode::NO_CONTENT
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/live", listener.local_addr().expect("bound"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = axum::serve(listener, Router::new().route("/live", post(take))).await;
        });
        Self { url, taken, _tasks: tasks }
    }

    /// How many messages it was sent.
    pub(crate) fn count(&self) -> usize {
        self.taken.lock().expect("no panic").len()
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.taken.lock().expect("no panic").iter().map(|it| it.0.clone()).collect()
    }

    /// Waits for so many messages of a kind.
    pub(crate) async fn taken(&self, kind: &str, count: usize) -> Vec<Message> {
        eventually(&format!("{count} {kind}"), PATIENCE, async || {
            let taken = self.taken.lock().expect("no panic").clone();
            let of_kind: Vec<Message> = taken.into_iter().filter(|it| it.2["type"] == kind).collect();
            (of_kind.len() >= count).then_some(of_kind)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_made_tested_read_about_turned_off_and_removed() {
    let receiver = Receiver::start().await;
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        config.webhooks = loopback();
        config.publish.reconnect_grace_s = 0;
    })
    .await;
    let admin = set_up(&stage).await;
    let ana = sign_up(&stage, "owner").await;
    ana.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let hooks = "/api/v1/hooks?channel=show";
    for (body, why) in [
        (json!({ "url": "ftp://bot.example.org" }), "https://"),
        (json!({ "url": "https://me:pass@bot.example.org" }), "password"),
        (json!({ "url": "http://10.0.0.7/" }), "10.0.0.7"),
        (json!({ "url": receiver.url, "events": ["stream.paused"] }), "stream.paused"),
    ] {
        let refused = ana.send(&stage, Method::POST, hooks, Some(body)).await;
        assert_eq!(refused.status().as_u16(), 422, "{why}");
        let problem: Value = refused.json().await.expect("JSON");
        assert!(problem["detail"].as_str().expect("text").contains(why), "{problem}");
    }

    // The secret is in the first answer and in no other.
    let new = json!({ "url": receiver.url, "events": ["stream.online", "stream.offline"] });
    let made = ana.post(&stage, hooks, new).await;
    let secret = made["secret"].as_str().expect("shown once");
    assert!(secret.starts_with("whsec_"), "{made}");
    let id = made["hook"]["id"].as_str().expect("an id");
    let listed = ana.get(&stage, hooks).await;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["enabled"]), (&json!(id), &json!(true)));
    assert_eq!(listed["items"][0]["events"], json!(["stream.online", "stream.offline"]), "{listed}");
    assert!(!listed.to_string().contains(secret), "{listed}");
    // It is no hook of the instance, nor of another channel.
    assert_eq!(admin.get(&stage, "/api/v1/hooks").await["items"], json!([]));
    let elsewhere = format!("/api/v1/hooks/{id}");
    assert_eq!(admin.status(&stage, Method::DELETE, &elsewhere, None).await, 404);

    // A test, and what became of it.
    let path = |rest: &str| format!("/api/v1/hooks/{id}{rest}?channel=show");
    assert_eq!(ana.status(&stage, Method::POST, &path("/test"), None).await, 202);
    let sent = receiver.taken("webhook.test", 1).await;
    assert!(sent[0].1.starts_with("v1,"), "{sent:?}");
    let log = delivered(&ana, &stage, &path("/deliveries"), 1).await;
    assert_eq!((&log[0]["event"], &log[0]["status"]), (&json!("webhook.test"), &json!(204)), "{log:#?}");
    assert_eq!((&log[0]["eventId"], &log[0]["nextAt"]), (&json!(sent[0].0), &Value::Null), "{log:#?}");
    // Again, under the same id.
    let delivery = log[0]["id"].as_str().expect("an id");
    let replay = path(&format!("/deliveries/{delivery}/replay"));
    assert_eq!(ana.status(&stage, Method::POST, &replay, None).await, 202);
    let sent = receiver.taken("webhook.test", 2).await;
    assert_eq!(sent[0].0, sent[1].0);
    // The log comes in pieces.
    assert_eq!(ana.status(&stage, Method::POST, &path("/test"), None).await, 202);
    let log = delivered(&ana, &stage, &path("/deliveries"), 2).await;
    let pieces = format!("{}&limit=1", path("/deliveries"));
    let first = ana.get(&stage, &pieces).await;
    let next = first["next"].as_str().expect("there is more");
    let second = ana.get(&stage, &format!("{pieces}&cursor={next}")).await;
    assert_eq!((&first["items"][0], &second["items"][0]), (&log[0], &log[1]));

    // What it is for: its channel's streams, not those of others.
    let everything = admin.post(&stage, "/api/v1/hooks", json!({ "url": receiver.url })).await;
    let others = source::pattern(&format!("rtmp://{}/live/{KEY}", stage.rtmp_address()), source::PLAIN);
    stage.live(&[Kind::Video]).await;
    let heard = receiver.taken("stream.online", 1).await;
    assert_eq!(heard[0].2["data"]["channel"]["name"], CHANNEL, "{heard:?}");
    others.kill();
    let heard = receiver.taken("stream.offline", 1).await;
    assert_eq!(heard[0].2["data"]["channel"]["name"], CHANNEL, "{heard:?}");
    assert_eq!(heard[0].2["data"]["reason"], "ended", "{heard:?}");
    let ended = heard[0].2["data"]["endedAt"].as_i64().expect("a time");
    assert!(heard[0].2["data"]["startedAt"].as_i64().is_some_and(|began| began < ended), "{heard:?}");
    let key = ana.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let key = key["secret"].as_str().expect("shown once");
    let _own = source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN);
    let heard = receiver.taken("stream.online", 3).await;
    let names: Vec<&Value> = heard.iter().map(|it| &it.2["data"]["channel"]["name"]).collect();
    assert_eq!(
        names,
        [&json!(CHANNEL), &json!("show"), &json!("show")],
        "one of the channel, two of the instance"
    );
    assert_eq!(heard[1].0, heard[2].0, "one event");

    // Off, and gone with its log.
    let off = Some(json!({ "enabled": false }));
    assert_eq!(ana.status(&stage, Method::PATCH, &path(""), off).await, 204);
    let listed = ana.get(&stage, hooks).await;
    assert_eq!(listed["items"][0]["disabledReason"], "turned off by its owner", "{listed}");
    assert_eq!(ana.status(&stage, Method::DELETE, &path(""), None).await, 204);
    assert_eq!(ana.get(&stage, hooks).await["items"], json!([]));
    assert_eq!(ana.status(&stage, Method::GET, &path("/deliveries"), None).await, 404);
    let everything = format!("/api/v1/hooks/{}", everything["hook"]["id"].as_str().expect("an id"));
    assert_eq!(admin.status(&stage, Method::DELETE, &everything, None).await, 204);
    stage.stop().await;
}

/// Waits until so many of the log were delivered.
async fn delivered(who: &Person, stage: &Stage, path: &str, count: usize) -> Vec<Value> {
    eventually("the log has it", PATIENCE, async || {
        let log = who.get(stage, path).await;
        let items = log["items"].as_array().expect("a list").clone();
        let done = items.iter().filter(|it| it["state"] == "delivered").count();
        (done >= count).then_some(items)
    })
    .await
}
