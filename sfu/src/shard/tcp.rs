//! ICE-TCP (RFC 6544): viewers and publishers whose network lets no UDP through, on the same port number.
//!
//! ```text
//!   listener ─► doorman (a thread) ── first frame: a check with a ufrag ──► the shard that has, or will have, that Peer
//!                  └─ no frame in 5 s, a bad length, no check, an unknown ufrag: closed
//!   shard ─► connections ── frames (RFC 4571) ─► core           core ─► batch ─► connection ─► kernel
//! ```
//! ICE, DTLS and sealing are those of UDP. What is different is that a connection can be full: then its Peer's
//! picture waits for a keyframe, and its sound goes on.

mod connection;
pub(crate) mod connections;
pub(crate) mod doorman;
mod framing;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::net::TcpStream;
use socket2::SockRef;

/// Connections of Peers and strangers at the same time. One more is closed at once (`tcp_refused`): descriptors
/// are the process's, and UDP viewers need none.
const CONNECTIONS_MAX: usize = 16_384;
/// Bytes that the kernel takes although it cannot send them yet: what waits there cannot be dropped any more.
const UNSENT_BYTES: u32 = 16 * 1024;

/// A connection that goes to a shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    stream: TcpStream,
    remote: SocketAddr,
    local: IpAddr,
    /// What was read of it and not handled yet, from the beginning of a frame on.
    bytes: Vec<u8>,
    /// How many shards it has been to: a Peer that is claimed at the same moment may be on another one.
    hops: u8,
    ticket: Ticket,
}

/// Counts connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turnstile(Arc<AtomicUsize>);

/// One of the connections that are open.
#[derive(Debug)]
struct Ticket(Turnstile);

impl Turnstile {
    /// `None`: there are as many as may be.
    fn enter(&self) -> Option<Ticket> {
        let enter = |open| (open < CONNECTIONS_MAX).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
        Some(Ticket(self.clone()))
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Media must not wait for more to send with it, nor in the kernel.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)
}
