//! Who may speak in a chat: slow mode, followers-only, bans. What a moderator says counts at once.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Gateway, Stage};

use crate::person::{Person, open_to_all, set_up, sign_up};

const CH: &str = "stream:show";

/// Somebody in the chat, by the token of their account.
async fn member(stage: &Stage, person: &Person) -> Gateway {
    let me = person.get(stage, "/api/v1/me").await;
    let mut gateway = Gateway::open(stage).await;
    gateway.send(&json!({ "type": "hello", "v": 1, "token": me["gatewayToken"] })).await;
    gateway.until("welcome").await;
    gateway.join(CH).await;
    gateway
}

/// `ack`, `slowmode`, or the code of the error.
async fn say(gateway: &mut Gateway) -> String {
    let answer = gateway.ask(json!({ "type": "message", "ch": CH, "text": "hello" })).await;
    match answer["type"].as_str() {
        Some("error") => answer["error"]["code"].as_str().expect("a code").to_owned(),
        kind => kind.expect("a type").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_chat_count_at_once_and_not_for_its_moderators() {
    let stage = Stage::shared_with(open_to_all).await;
    set_up(&stage).await;
    let (owner, bob) = (sign_up(&stage, "owner").await, sign_up(&stage, "bob").await);
    owner.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let mut guest = Gateway::hello(&stage).await;
    guest.join(CH).await;
    let (mut boss, mut member_bob) = (member(&stage, &owner).await, member(&stage, &bob).await);
    for speaker in [&mut guest, &mut boss, &mut member_bob] {
        assert_eq!(say(speaker).await, "ack");
    }
    let set = async |settings: Value| {
        let path = "/api/v1/channels/show/chat";
        assert_eq!(owner.status(&stage, Method::PUT, path, Some(settings)).await, 200);
    };

    set(json!({ "slowMs": 60_000 })).await;
    let answer = member_bob.ask(json!({ "type": "message", "ch": CH, "text": "hello" })).await;
    assert_eq!(answer["type"], "slowmode", "{answer}");
    let wait = answer["waitMs"].as_u64().expect("a number");
    assert!((1..=60_000).contains(&wait), "{wait}");
    assert_eq!((say(&mut guest).await.as_str(), say(&mut boss).await.as_str()), ("slowmode", "ack"));

    set(json!({ "followersOnlyMinutes": 0 })).await;
    for speaker in [&mut guest, &mut member_bob] {
        assert_eq!(say(speaker).await, "followers_only");
    }
    let follow = "/api/v1/channels/show/follow";
    assert_eq!(bob.status(&stage, Method::PUT, follow, Some(json!({ "notify": false }))).await, 204);
    assert_eq!(say(&mut member_bob).await, "ack", "he follows now");
    set(json!({ "subscribersOnly": true })).await;
    assert_eq!(say(&mut member_bob).await, "subscribers_only");
    let subscriber = "/api/v1/channels/show/subscribers/bob";
    let year = Some(json!({ "tier": 1, "seconds": 60 }));
    assert_eq!(owner.status(&stage, Method::PUT, subscriber, year).await, 204);
    assert_eq!(say(&mut member_bob).await, "ack");

    let ban = "/api/v1/channels/show/bans/bob";
    assert_eq!(bob.status(&stage, Method::PUT, ban, Some(json!({}))).await, 403);
    let order = Some(json!({ "seconds": 600, "reason": "spam" }));
    assert_eq!(owner.status(&stage, Method::PUT, ban, order).await, 204);
    let refused = member_bob.ask(json!({ "type": "message", "ch": CH, "text": "hello" })).await;
    assert_eq!(refused["error"]["code"], "banned", "{refused}");
    assert!(refused["error"]["message"].as_str().expect("text").ends_with("spam"), "{refused}");
    let listed = owner.get(&stage, "/api/v1/channels/show/bans").await;
    let entry = &listed["items"][0];
    assert_eq!((&entry["login"], &entry["moderator"]), (&json!("bob"), &json!("owner")), "{listed}");
    assert!(entry["until"].is_i64(), "{listed}");
    assert_eq!(owner.status(&stage, Method::DELETE, ban, None).await, 204);
    assert_eq!(say(&mut member_bob).await, "ack");
    assert_eq!(stage.metric("swiftwater_gateway_silenced_total").await, 4.0);
    stage.stop().await;
}
