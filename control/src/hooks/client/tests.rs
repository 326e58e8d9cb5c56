use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server on loopback that answers every connection with `answer`, byte for byte, and says how many came.
async fn server(answer: &'static [u8]) -> (u16, JoinSet<()>, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer).await;
        }
    });
    (port, tasks, seen)
}

fn guarded(besides: &[&str]) -> Client {
    let besides = besides.iter().map(|it| it.parse().expect("a network")).collect();
    Client::new(Reach::Public { besides }).expect("a client")
}

async fn post(client: &Client, url: &str) -> Result<Reply, Error> {
    let url = Url::parse(url).expect(url);
    client.post(&url, HeaderMap::new(), b"{}".to_vec(), PATIENCE).await
}

#[tokio::test]
async fn a_guarded_request_reaches_nothing_private() {
    let (port, _server, seen) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0").await;
    let client = guarded(&[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "169.254.169.254",
        // Names: the resolver knows them without a network.
        "localhost",
        "LOCALHOST",
    ] {
        let error = post(&client, &format!("http://{host}:{port}/")).await.expect_err(host);
        assert!(matches!(error, Error::Private { .. }), "{host}: {error}");
    }
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody connected");
}

#[tokio::test]
async fn the_operator_may_open_a_network_and_needs_no_guard() {
    let (port, _server, _) =
        server(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n0").await;
    let operator = Client::new(Reach::Anywhere).expect("a client");
    for client in [guarded(&["127.0.0.0/8", "::1/128"]), operator] {
        for host in ["127.0.0.1", "localhost"] {
            let reply = post(&client, &format!("http://{host}:{port}/")).await.expect(host);
            assert_eq!((reply.status, reply.body.as_slice()), (200, b"0".as_slice()));
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (inner, _inner, seen) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0").await;
    let answer =
        format!("HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n");
    let (outer, _outer, _) = server(answer.leak().as_bytes()).await;
    // The first hop is allowed, the second would be too: it is not taken all the same.
    let reply =
        post(&guarded(&["127.0.0.0/8"]), &format!("http://127.0.0.1:{outer}/")).await.expect("an answer");
    assert_eq!(reply.status, 307);
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_a_broken_backend_costs_is_bounded() {
    let client = Client::new(Reach::Anywhere).expect("a client");
    let endless =
        format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}", "0".repeat(100_000)).leak();
    let (port, _server, _) = server(endless.as_bytes()).await;
    let error = post(&client, &format!("http://127.0.0.1:{port}/")).await.expect_err("too long");
    assert!(matches!(error, Error::TooLong { status: 200 }), "{error}");

    let (port, _server, _) = server(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let error = post(&client, &format!("http://127.0.0.1:{port}/?secret=abc")).await.expect_err("no HTTP");
    assert!(matches!(error, Error::Http(_)) && !error.to_string().contains("abc"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    let url = Url::parse(&url).expect("a URL");
    let wait = Duration::from_millis(50);
    let error = client.post(&url, HeaderMap::new(), Vec::new(), wait).await.expect_err("late");
    assert!(matches!(error, Error::Late(_)), "{error}");

    drop(silent);
    let error = client.post(&url, HeaderMap::new(), Vec::new(), PATIENCE).await.expect_err("nobody there");
    assert!(error.to_string().contains("refused"), "{error}");
}
