//! The commands beside a server, and a server that is killed while it writes.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use control::Database;
use control::db::{Claim, NewDelivery, NewHook, Page};

const BINARY: &str = env!("CARGO_BIN_EXE_swiftwater");

/// Runs a command to its end; what it printed.
fn run(data: &Path, arguments: &[&str]) -> String {
    let (command, rest) = arguments.split_first().expect("a command");
    let output =
        Command::new(BINARY).arg(command).arg("--data").arg(data).args(rest).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A server on ports of the kernel's choice, once it is up.
fn serve(data: &Path) -> Child {
    let mut server = Command::new(BINARY)
        .args(["serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtc-port", "0", "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("open http://")), "it came up");
    // Whoever writes into a closed pipe dies of it.
    std::thread::spawn(move || lines.for_each(drop));
    server
}

#[test]
fn an_account_is_made_and_changed_by_commands() {
    let data = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| run(data.path(), arguments);
    let made = run(&["user", "add", "ana", "--role", "admin"]);
    assert!(made.contains("made ana (admin)") && made.contains("password: "), "{made}");
    run(&["channel", "add", "ana", "--owner", "ana", "--visibility", "followers"]);
    let key = run(&["key", "add", "ana", "--name", "OBS"]);
    let id = key.lines().next().expect("an id").to_owned();
    assert!(key.contains("stream key, shown this once: live_"), "{key}");
    assert!(run(&["key", "rotate", "ana", &id, "--overlap", "60"]).contains("live_"));
    run(&["key", "revoke", "ana", &id]);
    assert_eq!(run(&["key", "list", "ana"]).lines().count(), 1);
    assert!(run(&["token", "add", "ana", "--scope", "key:write"]).contains("swt_"));
    assert!(run(&["channel", "list"]).contains("ana\tfollowers"));
    run(&["user", "suspend", "ana"]);
    assert!(run(&["user", "list"]).contains("ana\tadmin\tsuspended"));
    assert_eq!(run(&["grant-key", "list"]).lines().count(), 1);
    let rotated = run(&["grant-key", "rotate", "--delay", "0"]);
    let states: Vec<&str> = rotated.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(states, ["checks", "signs"], "{rotated}");
    let old = rotated.split('\t').next().expect("an id");
    assert_eq!(run(&["grant-key", "revoke", old]).lines().count(), 1);
    let copy = data.path().join("copy.db");
    run(&["backup", copy.to_str().expect("UTF-8")]);
    assert!(copy.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_the_database_whole_and_the_channel_free() {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = serve(data.path());
    let node = std::fs::read_to_string(data.path().join("node.id")).expect("the node has a name");
    let node = node.trim().to_owned();
    // Writes beside the server and as its node, while it is killed. What the killed process itself had open is rolled back
    // by SQLite when the file is opened next.
    let database = Database::open(None, data.path()).await.expect("opens beside the server");
    let channel = database.channel("main").await.expect("made at the first start");
    let hook = NewHook { channel_id: None, url: "https://x", events: "stream.online", secret_sealed: "s" };
    let hook = database.add_hook(hook, 0).await.expect("added");
    let claim = || Claim {
        channel_id: &channel.id,
        key_id: None,
        node_id: &node,
        transport: "rtmp",
        continues: false,
    };
    let now = i64::MAX / 4;
    let live = database.go_live(claim(), now).await.expect("asked").expect("free");
    let announce = async |events: Range<u32>| {
        for n in events {
            let id = format!("e{n}");
            let event =
                NewDelivery { hook_id: &hook.id, event_id: &id, event_type: "stream.online", payload: "{}" };
            database.add_deliveries(&[event], 0).await.expect("written");
        }
    };
    announce(0..100).await;
    server.kill().expect("our child");
    server.wait().expect("our child");
    announce(100..200).await;
    drop(database);
    // Again: nothing is lost, the dead Stream is marked, and the Channel is free at once.
    let mut server = serve(data.path());
    let database = Database::open(None, data.path()).await.expect("opens");
    assert_eq!(database.deliveries_pending().await.expect("counted"), 200, "each event is still in the box");
    let past = database.past_streams(&channel.id, &Page::first(10)).await.expect("listed");
    let seen: Vec<_> = past.iter().map(|it| (it.id.as_str(), it.end_reason.as_deref())).collect();
    assert_eq!(seen, [(live.as_str(), Some("node_lost"))]);
    assert!(database.go_live(claim(), now).await.expect("asked").is_some(), "at once");
    server.kill().expect("our child");
    server.wait().expect("our child");
}
