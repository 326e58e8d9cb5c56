//! How recordings end is told: to webhooks once, also when the server was killed, and to the owner at the gateway.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::Database;
use control::db::Page;
use serde_json::{Value, json};
use tests::rtmp::Numbered;
use tests::{Gateway, Stage, eventually, source};

use crate::node::{Inside, Node};
use crate::person::{set_up, sign_up};
use crate::webhooks::{Receiver, loopback};

const PATIENCE: Duration = Duration::from_secs(60);

/// Recordings are made, and webhooks may lead to this machine.
const SETTINGS: &str = "publish.reconnect_grace_s = 0\nhls.recording.enabled = true\nwebhooks.allow_networks = [\"127.0.0.0/8\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_recording_is_told_with_where_it_plays_or_why_it_does_not() {
    let receiver = Receiver::start().await;
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        config.webhooks = loopback();
        config.publish.reconnect_grace_s = 0;
    })
    .await;
    set_up(&stage).await;
    let ana = sign_up(&stage, "owner").await;
    ana.post(&stage, "/api/v1/channels", json!({ "name": "show", "title": "A show" })).await;
    let hook = json!({ "url": receiver.url, "events": ["recording.ready", "recording.failed"] });
    ana.post(&stage, "/api/v1/hooks?channel=show", hook).await;
    let key = ana.post(&stage, "/api/v1/channels/show/keys", json!({})).await;
    let key = key["secret"].as_str().expect("shown once").to_owned();
    let me = ana.get(&stage, "/api/v1/me").await;
    let mut gateway = Gateway::open(&stage).await;
    gateway.send(&json!({ "type": "hello", "v": 1, "token": me["gatewayToken"] })).await;
    gateway.until("welcome").await;
    let mut stranger = Gateway::hello(&stage).await;
    stranger.join("stream:show").await;

    let encoder = source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN);
    eventually("segments are on disk", PATIENCE, async || {
        (stage.metric("swiftwater_recording_segments_total").await >= 3.0).then_some(())
    })
    .await;
    encoder.kill();
    let told = receiver.taken("recording.ready", 1).await;
    let (id, body) = (&told[0].0, &told[0].2);
    let data = &body["data"];
    assert_eq!(*id, format!("evt_recording_ready_{}", data["recording"].as_str().expect("an id")));
    assert_eq!(data["channel"], json!({ "name": "show", "title": "A show" }), "{body}");
    assert_eq!((&data["state"], &data["error"]), (&json!("ready"), &Value::Null), "{body}");
    assert!(data["durationMs"].as_u64().is_some_and(|it| it > 1000), "{body}");
    // What it says is what the API says, and both addresses answer.
    let path = format!("/api/v1/recordings/{}", data["recording"].as_str().expect("an id"));
    let api = ana.get(&stage, &path).await;
    for field in ["state", "startedAt", "endedAt", "durationMs", "bytes", "holes", "repaired", "hls", "mp4"] {
        assert_eq!(data[field], api[field], "{field}: {body} {api}");
    }
    for (field, kind) in [("hls", "application/vnd.apple.mpegurl"), ("mp4", "video/mp4")] {
        let url = stage.url(data[field].as_str().expect("a path"));
        let answer = reqwest::get(&url).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().ok()),
            (200, Some(kind)),
            "{url}"
        );
        assert!(!answer.bytes().await.expect("all of it").is_empty(), "{url}");
    }
    let frame = gateway.until("recording.ready").await;
    assert_eq!((&frame["ch"], &frame["mp4"]), (&json!("stream:show"), &data["mp4"]), "{frame}");

    // An encoder that connects and sends nothing.
    let rtmp = stage.rtmp_address();
    let publish = tokio::task::spawn_blocking(move || Numbered::publish(rtmp, &key));
    drop(publish.await.expect("it ran").expect("accepted"));
    let told = receiver.taken("recording.failed", 1).await;
    let data = &told[0].2["data"];
    assert_eq!((&data["hls"], &data["mp4"]), (&Value::Null, &Value::Null), "{data}");
    assert!(data["error"].as_str().is_some_and(|it| it.contains("keyframe")), "it says what to do: {data}");
    assert_eq!(gateway.until("recording.failed").await["recording"], data["recording"]);
    // It is nobody else's concern.
    stranger.find("the end of a stream", |frame| frame["type"] == "stream.offline").await;
    assert_eq!((stranger.taken("recording.ready"), stranger.taken("recording.failed")), (vec![], vec![]));
    eventually("nothing is left to tell", PATIENCE, async || {
        (stage.metric("swiftwater_recordings_untold").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 2);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_recording_is_in_the_outbox_once_however_often_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let inside = Inside::fill(data.path(), None, 1).await;
    let hook = inside.hook(&receiver.url).await;
    inside.database.close().await;

    // Killed in the middle of the stream.
    let node = Node::start(data.path(), SETTINGS).await;
    let (rtmp, key) = (node.rtmp, inside.keys[0].clone());
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let publishing = tokio::task::spawn_blocking(move || {
        let mut publication = Numbered::publish(rtmp, &key).expect("published");
        let mut sound = 0;
        // In real time, and until it is told: a busy server may leave out what comes at once, and who is silent for half a
        // minute has ended its stream.
        for number in 0.. {
            if stop.load(Ordering::Relaxed)
                || publication.video(number, number * 40, number % 25 == 0, 500).is_err()
            {
                return;
            }
            while sound * 1024 < number * 40 * 44 {
                if publication.audio(sound, sound * 1024 * 10 / 441).is_err() {
                    return;
                }
                sound += 1;
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    eventually("something is on disk", PATIENCE, async || {
        (metric(&node, "swiftwater_recording_parts_total").await >= 1.0).then_some(())
    })
    .await;
    node.kill().await;
    over.store(true, Ordering::Relaxed);
    publishing.await.expect("it ran");
    assert_eq!(ends(data.path(), &hook).await, Vec::<String>::new());

    // Its next life repairs it and tells of it, and is killed too.
    let node = Node::start(data.path(), SETTINGS).await;
    let told = receiver.taken("recording.ready", 1).await;
    assert_eq!(told[0].2["data"]["repaired"], true, "{told:?}");
    let recording = told[0].2["data"]["recording"].as_str().expect("an id").to_owned();
    all_told(&node).await;
    node.kill().await;
    let once = vec![format!("evt_recording_ready_{recording}")];
    assert_eq!(ends(data.path(), &hook).await, once);

    // Killed between the outbox and the note that it is there: what the manifest then says.
    let manifest = data.path().join("recordings").join(&recording).join("recording.json");
    let mut about: Value = serde_json::from_slice(&fs::read(&manifest).expect("there")).expect("JSON");
    assert_eq!((&about["state"], about.get("untold")), (&json!("ready"), None), "{about}");
    about["untold"] = true.into();
    fs::write(&manifest, about.to_string()).expect("written");
    let node = Node::start(data.path(), SETTINGS).await;
    all_told(&node).await;
    node.kill().await;
    assert_eq!(ends(data.path(), &hook).await, once);
    let about: Value = serde_json::from_slice(&fs::read(&manifest).expect("there")).expect("JSON");
    assert_eq!(about.get("untold"), None, "{about}");
}

/// Waits until the outbox has the end of every recording.
async fn all_told(node: &Node) {
    eventually("nothing is left to tell", PATIENCE, async || {
        (metric(node, "swiftwater_recordings_untold").await == 0.0).then_some(())
    })
    .await;
}

async fn metric(node: &Node, name: &str) -> f64 {
    let text = reqwest::get(format!("http://{}/metrics", node.http)).await.expect("HTTP answers");
    let text = text.text().await.expect("text");
    let mut values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name}"))
}

/// The events of recordings in the outbox of a server that does not run.
async fn ends(data: &Path, hook: &str) -> Vec<String> {
    let database = Database::open(None, data).await.expect("opens as it was left");
    let log = database.deliveries(hook, &Page::first(100)).await.expect("listed");
    database.close().await;
    let ids = log.into_iter().map(|row| row.event_id);
    ids.filter(|id| id.starts_with("evt_recording")).collect()
}
