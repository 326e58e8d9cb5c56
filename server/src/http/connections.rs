//! How many TCP connections HTTP holds, in all and of one network, and how long they may leave unread what was sent.
//!
//! Each costs a descriptor and some memory, and whoever opens them need not say who he is.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::Serialize;
use sfu::network_of;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tracing::warn;

/// How long a client may take nothing of what waits for it. A phone in a tunnel is back earlier; who is slower asks
/// again, and no answer is kept in memory for nobody.
pub(crate) const UNREAD_MAX: Duration = Duration::from_secs(30);

/// One log line per limit and this long; the counters have the rest.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    /// Connections now.
    pub(crate) connections: u64,
    /// Connections closed at once because the node had as many as it may.
    pub(crate) refused_node: u64,
    /// Connections closed at once because their network had as many as it may.
    pub(crate) refused_address: u64,
    /// Connections closed because their client took nothing for [`UNREAD_MAX`].
    pub(crate) unread: u64,
}

/// All connections of HTTP.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    /// `None`: every connection is of the same proxy.
    per_address_max: Option<usize>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Bounded by the connections: a network without one has no entry.
    networks: HashMap<IpAddr, usize>,
    stats: Stats,
    logged: [Option<Instant>; 2],
}

/// A limit that a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Node,
    Address,
}

impl Connections {
    /// At most `max`, and `per_address_max` of one address (IPv6: of one /64).
    pub(crate) fn new(max: usize, per_address_max: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, table: Mutex::default() })
    }

    /// A place for a connection. `None`: a limit is met; it is counted, and the operator told now and then.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant, client: SocketAddr) -> Option<Place> {
        let network = network_of(client.ip());
        let mut table = self.lock();
        let taken = table.networks.get(&network).copied().unwrap_or(0);
        let limit = if table.stats.connections >= self.max as u64 {
            Limit::Node
        } else if !client.ip().to_canonical().is_loopback()
            && self.per_address_max.is_some_and(|max| taken >= max)
        {
            Limit::Address
        } else {
            table.networks.insert(network, taken + 1);
            table.stats.connections += 1;
            drop(table);
            return Some(Place { connections: Arc::clone(self), network });
        };
        let (setting, refused) = match limit {
            Limit::Node => ("[http] connections_max", &mut table.stats.refused_node),
            Limit::Address => ("[http] connections_per_address_max", &mut table.stats.refused_address),
        };
        *refused += 1;
        let refused = *refused;
        let logged = &mut table.logged[limit as usize];
        if logged.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY) {
            *logged = Some(now);
            drop(table);
            warn!(%client, limit = setting, refused, "an HTTP connection was closed at once: the limit is reached");
        }
        None
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.stats.connections -= 1;
        if let Some(count) = table.networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                table.networks.remove(&self.network);
            }
        }
    }
}

/// A connection in its place. A write fails if the client takes nothing for too long.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    place: Place,
    unread_max: Duration,
    /// Runs while something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    pub(crate) fn new(stream: S, place: Place, unread_max: Duration) -> Self {
        Self { stream, place, unread_max, stalled: None }
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let unread_max = self.unread_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(unread_max)));
        std::task::ready!(stalled.as_mut().poll(cx));
        self.place.connections.lock().stats.unread += 1;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, data);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, data);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn beginning() -> Instant {
        Instant::now()
    }

    fn client(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().expect("an address"), 4242)
    }

    #[test]
    fn a_network_has_so_many_connections_and_loopback_as_many_as_the_node() {
        let (connections, now) = (Connections::new(6, Some(2)), beginning());
        let enter = |address| connections.enter(now, client(address));
        let of_one: Vec<Place> = ["192.0.2.1", "::ffff:192.0.2.1"].into_iter().filter_map(enter).collect();
        assert_eq!(of_one.len(), 2);
        assert!(enter("192.0.2.1").is_none(), "a mapped address is the same address");
        let of_other: Vec<Place> = ["2001:db8::1", "2001:db8::2"].into_iter().filter_map(enter).collect();
        assert!(of_other.len() == 2 && enter("2001:db8::3").is_none(), "a /64 is one network");
        let own: Vec<Place> = ["127.0.0.1", "::1"].into_iter().filter_map(enter).collect();
        assert_eq!(own.len(), 2);
        assert!(enter("127.0.0.1").is_none(), "the node is full");
        let stats = Stats { connections: 6, refused_node: 1, refused_address: 2, unread: 0 };
        assert_eq!(connections.stats(), stats);
        drop(of_one);
        assert!(enter("192.0.2.1").is_some(), "there is room again");
        drop((of_other, own));
        assert_eq!(connections.stats().connections, 0);
        assert!(connections.lock().networks.is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn behind_a_proxy_every_connection_has_the_same_address() {
        let (connections, now) = (Connections::new(10_000, None), beginning());
        let crowd: Vec<Place> =
            (0..5000).filter_map(|_| connections.enter(now, client("192.0.2.1"))).collect();
        assert_eq!(crowd.len(), 5000);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_is_not() {
        let connections = Connections::new(2, None);
        let connection = |size, unread_max| {
            let (ours, theirs) = tokio::io::duplex(size);
            let place = connections.enter(beginning(), client("192.0.2.1")).expect("there is room");
            (Connection::new(ours, place, unread_max), theirs)
        };
        let (mut ours, theirs) = connection(64, Duration::from_millis(20));
        let error = ours.write_all(&[7; 65]).await.expect_err("nobody takes it");
        assert_eq!((error.kind(), connections.stats().unread), (io::ErrorKind::TimedOut, 1));
        drop((ours, theirs));
        // A byte at a time is something.
        let (mut ours, mut theirs) = connection(1, Duration::from_secs(3600));
        let write = async {
            ours.write_all(&[7; 100]).await.expect("it is taken");
            drop(ours);
        };
        let mut taken = Vec::new();
        let (_, read) = tokio::join!(write, theirs.read_to_end(&mut taken));
        assert_eq!((read.expect("open"), connections.stats().unread), (100, 1));
        assert_eq!(connections.stats().connections, 0);
    }
}
