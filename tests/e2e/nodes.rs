//! Two nodes on one PostgreSQL.

use std::net::SocketAddr;
use std::time::Duration;

use control::db::{ChannelChange, Page, Visibility};
use reqwest::Method;
use serde_json::json;
use tests::eventually;
use tests::postgres::Postgres;
use tests::rtmp::Numbered;

use crate::node::{Inside, Node};
use crate::person::{PASSWORD, Person};
use crate::webhooks::Receiver;

/// The lease of a dead node is half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_accounts_grants_and_channels_and_one_takes_over_from_the_other() {
    let postgres = Postgres::start();
    let url = postgres.database();
    let (here, there) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let receiver = Receiver::start().await;
    let settings = format!(
        "database.url = {url:?}\ndatabase.secret_file = {:?}\nwebhooks.allow_networks = [\"127.0.0.0/8\"]\n\
         hls.recording.enabled = false\n",
        here.path().join("secret.key")
    );
    // Both at once, on a database without a table, with a secret that one of them makes.
    let (one, other) =
        tokio::join!(Node::start(here.path(), &settings), Node::start(there.path(), &settings));
    let inside = Inside::fill(here.path(), Some(&url), 2).await;
    inside.hook(&receiver.url).await;

    // Who signs in on one is known on the other; so are tokens, and what is changed there.
    let credentials = json!({ "login": "ana", "password": PASSWORD });
    let ana = Person::sign_in(&one, "/api/v1/session", credentials).await;
    assert_eq!(ana.get(&other, "/api/v1/me").await["account"]["login"], "ana");
    let program = inside.person(&["grant:write", "stream:moderate", "stream:write"]).await;
    for node in [&one, &other] {
        assert_eq!(program.status(node, Method::GET, "/api/v1/channels/show0/streams", None).await, 200);
    }
    assert_eq!(ana.status(&other, Method::DELETE, "/api/v1/session", None).await, 204);
    assert_eq!(ana.status(&one, Method::GET, "/api/v1/me", None).await, 401, "signed out everywhere");

    // A grant of one opens the door of the other, until it is made void on either.
    let signed = ChannelChange { visibility: Some(Visibility::Signed), ..ChannelChange::default() };
    inside.database.change_channel(&inside.channels[1].id, signed, 0).await.expect("changed");
    let asked = async |node: &Node, path: &str| Person::default().status(node, Method::GET, path, None).await;
    let closed = "/hls/show1/master.m3u8";
    for node in [&one, &other] {
        eventually("it is closed", PATIENCE, async || (asked(node, closed).await == 401).then_some(())).await;
    }
    let grant = program.post(&one, "/api/v1/channels/show1/grants", json!({ "subject": "viewer" })).await;
    let open = grant["hls"].as_str().expect("a path");
    assert_eq!((asked(&one, open).await, asked(&other, open).await), (404, 404), "let in; nothing is live");
    let void = "/api/v1/channels/show1/grants";
    assert_eq!(program.status(&other, Method::DELETE, void, None).await, 204);
    for node in [&one, &other] {
        eventually("it is void", PATIENCE, async || (asked(node, open).await == 403).then_some(())).await;
    }

    // So do the keys of grants, rotated on one: the other knows the new one when it comes, and the old one still.
    let old = program.post(&other, void, json!({ "subject": "viewer" })).await;
    let old = old["hls"].as_str().expect("a path");
    let admin = inside.person(&["admin", "grant:write"]).await;
    let keys = admin.post(&one, "/api/v1/grant-keys", json!({ "delaySeconds": 0 })).await;
    assert_eq!(keys["items"].as_array().expect("a list").len(), 2, "{keys}");
    let new = admin.post(&one, void, json!({ "subject": "viewer" })).await;
    let new = new["hls"].as_str().expect("a path");
    for node in [&one, &other] {
        eventually("the new key is known", PATIENCE, async || (asked(node, new).await == 404).then_some(()))
            .await;
        assert_eq!(asked(node, old).await, 404, "what the old key signed is good");
    }
    let first = keys["items"][0]["id"].as_str().expect("an id");
    let revoke = format!("/api/v1/grant-keys/{first}");
    assert_eq!(admin.status(&other, Method::DELETE, &revoke, None).await, 204);
    for node in [&one, &other] {
        eventually("it is revoked", PATIENCE, async || (asked(node, old).await == 401).then_some(())).await;
        assert_eq!(asked(node, new).await, 404, "the new one stays");
    }

    // One live Stream per Channel, over both.
    let mut live = publish(one.rtmp, &inside.keys[0]).await.expect("the channel is free");
    live.video(0, 0, true, 500).expect("sent");
    assert!(publish(other.rtmp, &inside.keys[0]).await.is_err(), "live on another node");
    let counted = Person::default().send(&other, Method::GET, "/metrics", None).await;
    let counted = counted.text().await.expect("text");
    assert!(counted.contains("\nswiftwater_publishers_busy_total 1\n"), "counted");
    // The other channel is free.
    let elsewhere = publish(other.rtmp, &inside.keys[1]).await.expect("free");

    // Killed: after its lease, and not before, the other one takes the Channel.
    one.kill().await;
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    let taken = async || {
        pace.tick().await;
        publish(other.rtmp, &inside.keys[0]).await.ok()
    };
    let taken = eventually("the channel is taken over", PATIENCE, taken).await;
    let past = inside.database.past_streams(&inside.channels[0].id, &Page::first(10)).await.expect("listed");
    let ends: Vec<Option<&str>> = past.iter().map(|row| row.end_reason.as_deref()).collect();
    assert_eq!(ends, [None, Some("node_lost")], "{past:?}");
    assert_ne!(past[0].node_id, past[1].node_id);
    let told = receiver.taken("stream.offline", 1).await;
    assert_eq!(told[0].2["data"]["reason"], "node_lost", "{told:?}");
    assert_eq!(told[0].2["data"]["channel"]["name"], "show0", "{told:?}");
    // It comes back as a member, and finds nothing of its own to end.
    let one = Node::start(here.path(), &settings).await;
    assert!(publish(one.rtmp, &inside.keys[0]).await.is_err(), "live on the other one");
    let offline = receiver.taken("stream.offline", 1).await;
    assert_eq!(offline.len(), 1, "told once: {offline:?}");
    drop((taken, elsewhere));
}

async fn publish(rtmp: SocketAddr, key: &str) -> std::io::Result<Numbered> {
    let key = key.to_owned();
    tokio::task::spawn_blocking(move || Numbered::publish(rtmp, &key)).await.expect("it ran")
}
