//! Who has not proven its address gets no answer, what is refused is in the metrics, and the viewer beside it loses
//! nothing. `sfu/tests/sim/hostile.rs` has every case; these are the real sockets.

use std::time::Duration;

use tests::viewer::Offer;
use tests::{Stage, Stranger, Viewer, eventually, source};

/// For a server that has little of the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many datagrams were dropped for that reason.
async fn dropped(stage: &Stage, reason: &str) -> f64 {
    stage.metric(&format!("swiftwater_sfu_packets_dropped_total{{reason=\"{reason}\"}}")).await
}

/// RFC 6347 section 4.2.2, with one cipher suite and use_srtp (RFC 5764 section 4.1.1).
fn client_hello() -> Vec<u8> {
    let body =
        [&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0], &[0, 9, 0, 14, 0, 5, 0, 2, 0, 7, 0]]
            .concat();
    let length = body.len() as u8;
    let handshake = [&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length][..], &body].concat();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, handshake.len() as u8][..], &handshake].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_before_a_valid_check_and_everything_after_it_counts_once() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[media::Kind::Video, media::Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(5).await;

    let stranger = Stranger::new(&stage.whep_url(), stage.rtc_address()).await;
    let lie = stranger.check("a password that is not the server's");
    let srtcp = [&[0x80, 201, 0, 1, 0, 0, 0, 1][..], &[7; 20]].concat();
    let rtp = [&[0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[7; 1000]].concat();
    for (reason, datagram) in [
        ("of_nobody", client_hello()),
        ("of_nobody", srtcp),
        ("of_nobody", rtp),
        ("of_nobody", lie[..lie.len() - 1].to_vec()),
        ("check_refused", lie),
        ("unknown", vec![255; 100]),
    ] {
        let before = dropped(&stage, reason).await;
        eventually("what a stranger sends is counted", PATIENCE, async || {
            stranger.send(&datagram);
            (dropped(&stage, reason).await >= before + 5.0).then_some(())
        })
        .await;
    }
    // A port of loopback loses no order: whatever had been said to it would come before this.
    assert_eq!(stranger.first_answer().await[..2], [1, 1], "the answer to its valid check");

    // Somebody repeats all that another viewer reports.
    let offer = Offer::new().await.replayed();
    let answer = offer.post(&stage.whep_url()).await;
    let mut replayed = offer.accept(&answer);
    replayed.frames(5).await;
    eventually("replays are counted", PATIENCE, async || {
        (dropped(&stage, "srtcp_refused").await >= 10.0).then_some(())
    })
    .await;
    replayed.frames(25).await;
    viewer.frames(25).await;
    for viewer in [&viewer, &replayed] {
        let seen = viewer.seen();
        assert!(!seen.closed && seen.video.lost() == 0, "{:?}", *seen);
    }
    assert_eq!(stage.metric("swiftwater_sfu_panics_caught_total").await, 0.0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_of_http_too_many_is_closed_at_once_and_the_others_stay() {
    let stage = Stage::shared_with(|config| config.http.connections_max = 20).await;
    let crowded = tokio::net::TcpStream::connect(stage.http_address());
    let mut crowd = vec![crowded.await.expect("it listens")];
    eventually("the server is full", PATIENCE, async || {
        let mut more = tokio::net::TcpStream::connect(stage.http_address()).await.expect("it listens");
        let mut nothing = [0];
        let read = tokio::io::AsyncReadExt::read(&mut more, &mut nothing);
        // One that is let in says nothing until it is asked.
        match tokio::time::timeout(Duration::from_millis(100), read).await {
            Err(_waits) => {
                crowd.push(more);
                None
            }
            Ok(_closed) => Some(()),
        }
    })
    .await;
    assert!(crowd.len() <= 20, "{} were let in", crowd.len());
    crowd.truncate(5);
    eventually("there is room again, and it was counted", PATIENCE, async || {
        let response = reqwest::get(stage.url("/metrics")).await.ok()?.text().await.ok()?;
        response.contains("swiftwater_http_connections_refused_total{limit=\"node\"} ").then_some(())
    })
    .await;
    assert!(stage.metric("swiftwater_http_connections_refused_total{limit=\"node\"}").await >= 1.0);
    assert!(stage.metric("swiftwater_http_connections").await <= 20.0);
    stage.stop().await;
}
