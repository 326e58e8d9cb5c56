//! How long connections may say nothing: each costs a descriptor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum_server::accept::Accept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a client may take for the head of a request, and how long a connection between requests is kept.
/// LL-HLS players ask several times a second; whoever is slower opens another connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Limits the patience of a server with its connections once they have begun to speak.
pub(crate) fn limit(builder: &mut Builder<TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
}

/// Hands a connection on when its first byte has come. Without it hyper waits for ever to see which version
/// of HTTP it will be.
#[derive(Clone, Debug)]
pub(crate) struct FirstByte {
    /// Nobody waits for a first byte while the server stops.
    pub(crate) stop: CancellationToken,
}

impl<S: Send + 'static> Accept<TcpStream, S> for FirstByte {
    type Stream = TcpStream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let stop = self.stop.clone();
        Box::pin(async move {
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
            Ok((stream, service))
        })
    }
}
