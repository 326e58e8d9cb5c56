//! Bytes that mean nothing, on every port: nothing dies, counters count, viewers see no harm.

use std::net::SocketAddr;
use std::time::Duration;

use tests::{Stage, Stranger, Viewer, eventually, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// For a server that has little of the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                self.0 as u8
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_harms_nobody() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[media::Kind::Video, media::Kind::Audio]).await;
    let mut viewer = Viewer::join(&stage.whep_url()).await;
    viewer.frames(5).await;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);

    for request in http_garbage(&mut noise) {
        throw(stage.http_address(), &request).await;
    }
    for bytes in rtmp_garbage(&mut noise) {
        throw(stage.rtmp_address(), &bytes).await;
    }
    // Each round anew until it is counted: a kernel with full buffers drops datagrams, garbage or not.
    let sfu = stage.server().sfu();
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    eventually("garbage of nobody is counted", PATIENCE, async || {
        for datagram in udp_garbage(&mut noise) {
            socket.send_to(&datagram, stage.rtc_address()).await.expect("loopback takes it");
        }
        let core = sfu.stats().core;
        (core.datagrams_unknown > 1000 && core.datagrams_of_nobody > 500).then_some(())
    })
    .await;
    // The same from somebody whose address the server believes, and who first lied about who that is.
    let stranger = Stranger::new(&stage.whep_url(), stage.rtc_address()).await;
    let lie = stranger.check("a password that is not the server's");
    eventually("a false check is counted", PATIENCE, async || {
        stranger.send(&lie);
        (sfu.stats().core.checks_refused > 0).then_some(())
    })
    .await;
    assert_eq!(sfu.stats().core.viewers, 2, "it waits for a true one");
    stranger.prove().await;
    // What its DTLS guard sees ends it, so that comes last.
    let is_handshake = |datagram: &Vec<u8>| matches!(datagram.first(), Some(20..=63));
    eventually("garbage of a viewer is counted", PATIENCE, async || {
        stranger.flood(udp_garbage(&mut noise).into_iter().filter(|it| !is_handshake(it))).await;
        let core = sfu.stats().core;
        (core.rtp_from_viewers > 100 && core.srtcp_refused > 100).then_some(())
    })
    .await;
    eventually("the viewer is refused", PATIENCE, async || {
        stranger.flood(udp_garbage(&mut noise).into_iter().filter(is_handshake)).await;
        (sfu.stats().core.dtls_refused == 1).then_some(())
    })
    .await;

    assert!(stage.metric("swiftwater_rtmp_protocol_errors_total").await >= 4.0);
    assert_eq!(sfu.stats().core.panics_caught, 0);
    // Old and new viewers watch on.
    viewer.frames(25).await;
    assert_eq!(viewer.seen().video.lost(), 0, "{:?}", *viewer.seen());
    Viewer::join(&stage.whep_url()).await.frames(5).await;
    stage.stop().await;
}

/// Writes all of it, then reads whatever comes until the server closes or has nothing to say.
async fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    // The server may close before it has read everything.
    if socket.write_all(bytes).await.is_ok() {
        let _ = socket.shutdown().await;
    }
    let mut answer = [0u8; 4096];
    let reading = async { while let Ok(1..) = socket.read(&mut answer).await {} };
    tokio::time::timeout(Duration::from_secs(15), reading).await.expect("half-closed garbage is hung up on");
}

fn http_garbage(noise: &mut Noise) -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = [0, 1, 100, 5000, 200_000].map(|count| noise.bytes(count)).into();
    let tls_hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &noise.bytes(500)].concat();
    let long = "x".repeat(1 << 20);
    let texts = [
        "GET".to_owned(),
        "GET / HTTP/1.1\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
        "POST /whip/stage HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST /whip/stage HTTP/1.1\r\nHost: a\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv=0"
            .to_owned(),
        "POST /whep/stage HTTP/1.1\r\nHost: a\r\nContent-Type: application/sdp\r\n\
         Transfer-Encoding: chunked\r\n\r\nzz\r\n"
            .to_owned(),
        "GET /api/v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        "GET /hls/%00/../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{1}\u{2}\u{3}".to_owned(),
    ];
    requests.extend(texts.map(String::into_bytes));
    requests.push(tls_hello);
    // A WebSocket whose first frames are noise.
    let upgrade = "GET /api/v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    requests.push([upgrade.as_bytes(), &noise.bytes(3000)].concat());
    requests
}

fn rtmp_garbage(noise: &mut Noise) -> Vec<Vec<u8>> {
    // C0 and C1 and a C2 that nobody can have asked for: what follows is read as chunks.
    let shaken = [&[3][..], &[0; 8], &noise.bytes(1528), &noise.bytes(1536)].concat();
    let chunk = |kind: u8, length: [u8; 3], body: &[u8]| {
        [&[3, 0, 0, 0][..], &length, &[kind], &[0; 4], body].concat()
    };
    vec![
        Vec::new(),
        vec![3],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        noise.bytes(10_000),
        [&[0xff; 4][..], &noise.bytes(4000)].concat(),
        [shaken.clone(), noise.bytes(20_000)].concat(),
        // A message of 16 MiB by its own account, a chunk of no size, a command before connect, broken AMF.
        [shaken.clone(), chunk(20, [0xff; 3], &noise.bytes(128))].concat(),
        [shaken.clone(), chunk(1, [0, 0, 4], &[0; 4])].concat(),
        [
            shaken.clone(),
            chunk(20, [0, 0, 20], b"\x02\x00\x07publish\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05"),
        ]
        .concat(),
        [shaken.clone(), chunk(20, [0, 0, 5], b"\x02\xff\xff\x00\x00")].concat(),
        // A continuation of a message that never began.
        [shaken, vec![0xc5; 100]].concat(),
    ]
}

fn udp_garbage(noise: &mut Noise) -> Vec<Vec<u8>> {
    let mut datagrams = vec![Vec::new()];
    for first in 0..=255u8 {
        for length in [1, 2, 4, 12, 13, 20, 28, 200, 1200, 1500, 2500] {
            let mut datagram = noise.bytes(length);
            datagram[0] = first;
            datagrams.push(datagram);
        }
    }
    let stun = [&[0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42][..], &noise.bytes(52)].concat();
    let hello = [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0, 48][..]]
        .concat();
    let hello = [hello, noise.bytes(48)].concat();
    let rtp =
        [&[0xb0, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff][..], &noise.bytes(40)].concat();
    let rtcp = [&[0x9f, 206, 0xff, 0xff][..], &noise.bytes(40)].concat();
    for whole in [stun, hello, rtp, rtcp] {
        datagrams.extend((1..=whole.len()).map(|length| whole[..length].to_vec()));
    }
    datagrams
}
