//! Whoever takes the name of a channel that was removed gets nothing of what that one has left.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Stage, eventually, source};

use crate::person::{Person, set_up, sign_up};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_channel_has_left_is_not_for_who_takes_its_name() {
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        config.publish.reconnect_grace_s = 0;
    })
    .await;
    let admin = set_up(&stage).await;
    let owner = sign_up(&stage, "owner").await;
    owner.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let key = owner.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let key = key["secret"].as_str().expect("shown once").to_owned();
    let encoder = source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN);
    eventually("a segment is on disk", PATIENCE, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 1.0).then_some(())
    })
    .await;
    encoder.kill();
    let left = eventually("the recording is ready", PATIENCE, async || {
        let items = listed(&stage, &owner).await;
        (items[0]["state"] == "ready").then(|| items[0].clone())
    })
    .await;
    let (path, mp4) = (
        format!("/api/v1/recordings/{}", left["id"].as_str().expect("an id")),
        left["mp4"].as_str().expect("a path").to_owned(),
    );
    let stranger = Person::default();
    assert_eq!(status(&stage, &stranger, Method::GET, &mp4).await, 200, "it was for everybody");

    assert_eq!(owner.status(&stage, Method::DELETE, "/api/v1/channels/show", None).await, 204);
    let bob = sign_up(&stage, "bob").await;
    bob.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    for who in [&stranger, &bob, &owner] {
        assert_eq!(listed(&stage, who).await, json!([]));
        assert_eq!(status(&stage, who, Method::GET, &path).await, 404);
        assert_eq!(status(&stage, who, Method::GET, &mp4).await, 404);
    }
    assert_eq!(status(&stage, &bob, Method::DELETE, &path).await, 404);
    // Administrators find it, and may remove it.
    assert_eq!(listed(&stage, &admin).await[0]["id"], left["id"]);
    assert_eq!(status(&stage, &admin, Method::DELETE, &path).await, 204);
    stage.stop().await;
}

/// What the API and the door say to somebody who is not on the server itself: there, everybody is the operator.
async fn ask(stage: &Stage, who: &Person, method: Method, path: &str) -> reqwest::Response {
    let request = who.request(stage, method, path, None);
    request.header("x-forwarded-for", "203.0.113.9").send().await.expect("HTTP answers")
}

async fn status(stage: &Stage, who: &Person, method: Method, path: &str) -> u16 {
    ask(stage, who, method, path).await.status().as_u16()
}

async fn listed(stage: &Stage, who: &Person) -> Value {
    let answer = ask(stage, who, Method::GET, "/api/v1/recordings?channel=show").await;
    let mut answer: Value = answer.json().await.expect("JSON");
    answer["items"].take()
}
