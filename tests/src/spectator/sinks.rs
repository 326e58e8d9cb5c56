//! Sockets that only count: spectators of a sender that speaks no WebRTC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn_udp::UdpSocketState;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{INBOX, bind};

/// Sockets that only count. Dropped, they are closed.
pub struct Sinks {
    addresses: Vec<SocketAddr>,
    packets: Arc<AtomicU64>,
    _readers: JoinSet<()>,
}

impl Sinks {
    /// So many, set up as those of spectators are.
    pub fn open(count: usize) -> Self {
        let packets = Arc::new(AtomicU64::new(0));
        let (mut addresses, mut readers) = (Vec::new(), JoinSet::new());
        for _ in 0..count {
            let (socket, state) = bind();
            addresses.push(socket.local_addr().expect("bound"));
            readers.spawn(read(socket, state, Arc::clone(&packets)));
        }
        Self { addresses, packets, _readers: readers }
    }

    /// Where to send, in order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().copied()
    }

    /// Datagrams that came.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
}

async fn read(socket: UdpSocket, state: UdpSocketState, packets: Arc<AtomicU64>) {
    loop {
        socket.readable().await.expect("our socket");
        INBOX.with_borrow_mut(|inbox| {
            let mut more = true;
            while more {
                more = inbox.receive(&socket, &state);
                packets.fetch_add(inbox.datagrams().count() as u64, Ordering::Relaxed);
            }
        });
    }
}
