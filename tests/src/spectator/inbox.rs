//! Receiving for a thousand sockets in one thread: what a viewer got since it was looked at last comes in one system
//! call, and what the server sent in one piece is read in one piece (UDP_GRO).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Messages per system call. Few viewers have more waiting.
const MESSAGES: usize = 8;
/// What the kernel puts together at most.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// Buffers for what one system call brings; one set per thread is enough.
pub(super) struct Inbox {
    buffers: Box<[u8]>,
    metas: [RecvMeta; MESSAGES],
    count: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; MESSAGES * MESSAGE_BYTES_MAX].into_boxed_slice(),
            metas: [RecvMeta::default(); MESSAGES],
            count: 0,
        }
    }

    /// Reads what is there. True: there may be more.
    pub(super) fn receive(&mut self, socket: &UdpSocket, state: &UdpSocketState) -> bool {
        self.count = 0;
        let Self { buffers, metas, count } = self;
        let read = socket.try_io(Interest::READABLE, || {
            let mut slices = buffers.chunks_mut(MESSAGE_BYTES_MAX).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; MESSAGES] =
                std::array::from_fn(|_| slices.next().expect("as many chunks as messages"));
            *count = state.recv(socket.into(), &mut slices, metas)?;
            // Fewer than there is room for: the socket was empty. Saying so spares the call that would find it.
            if *count < MESSAGES { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        read.is_ok()
    }

    /// The datagrams of the last [`Self::receive`].
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let messages = self.metas[..self.count].iter().zip(self.buffers.chunks(MESSAGE_BYTES_MAX));
        messages.flat_map(|(meta, buffer)| {
            buffer[..meta.len].chunks(meta.stride.max(1)).map(|datagram| (meta.addr, datagram))
        })
    }
}
