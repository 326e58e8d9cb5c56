//! Accounts end to end, on SQLite and on PostgreSQL: from nothing to live, who may do what, who may watch.

#![expect(clippy::disallowed_methods, reason = "what the figures of this file are measured by")]

use std::time::{Duration, Instant};

use media::{ChannelName, StreamState};
use reqwest::Method;
use serde_json::{Value, json};
use tests::postgres::{Postgres, process_cpu};
use tests::{Gateway, Process, Stage, eventually, source};

use crate::person::{PASSWORD, Person, open_to_all, set_up, sign_up};

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(30);

async fn live(stage: &Stage, channel: &str) -> std::sync::Arc<media::Stream> {
    let name = ChannelName::parse(channel).expect("valid");
    let mut events = stage.server().hub().subscribe();
    let wait = async {
        loop {
            if let Some(stream) = stage.server().hub().stream(&name) {
                break stream;
            }
            let _ = events.recv().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("live within 30 s")
}

fn publish(stage: &Stage, key: &str) -> Process {
    source::pattern(&format!("rtmp://{}/live/{key}", stage.rtmp_address()), source::PLAIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_live_on_sqlite() {
    let stage = Stage::shared_with(open_to_all).await;
    from_nothing_to_live(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_live_on_postgres() {
    let postgres = Postgres::start();
    let url = postgres.database();
    let stage = Stage::shared_with(|config| {
        open_to_all(config);
        config.database.url = Some(url.clone().into());
    })
    .await;
    let secrets = from_nothing_to_live(&stage).await;
    let dump = postgres.dump(&url);
    assert!(dump.contains("chn_"), "the rows are in it");
    for secret in secrets {
        assert!(!dump.contains(&secret), "a secret can be read in a dump of the database");
    }
    stage.stop().await;
}

/// Returns the secrets that were handed out on the way.
async fn from_nothing_to_live(stage: &Stage) -> Vec<String> {
    assert_eq!(Person::default().get(stage, "/api/v1/setup").await["needed"], true);
    let ana = set_up(stage).await;
    assert_eq!(Person::default().get(stage, "/api/v1/setup").await["needed"], false);
    ana.post(stage, "/api/v1/channels", json!({ "name": "ana", "title": "Ana paints" })).await;
    let key = ana.post(stage, "/api/v1/channels/ana/keys", json!({ "name": "OBS" })).await;
    let secret = key["secret"].as_str().expect("shown once").to_owned();

    let bob = sign_up(stage, "bob").await;
    assert_eq!(
        bob.status(stage, Method::PUT, "/api/v1/channels/ana/follow", Some(json!({ "notify": true }))).await,
        204
    );
    let me = bob.get(stage, "/api/v1/me").await;
    let mut gateway = Gateway::open(stage).await;
    gateway.send(&json!({ "type": "hello", "v": 1, "token": me["gatewayToken"] })).await;
    assert_eq!(gateway.until("welcome").await["user"]["login"], "bob");

    let encoder = publish(stage, &secret);
    let stream = live(stage, "ana").await;
    let begun = Instant::now();
    let told = gateway.until("stream.online").await;
    eprintln!("the follower was told {} ms after the stream began", begun.elapsed().as_millis());
    assert_eq!((&told["follow"], &told["ch"]), (&json!(true), &json!("stream:ana")));
    let listed = Person::default().get(stage, "/api/v1/streams").await;
    assert_eq!(listed["items"][0]["channel"], "ana", "{listed}");

    // Rotated: the old one works for a while, and nobody is cut off.
    let id = key["key"]["id"].as_str().expect("an id");
    let rotate = format!("/api/v1/channels/ana/keys/{id}/rotate");
    let newer = ana.post(stage, &rotate, json!({ "overlapSeconds": 3600 })).await;
    assert_eq!(stream.state(), StreamState::Live);
    // Revoked: at once, also for who is live with it.
    let revoke = format!("/api/v1/channels/ana/keys/{id}");
    assert_eq!(ana.status(stage, Method::DELETE, &revoke, None).await, 204);
    let mut state = stream.watch_state();
    let ended = state.wait_for(|state| *state == StreamState::Ended);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("cut off")
        .expect("the stream is there");
    let (status, _) =
        tokio::task::spawn_blocking(move || encoder.wait(Duration::from_secs(30))).await.expect("ends");
    assert!(!status.success(), "the encoder hears of it");
    eventually("the row is ended", PATIENCE, async || {
        let past = ana.get(stage, "/api/v1/channels/ana/streams").await;
        (past["items"][0]["endReason"] == "cut").then_some(())
    })
    .await;
    let (status, said) = {
        let again = publish(stage, &secret);
        tokio::task::spawn_blocking(move || again.wait(Duration::from_secs(30))).await.expect("ends")
    };
    assert!(!status.success() && said.contains("Unknown stream key"), "{said}");
    let newer = newer["secret"].as_str().expect("shown once").to_owned();
    let encoder = publish(stage, &newer);
    live(stage, "ana").await;
    encoder.kill();
    vec![PASSWORD.to_owned(), secret, newer, ana.cookie.expect("signed in")[19..].to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_channel_opens_by_grants_alone_and_no_viewer_costs_a_query() {
    let stage = Stage::shared_with(|config| {
        open_to_all(config);
        config.publish.reconnect_grace_s = 1;
    })
    .await;
    let ana = set_up(&stage).await;
    ana.post(&stage, "/api/v1/channels", json!({ "name": "ana", "visibility": "signed" })).await;
    let key = ana.post(&stage, "/api/v1/channels/ana/keys", json!({})).await;
    let bob = sign_up(&stage, "bob").await;
    assert_eq!(bob.status(&stage, Method::POST, "/api/v1/channels/ana/grants", Some(json!({}))).await, 403);
    let encoder = publish(&stage, key["secret"].as_str().expect("shown once"));
    let recording = live(&stage, "ana").await.id().to_string();
    let listed = Person::default().get(&stage, "/api/v1/streams").await;
    assert_eq!(listed["items"], json!([]), "nobody else sees it");

    let grant = ana.post(&stage, "/api/v1/channels/ana/grants", json!({ "subject": "viewer-7" })).await;
    let (token, hls) = (grant["token"].as_str().expect("a token"), grant["hls"].as_str().expect("a path"));
    let http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let get = async |path: &str| http.get(stage.url(path)).send().await.expect("HTTP answers");
    eventually("the playlist is there", PATIENCE, async || (get(hls).await.status() == 200).then_some(()))
        .await;
    let playlist = get(hls).await;
    assert!(playlist.headers()["cache-control"].to_str().expect("ASCII").contains("private"));
    for (path, status) in [
        ("/hls/ana/master.m3u8".to_owned(), 401),
        ("/hls/ana/master.m3u8?token=a.b.c".to_owned(), 401),
        (format!("/hls/ana/master.m3u8?token={token}"), 307),
        (format!("/hls/t/{}x/ana/master.m3u8", &token[..token.len() - 1]), 401),
        (format!("/hls/t/{token}/main/master.m3u8"), 404),
    ] {
        assert_eq!(get(&path).await.status().as_u16(), status, "{path}");
    }
    let whep = async |token: Option<&str>| {
        let mut request = http.post(stage.url("/whep/ana")).header("content-type", "application/sdp");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.body("v=0\r\n").send().await.expect("HTTP answers").status().as_u16()
    };
    assert_eq!(whep(None).await, 401);
    assert_ne!(whep(Some(token)).await, 401, "a bad offer, but let in");
    let mut gateway = Gateway::hello(&stage).await;
    let refused = gateway.ask(json!({ "type": "join", "ch": "stream:ana" })).await;
    assert_eq!(refused["error"]["code"], "grant_needed", "{refused}");
    let joined = gateway.ask(json!({ "type": "join", "ch": "stream:ana", "token": token })).await;
    assert_eq!(joined["hls"], json!(hls), "{joined}");

    let me = ana.get(&stage, "/api/v1/me").await;
    let hello = json!({ "type": "hello", "v": 1, "token": me["gatewayToken"] });

    // The gateway answers 20 requests per second.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let count = || stage.server().database().queries();
    // What the node asks for itself meanwhile: leases, what is to be delivered.
    let before = count();
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        pace.tick().await;
    }
    let per_second = (count() - before) as f64 / began.elapsed().as_secs_f64();
    let (before, began) = (count(), tokio::time::Instant::now());
    for _ in 0..100 {
        pace.tick().await;
        assert_eq!(get(hls).await.status(), 200);
        assert_ne!(whep(Some(token)).await, 401);
        let mut viewer = Gateway::open(&stage).await;
        viewer.send(&hello).await;
        assert_eq!(viewer.until("welcome").await["user"]["login"], "ana");
        let joined = viewer.ask(json!({ "type": "join", "ch": "stream:ana", "token": token })).await;
        assert_eq!(joined["type"], "joined");
    }
    let queries = count() - before;
    // What the node asks by itself goes by time.
    let by_itself = per_second * began.elapsed().as_secs_f64();
    eprintln!(
        "100 viewers, each with an HLS GET, a WHEP POST, a hello and a join: {queries} queries; without any there would \
         have been {by_itself:.0}"
    );
    assert!((queries as f64) < by_itself + 50.0, "{queries} queries for 400 checks, {by_itself} without any");

    // Void at once.
    assert_eq!(ana.status(&stage, Method::DELETE, "/api/v1/channels/ana/grants", None).await, 204);
    assert_eq!(get(hls).await.status(), 403);
    assert_eq!(whep(Some(token)).await, 403);
    let again = ana.post(&stage, "/api/v1/channels/ana/grants", json!({})).await;
    assert_eq!(get(again["hls"].as_str().expect("a path")).await.status(), 200);

    // What the channel leaves stands behind the same door, and who may not watch it does not hear of it.
    encoder.kill();
    let path = format!("/api/v1/recordings/{recording}");
    eventually("the recording is ready", PATIENCE, async || {
        // The operator, on the server itself, sees all of them.
        (Person::default().get(&stage, &path).await["state"] == "ready").then_some(())
    })
    .await;
    let again = again["token"].as_str().expect("a token");
    for (path, status) in [
        (format!("/vod/{recording}/master.m3u8"), 401),
        (format!("/vod/{recording}/video.mp4"), 401),
        (format!("/vod/t/{token}/{recording}/video.mp4"), 403),
        (format!("/vod/{recording}/master.m3u8?token={again}"), 307),
        (format!("/vod/t/{again}/{recording}/master.m3u8"), 200),
        (format!("/vod/t/{again}/{recording}/video/index.m3u8"), 200),
        (format!("/vod/t/{again}/{recording}/video.mp4"), 200),
        (format!("/vod/t/{again}/00000000000000000000000000/master.m3u8"), 404),
    ] {
        assert_eq!(get(&path).await.status().as_u16(), status, "{path}");
    }
    let seen = async |path: &str, token: Option<&str>| {
        let request = http.get(stage.url(path)).header("x-forwarded-for", "203.0.113.9");
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await.expect("HTTP answers");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    assert_eq!(seen("/api/v1/recordings", None).await.1["items"], json!([]));
    assert_eq!(seen("/api/v1/recordings", Some(again)).await.1["items"][0]["id"], json!(recording));
    assert_eq!((seen(&path, None).await.0, seen(&path, Some(again)).await.0), (404, 200));
    // Its owner needs no grant, and may remove it.
    let afar = async |person: &Person, method: Method| {
        let request = person.request(&stage, method, &path, None).header("x-forwarded-for", "203.0.113.9");
        request.send().await.expect("HTTP answers").status().as_u16()
    };
    assert_eq!((afar(&bob, Method::GET).await, afar(&ana, Method::GET).await), (404, 200));
    assert_eq!((afar(&bob, Method::DELETE).await, afar(&ana, Method::DELETE).await), (404, 204));
    assert_eq!(afar(&ana, Method::GET).await, 404);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_look_up_costs() {
    let postgres = Postgres::start();
    for url in [None, Some(postgres.database())] {
        let data = tempfile::tempdir().expect("a directory");
        let database = control::Database::open(url.as_deref(), data.path()).await.expect("opens");
        let accounts =
            control::Accounts::new(database.clone(), control::Secrets::random(), Default::default());
        let user = accounts.add_user("ana", "", PASSWORD.to_owned().into(), control::db::Role::User).await;
        let owner_id = user.expect("made").id;
        let visibility = control::db::Visibility::Public;
        let new = control::db::NewChannel { owner_id: &owner_id, name: "ana", title: "", visibility };
        let channel = database.add_channel(new, 0).await.expect("made");
        accounts.add_stream_key(&channel.id, "", None).await.expect("made");
        const LOOK_UPS: u32 = 2000;
        let here = || process_cpu("self").expect("Linux").0;
        let there = || url.as_ref().map_or(0.0, |_| postgres.cpu_seconds());
        let (before, begun, cpu) = (database.queries(), Instant::now(), (here(), there()));
        for n in 0..LOOK_UPS {
            assert!(database.key_owner(&format!("{n:064x}"), 0).await.expect("asked").is_none());
        }
        let (took, cpu) = (begun.elapsed().as_secs_f64(), (here() - cpu.0, there() - cpu.1));
        let each = |seconds: f64| seconds * 1e6 / f64::from(LOOK_UPS);
        let queries = database.queries() - before;
        eprintln!(
            "{}: per key look-up {} query, {:.0} us of CPU here, {:.0} us in the database's server, {:.0} us in all",
            database.engine().as_str(),
            queries / u64::from(LOOK_UPS),
            each(cpu.0),
            each(cpu.1),
            each(took)
        );
        assert_eq!(queries, u64::from(LOOK_UPS), "one query each");
    }
}
