//! `kill -9` of a server under load: the database is whole, nothing that happened is untold, channels are free at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use control::Database;
use control::db::{LiveStream, Page};
use tests::eventually;
use tests::rtmp::Numbered;

use crate::node::{Inside, Node};
use crate::person::Person;
use crate::webhooks::Receiver;

const PATIENCE: Duration = Duration::from_secs(60);

/// Channels, each with an encoder that comes and goes as fast as it can.
const CHANNELS: usize = 6;

/// A stream that ends is over at once; the receiver is on loopback.
const SETTINGS: &str = "publish.reconnect_grace_s = 0\nwebhooks.allow_networks = [\"127.0.0.0/8\"]\n\
                        hls.recording.enabled = false\n";

/// Encoders that publish a few frames, go, and come again.
struct Load {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    encoders: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(rtmp: SocketAddr, keys: &[String]) -> Self {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let encoders = keys.iter().cloned().map(|key| {
            let (stop, published) = (Arc::clone(&stop), Arc::clone(&published));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Refused, or the server is gone: that is what this is about.
                    let Ok(mut publication) = Numbered::publish(rtmp, &key) else {
                        std::thread::yield_now();
                        continue;
                    };
                    published.fetch_add(1, Ordering::Relaxed);
                    for number in 0..3 {
                        let _ = publication.video(number, number * 40, number == 0, 500);
                    }
                }
            })
        });
        let encoders = encoders.collect();
        Self { stop, published, encoders }
    }

    /// How many streams were accepted.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.encoders.into_iter().for_each(|encoder| encoder.join().expect("no panic"));
        self.published.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_leaves_its_database_whole_and_its_ends_told() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let inside = Inside::fill(data.path(), None, CHANNELS).await;
    let hook = inside.hook(&receiver.url).await;
    inside.database.close().await;
    let mut published = 0;
    for life in 0..4 {
        let node = Node::start(data.path(), SETTINGS).await;
        let load = Load::start(node.rtmp, &inside.keys);
        let before = receiver.count();
        // At another place of the work each time.
        eventually("the load runs", PATIENCE, async || {
            (receiver.count() >= before + 25 + 17 * life).then_some(())
        })
        .await;
        node.kill().await;
        published += tokio::task::spawn_blocking(|| load.end()).await.expect("it ran");
        let database = Database::open(None, data.path()).await.expect("opens as it was left");
        assert_eq!(database.damage().await.expect("looked at"), None);
        database.close().await;
    }

    // Its next life: what the last one left is over, told of, and the channels are free at once.
    let node = Node::start(data.path(), SETTINGS).await;
    let mut live = Vec::new();
    for key in inside.keys.clone() {
        let rtmp = node.rtmp;
        let publish = tokio::task::spawn_blocking(move || Numbered::publish(rtmp, &key));
        live.push(publish.await.expect("it ran").expect("the channel is free"));
    }
    let listed = Person::default().get(&node, "/api/v1/streams").await;
    assert_eq!(listed["items"].as_array().expect("a list").len(), CHANNELS, "{listed}");
    let database = Database::open(None, data.path()).await.expect("opens beside the server");
    let mut rows = Vec::new();
    for channel in &inside.channels {
        rows.extend(streams(&database, &channel.id).await);
    }
    let (over, now): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.ended_at.is_some());
    assert_eq!(now.len(), CHANNELS, "one live stream per channel: {now:?}");
    let lost = over.iter().filter(|row| row.end_reason.as_deref() == Some("node_lost")).count();
    // One that never had a name was accepted by nobody.
    let begun: Vec<&LiveStream> = over.iter().filter(|row| row.stream.is_some()).collect();
    let wanted: BTreeSet<String> = begun
        .iter()
        .flat_map(|row| ["online", "offline"].map(|kind| format!("evt_stream_{kind}_{}", row.id)))
        .collect();
    eventually("everything is told", PATIENCE, async || wanted.is_subset(&receiver.ids()).then_some(()))
        .await;
    // Each once in the outbox, however often it was sent.
    let log = deliveries(&database, &hook).await;
    let ids: BTreeSet<&String> = log.iter().collect();
    assert_eq!(ids.len(), log.len());
    let ends = log.iter().filter(|id| id.contains("offline")).count();
    assert_eq!(ends, begun.len(), "an end for each that began");
    assert!(lost > 0 && begun.len() > 50, "{lost} of {} were live when the server was killed", begun.len());
    println!(
        "{published} publishers accepted in 4 lives, {} streams, {lost} of them lost to a kill; {} events, {} messages",
        begun.len(),
        wanted.len(),
        receiver.count()
    );
    drop(live);
}

/// All rows of a channel.
async fn streams(database: &Database, channel: &str) -> Vec<LiveStream> {
    let (mut rows, mut page) = (Vec::new(), Page::first(100));
    loop {
        let piece = database.past_streams(channel, &page).await.expect("listed");
        page.after = piece.last().map(|row| row.id.clone());
        if piece.is_empty() {
            return rows;
        }
        rows.extend(piece);
    }
}

/// The ids of all events in the log of a hook.
async fn deliveries(database: &Database, hook: &str) -> Vec<String> {
    let (mut ids, mut page) = (Vec::new(), Page::first(100));
    loop {
        let piece = database.deliveries(hook, &page).await.expect("listed");
        page.after = piece.last().map(|row| row.id.clone());
        if piece.is_empty() {
            return ids;
        }
        ids.extend(piece.into_iter().map(|row| row.event_id));
    }
}
