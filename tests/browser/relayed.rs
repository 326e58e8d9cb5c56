//! A viewer whose network lets nothing but TCP to a TURN server (coturn) through.

use std::path::Path;

use media::Kind;
use serde_json::json;
use sfu::{IceServerConfig, Secret};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Process, Stage, run_script};

use crate::{SCRIPT_TIMEOUT, number};

const SECRET: &str = "shared with the relay";

/// coturn on a port of the kernel's choice, with credentials made from [`SECRET`].
async fn relay(data: &Path) -> (Process, u16) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let (listen, secret) = (format!("--listening-port={port}"), format!("--static-auth-secret={SECRET}"));
    // Without a database it knows no secrets, not even that of its command line.
    let database = format!("--userdb={}", data.join("turndb").display());
    let process = Process::start(
        "turnserver",
        [
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--allow-loopback-peers",
            "--realm=swiftwater",
            "--use-auth-secret",
            "--log-file=/dev/null",
            "--pidfile=/dev/null",
            &listen,
            &secret,
            &database,
        ],
    );
    let up = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            look.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), up).await.expect("coturn listens within 20 s");
    (process, port)
}

/// Neither UDP nor our own TCP port: the page takes the relay that the server named, with the credentials that it made.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_plays_through_a_turn_server_that_the_server_names() {
    let _alone = crate::alone().await;
    let data = tempfile::tempdir().expect("a temporary directory");
    let (_coturn, port) = relay(data.path()).await;
    let stage = Stage::start_with(|config| {
        config.rtc.tcp = false;
        config.rtc.ice_servers = vec![IceServerConfig {
            urls: vec![format!("turn:127.0.0.1:{port}?transport=tcp")],
            username: None,
            credential: None,
            secret: Some(Secret::new(SECRET)),
            ttl_s: 600,
        }];
    })
    .await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), 50);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let flags = json!(["--webrtc-ip-handling-policy=disable_non_proxied_udp"]);
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "seconds": 6, "flags": flags, "expectMode": "webrtc",
    });
    let seen = run_script("watch.mjs", input, SCRIPT_TIMEOUT).await;
    assert_eq!(seen["state"]["mode"], "webrtc", "{seen:#}");
    assert!(number(&seen, "stamped") > 60.0, "{seen:#}");
    assert!(number(&seen["sound"], "loudest") > 0.01, "{seen:#}");
    assert!(number(&seen, "latencyMedianMs") < 1000.0, "{seen:#}");
    stage.stop().await;
}
