//! What those who run a channel and a node do by the API while people watch: choose a viewer's layer, send one away, drain the
//! node, end the stream.

use std::time::Duration;

use media::{ChannelName, Kind, StreamState};
use reqwest::Method;
use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::{Process, Stage, Viewer, eventually, source};

use crate::person::{Person, set_up};

const PATIENCE: Duration = Duration::from_secs(30);

/// The address of a viewer in the API.
async fn viewer(steward: &Person, stage: &Stage, viewer: &Viewer) -> String {
    let peers = steward.get(stage, &format!("/api/v1/streams/{CHANNEL}/peers")).await;
    let viewers = peers["viewers"].as_array().expect("a list");
    let own = viewers.iter().find(|it| it["remote"] == viewer.address().to_string());
    let id = own.and_then(|it| it["id"].as_str()).unwrap_or_else(|| panic!("not among {peers}"));
    format!("/api/v1/streams/{CHANNEL}/viewers/{id}")
}

async fn ended(encoder: Process) -> (std::process::ExitStatus, String) {
    tokio::task::spawn_blocking(move || encoder.wait(PATIENCE)).await.expect("it ran")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steward_chooses_for_a_viewer_sends_one_away_drains_and_ends() {
    let stage = Stage::shared().await;
    let ana = set_up(&stage).await;
    ana.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    let key = ana.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let key = key["secret"].as_str().expect("shown once").to_owned();
    let show = || source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN);
    let publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let (mut one, mut other) = (Viewer::join(&stage.whep_url()).await, Viewer::join(&stage.whep_url()).await);
    one.frames(10).await;
    other.frames(10).await;

    // Sound alone, for one of them; then the picture again.
    let address = viewer(&ana, &stage, &one).await;
    let choose =
        async |body: Value| ana.status(&stage, Method::PUT, &format!("{address}/layer"), Some(body)).await;
    assert_eq!(choose(json!({ "rid": "h" })).await, 404, "there is no such layer");
    assert_eq!(choose(json!({ "rid": "none", "maxHeight": 360 })).await, 422);
    assert_eq!(choose(json!({ "rid": "none" })).await, 204);
    let sound = one.seen().audio.count();
    one.until("sound alone", |seen| seen.audio.count() > sound + 25).await;
    let pictures = one.seen().video.frames();
    other.frames(25).await;
    one.until("more of it", |seen| seen.audio.count() > sound + 50).await;
    assert_eq!(one.seen().video.frames(), pictures);
    assert_eq!(choose(json!({ "rid": "auto" })).await, 204);
    one.frames(10).await;

    // Away with it. It may come again.
    assert_eq!(ana.status(&stage, Method::DELETE, &address, None).await, 204);
    one.until("the goodbye", |seen| seen.closed).await;
    assert_eq!(ana.status(&stage, Method::DELETE, &address, None).await, 404, "it is gone");
    other.frames(10).await;
    let mut again = Viewer::join(&stage.whep_url()).await;
    again.frames(10).await;

    // The node drains: who is live stays, and so do viewers; new streams go elsewhere.
    let drain = async |draining: bool| {
        let body = Some(json!({ "draining": draining }));
        ana.status(&stage, Method::PUT, "/api/v1/drain", body).await
    };
    let ready = async || reqwest::get(stage.url("/readyz")).await.expect("HTTP answers").status().as_u16();
    assert_eq!((ready().await, drain(true).await, ready().await), (200, 204, 503));
    let (status, said) = ended(show()).await;
    assert!(!status.success() && said.contains("try again in a minute"), "{said}");
    other.frames(10).await;
    assert_eq!((drain(false).await, ready().await), (204, 200));
    let _show = show();
    let name = ChannelName::parse("show").expect("valid");
    eventually("it is let in", PATIENCE, async || stage.server().hub().stream(&name)).await;

    // The end.
    assert_eq!(ana.status(&stage, Method::DELETE, &format!("/api/v1/streams/{CHANNEL}"), None).await, 204);
    other.until("the end", |seen| seen.closed).await;
    assert_eq!(stream.state(), StreamState::Ended);
    let (status, said) = ended(publisher).await;
    assert!(!status.success(), "the encoder hears of it: {said}");
    let past = ana.get(&stage, &format!("/api/v1/channels/{CHANNEL}/streams")).await;
    assert_eq!(past["items"][0]["endReason"], "cut", "{past}");

    let audit = ana.get(&stage, "/api/v1/audit").await;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["action"].as_str())
        .filter(|it| ["stream.", "viewer.", "node."].iter().any(|kind| it.starts_with(kind)))
        .collect();
    let wanted = ["stream.end", "node.drain", "node.drain", "viewer.kick", "viewer.layer", "viewer.layer"];
    assert_eq!(actions, wanted, "newest first: {audit}");
    stage.stop().await;
}
