//! Viewers on ways that are not plain UDP over IPv4, and ways that change: ICE-TCP, IPv6, ICE restarts, NAT.

#![expect(clippy::disallowed_methods, reason = "tests measure")]

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::stage::CHANNEL;
use tests::viewer::Offer;
use tests::{Gateway, Stage, Viewer, Wire, eventually, sdp, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

const KINDS: &[media::Kind] = &[media::Kind::Video, media::Kind::Audio];

/// Joins by WHEP over TCP alone.
async fn join_by_tcp(stage: &Stage) -> Viewer {
    let offer = Offer::over(Wire::tcp(stage.rtc_address()).await);
    let answer = offer.post(&stage.whep_url()).await;
    offer.accept(&sdp::only(&answer, "tcp"))
}

/// The numbers that came are whole and in time.
fn assert_whole(viewer: &Viewer) {
    let seen = viewer.seen();
    assert_eq!((seen.video.lost(), seen.audio.lost()), (0, 0), "{seen:?}");
    assert_eq!((seen.video.steps_back(), seen.closed), (0, false), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_udp_watches_by_tcp_on_the_same_port() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(KINDS).await;
    let begun = Instant::now();
    let mut viewer = join_by_tcp(&stage).await;
    viewer.until("a picture", |seen| seen.video.frames() > 0).await;
    eprintln!("first picture by TCP after {:?}", begun.elapsed());
    viewer.until("both kinds", |seen| seen.video.frames() > 50 && seen.audio.count() > 50).await;
    assert_whole(&viewer);
    let stats = stage.server().sfu().stats();
    assert_eq!((stats.core.connected_tcp, stats.tcp.tcp_connections), (1, 1));
    assert_eq!(stage.metric("swiftwater_sfu_tcp_connections").await, 1.0);
    assert!(stats.tcp.tcp_packets_sent > 50 && stats.tcp.tcp_packets_dropped == 0, "{stats:?}");

    // It leaves without a word: its connection says so, and its consent ends the rest.
    drop(viewer);
    eventually("the connection is closed", PATIENCE, async || {
        (stage.server().sfu().stats().tcp.tcp_connections == 0).then_some(())
    })
    .await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_nonsense_by_tcp_is_hung_up_on() {
    let stage = Stage::shared().await;
    let address = stage.rtc_address();
    let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let framed = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let table = [
        ("nothing", Vec::new()),
        ("half a frame", framed(&[0; 100])[..50].to_vec()),
        ("a frame without a length", framed(&[])),
        ("a frame that is too long", framed(&[0; 4000])),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("no STUN", framed(&[22, 0xfe, 0xfd, 0, 0])),
        ("a check of nobody", framed(&check)),
    ];
    for (name, bytes) in table {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(&bytes).await.expect("it reads");
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok() && answer.is_empty(), "{name}: {answer:?}");
    }
    let tcp = eventually("all are counted", PATIENCE, async || {
        let tcp = stage.server().sfu().stats().tcp;
        (tcp.tcp_connections == 0).then_some(tcp)
    })
    .await;
    assert_eq!(
        (tcp.tcp_accepted, tcp.tcp_silent, tcp.tcp_bad_frames, tcp.tcp_refused),
        (7, 2, 3, 2),
        "{tcp:?}"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_viewer_that_does_not_read_loses_pictures_and_no_sound() {
    let stage = Stage::shared().await;
    // A megabit and a half of picture per second fills the buffers soon.
    let video = [
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-b:v",
        "6M",
        "-minrate",
        "6M",
        "-maxrate",
        "6M",
        "-bufsize",
        "6M",
        "-nal-hrd",
        "cbr",
    ];
    let _publisher = source::pattern(&stage.rtmp_url(), &video);
    stage.live(KINDS).await;
    let mut other = join_by_tcp(&stage).await;
    let mut viewer = join_by_tcp(&stage).await;
    viewer.frames(10).await;
    viewer.stall(true);
    eventually("the line is full", PATIENCE, async || {
        (stage.server().sfu().stats().core.tcp_chokes > 0).then_some(())
    })
    .await;
    // While it stands, its sound waits for it and nobody else notices.
    other.frames(30).await;
    viewer.stall(false);
    viewer.frames(25).await;
    let sound = viewer.seen().audio.count();
    viewer.until("more sound", |seen| seen.audio.count() > sound + 25).await;
    {
        let seen = viewer.seen();
        assert_eq!((seen.audio.lost(), seen.video.lost(), seen.video.steps_back()), (0, 0, 0), "{seen:?}");
    }
    assert_whole(&other);
    assert_eq!(stage.server().sfu().stats().core.nonce_refused, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_watches_by_ipv6() {
    let stage = Stage::shared_with(|config| config.rtc.announce = vec!["::1".to_owned()]).await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(KINDS).await;
    let port = stage.rtc_address().port();
    let server = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    for wire in [Wire::udp_from(Ipv6Addr::LOCALHOST.into()).await, Wire::tcp(server).await] {
        let transport = wire.protocol().to_string();
        let offer = Offer::over(wire);
        let answer = offer.post(&stage.whep_url()).await;
        assert!(
            answer.contains(&format!(" {transport} ")) && answer.contains(&format!(" ::1 {port} ")),
            "{answer}"
        );
        let mut viewer = offer.accept(&sdp::only(&answer, &transport));
        viewer.until("both kinds", |seen| seen.video.frames() > 25 && seen.audio.count() > 25).await;
        assert_whole(&viewer);
    }
    stage.stop().await;
}

/// Restarts by PATCH. Returns the tag of the new ICE session and the answer that it makes.
async fn patch(resource: &str, tag: &str, offer: &str, answer: &str) -> (String, String) {
    let request = reqwest::Client::new().patch(resource).header("if-match", tag);
    let request = request.header("content-type", "application/trickle-ice-sdpfrag");
    let response = request.body(sdp::fragment_of(offer)).send().await.expect("HTTP answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let fragment = response.text().await.expect("text");
    assert_eq!(status, 200, "{fragment}");
    assert_eq!(headers["content-type"], "application/trickle-ice-sdpfrag");
    let fresh = headers["etag"].to_str().expect("text").to_owned();
    assert_ne!(fresh, tag);
    (fresh, sdp::with_fragment(answer, &fragment))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_by_patch_leaves_no_gap() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(KINDS).await;
    let offer = Offer::new().await;
    let (answer, resource, tag) = offer.open(&stage.whep_url()).await;
    let mut viewer = offer.accept(&answer);
    viewer.frames(25).await;

    // On the same network: the sockets stay.
    let offer = viewer.restart(None).await;
    let (tag, answer) = patch(&resource, &tag, &offer, &answer).await;
    viewer.accept(&answer);
    viewer.frames(25).await;
    assert_whole(&viewer);

    // To another network: new sockets, the old one works until the new one is nominated.
    let wire = Wire::udp().await;
    let moved = wire.address();
    let offer = viewer.restart(Some(wire)).await;
    let (_, answer) = patch(&resource, &tag, &offer, &answer).await;
    let begun = Instant::now();
    viewer.accept(&answer);
    viewer.until("media on the new way", |seen| seen.way == Some(moved)).await;
    eprintln!("media on the new way after {:?}", begun.elapsed());
    viewer.frames(25).await;
    assert_eq!(viewer.seen().way, Some(moved));
    assert_whole(&viewer);
    let core = stage.server().sfu().stats().core;
    assert_eq!((core.ice_restarts, core.viewers, core.viewers_connected), (2, 1, 1));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_by_the_gateway_leaves_no_gap() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(KINDS).await;
    let mut member = Gateway::hello(&stage).await;
    let offer = Offer::new().await;
    let play = json!({ "type": "rtc.play", "ch": format!("stream:{CHANNEL}"), "sdp": offer.sdp() });
    let answer = member.ask(play).await;
    let pc = answer["pc"].clone();
    let mut viewer = offer.accept(answer["sdp"].as_str().expect("an SDP"));
    viewer.frames(25).await;

    // By TCP now: its network closed UDP.
    let wire = Wire::tcp(stage.rtc_address()).await;
    let moved = wire.address();
    let offer = viewer.restart(Some(wire)).await;
    let restart = |pc: &Value, sdp: &str| json!({ "type": "rtc.restart", "pc": pc, "sdp": sdp });
    let answer = member.ask(restart(&pc, &offer)).await;
    assert_eq!((&answer["type"], &answer["pc"]), (&json!("rtc.answer"), &pc), "{answer}");
    viewer.accept(&sdp::only(answer["sdp"].as_str().expect("an SDP"), "tcp"));
    viewer.until("media by TCP", |seen| seen.way == Some(moved)).await;
    viewer.frames(25).await;
    assert_eq!(viewer.seen().way, Some(moved));
    assert_whole(&viewer);
    assert_eq!(viewer.seen().video.ssrcs(), 1);

    for (frame, code) in
        [(restart(&json!("pc99"), &offer), "not_found"), (restart(&pc, "v=0\r\nnonsense"), "bad_request")]
    {
        assert_eq!(member.ask(frame).await["error"]["code"], code);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_whose_nat_gives_it_another_port_is_followed() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(KINDS).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(25).await;
    let before = viewer.seen().video.frames();
    let begun = Instant::now();
    let port = viewer.rebind().await.port();
    assert_ne!(port, viewer.address().port());
    viewer.until("the picture again", |seen| seen.video.frames() > before + 25).await;
    eprintln!("followed to another port: 25 frames after {:?}", begun.elapsed());
    let seen = viewer.seen();
    assert_eq!((seen.closed, seen.video.ssrcs()), (false, 1));
    drop(seen);
    assert_eq!(stage.server().sfu().stats().core.viewers, 1);
    stage.stop().await;
}
