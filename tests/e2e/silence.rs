//! Who comes and says nothing, or not enough: nobody holds a place for ever.

use std::net::SocketAddr;
use std::time::Duration;

use tests::viewer::Offer;
use tests::{Stage, eventually, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_are_hung_up_on() {
    let stage = Stage::shared().await;
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    let stream = stage.live(&[media::Kind::Video]).await;
    let http = stage.http_address();
    // Never followed by a check: the place is given up after 30 s.
    let _answer = Offer::new().await.post(&stage.whep_url()).await;
    let sfu = stage.server().sfu();
    assert_eq!(sfu.viewers(stream.id()), 1);

    let asked = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    tokio::join!(
        hung_up("HTTP without a byte", http, b""),
        hung_up("half a request line", http, b"GET / HT"),
        hung_up("headers without an end", http, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"),
        hung_up("a connection kept after its request", http, asked),
        hung_up("RTMP without a byte", stage.rtmp_address(), b""),
        hung_up("half a handshake", stage.rtmp_address(), &[3; 700]),
    );
    eventually("the viewer that never came is forgotten", Duration::from_secs(45), async || {
        (sfu.viewers(stream.id()) == 0 && sfu.stats().peers_never_connected == 1).then_some(())
    })
    .await;
    stage.stop().await;
}

/// Writes that and leaves the connection open: the server closes it.
async fn hung_up(what: &str, address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(bytes).await.expect("it takes a little");
    let mut answer = [0u8; 4096];
    let reading = async { while let Ok(1..) = socket.read(&mut answer).await {} };
    let ended = tokio::time::timeout(Duration::from_secs(45), reading).await;
    assert!(ended.is_ok(), "{what}: still open");
}
