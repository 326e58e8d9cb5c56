//! How long connections may say nothing: each costs a descriptor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::accept::Accept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::connections::{Connection, Connections, UNREAD_MAX};

/// How long a client may take for the head of a request, and how long a connection between requests is kept.
/// LL-HLS players ask several times a second; whoever is slower opens another connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest head of a request: addresses, a token and cookies of a whole domain have some kilobytes. hyper alone would
/// keep 400 KiB of whoever never ends his. Longer ones are 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Requests at a time on one connection of HTTP/2. A player has ten; hyper alone would let 200 answers wait for a client
/// that takes none.
const REQUESTS_MAX: u32 = 64;

/// Limits the patience of a server with its connections once they have begun to speak.
pub(crate) fn limit(builder: &mut Builder<TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_concurrent_streams(REQUESTS_MAX);
}

/// Finds a connection its place, and hands it on when its first byte has come. Without it hyper waits for ever to see
/// which version of HTTP it will be.
#[derive(Clone, Debug)]
pub(crate) struct FirstByte {
    /// Who is there.
    pub(crate) connections: Arc<Connections>,
    /// Nobody waits for a first byte while the server stops.
    pub(crate) stop: CancellationToken,
}

impl<S: Send + 'static> Accept<TcpStream, S> for FirstByte {
    type Stream = Connection<TcpStream>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (stop, connections) = (self.stop.clone(), Arc::clone(&self.connections));
        Box::pin(async move {
            let place =
                connections.enter(now(), stream.peer_addr()?).ok_or(io::ErrorKind::ConnectionRefused)?;
            // Playlists, gateway frames: small answers for which somebody waits.
            stream.set_nodelay(true)?;
            // Not `readable`, which may be true before anything came.
            let mut first = [0];
            tokio::select! {
                came = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut first)) => {
                    came.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
                }
                () = stop.cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            }
            Ok((Connection::new(stream, place, UNREAD_MAX), service))
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the log line of a refusal comes now and then by the clock")]
fn now() -> Instant {
    Instant::now()
}
