//! The least of a HTTP client: one connection, one request at a time.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body, if it was to be kept.
    pub(crate) body: Vec<u8>,
    pub(crate) length: usize,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("connects: is `ulimit -n` high enough?");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: vec![0; 4096] }
    }

    /// Asks for `path` and reads the whole answer. `None` if the connection broke.
    pub(crate) async fn get(&mut self, path: &str, gzip: bool, keep: bool) -> Option<Answer> {
        let accept = if gzip { "accept-encoding: gzip\r\n" } else { "" };
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{accept}\r\n");
        self.stream.write_all(request.as_bytes()).await.ok()?;
        let (mut head, mut filled) = (None, 0);
        while head.is_none() {
            let count = self.stream.read(&mut self.buffer[filled..]).await.ok().filter(|count| *count > 0)?;
            filled += count;
            head = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
        }
        let end = head? + 4;
        let text = std::str::from_utf8(&self.buffer[..end]).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let header = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim())
        });
        let length: usize = header?.parse().ok()?;
        let mut body = Vec::new();
        let mut came = filled - end;
        if keep {
            body.extend_from_slice(&self.buffer[end..filled]);
        }
        while came < length {
            let count = self.stream.read(&mut self.buffer).await.ok().filter(|count| *count > 0)?;
            came += count;
            if keep {
                body.extend_from_slice(&self.buffer[..count]);
            }
        }
        Some(Answer { status, body, length })
    }
}
