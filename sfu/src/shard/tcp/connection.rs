//! One TCP connection of a Peer, and what waits to be sent over it.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use super::framing::{self, PREFIX};
use super::{Arrival, Ticket};
use crate::core::Tuple;
use crate::egress::batch::Transport;

/// Bytes that wait at most, two seconds of 2 Mbit/s. What does not fit is dropped as whole packets, counted in
/// `tcp_packets_dropped`.
const WAITING_MAX: usize = 512 * 1024;
/// From here on the picture stops until the next keyframe (`tcp_chokes`). A slice of the core, 256 KiB, still
/// fits, so that only what was sealed in the meantime and the sound fill the rest.
const CHOKED_AT: usize = 256 * 1024;
/// Down to here the line has taken what waited, and the picture may begin again.
const FREE_AT: usize = 16 * 1024;
/// What a queue keeps allocated when it is empty.
const KEPT_BYTES: usize = 16 * 1024;

/// A connection on its shard.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) tuple: Tuple,
    /// An authentic check came over it.
    pub(super) proven: bool,
    /// It is in the list of those that have more to read.
    pub(super) unread: bool,
    pub(super) hops: u8,
    /// The beginning of a frame whose rest has not come.
    pub(super) partial: Vec<u8>,
    waiting: Vec<u8>,
    /// How much of `waiting` is sent.
    sent: usize,
    choked: bool,
    ticket: Ticket,
}

/// What [`Connection::send`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) dropped: u64,
}

impl Connection {
    pub(super) fn new(arrival: Arrival) -> Self {
        let Arrival { stream, remote, local, bytes, hops, ticket } = arrival;
        Self {
            stream,
            tuple: Tuple { remote, local, transport: Transport::Tcp },
            proven: false,
            unread: false,
            hops,
            partial: bytes,
            waiting: Vec::new(),
            sent: 0,
            choked: false,
            ticket,
        }
    }

    /// Makes it an arrival again, for another shard.
    pub(super) fn into_arrival(self, bytes: Vec<u8>) -> Arrival {
        let (remote, local) = (self.tuple.remote, self.tuple.local);
        Arrival { stream: self.stream, remote, local, bytes, hops: self.hops + 1, ticket: self.ticket }
    }

    /// Reads once, behind what is kept of an unfinished frame. Says how many bytes of `buffer` are filled.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        if kept == buffer.len() {
            // Another shard had read that much.
            self.partial.clear();
            return Ok(kept);
        }
        let read = self.stream.read(&mut buffer[kept..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.partial.clear();
        Ok(kept + read)
    }

    /// Bytes that wait.
    fn backlog(&self) -> usize {
        self.waiting.len() - self.sent
    }

    /// Sends datagrams, as far as the kernel takes them and the rest has room to wait. `framed` is reused.
    pub(super) fn send<'a>(
        &mut self,
        datagrams: impl Iterator<Item = &'a [u8]>,
        framed: &mut Vec<u8>,
    ) -> io::Result<Sent> {
        framed.clear();
        let (mut result, backlog) = (Sent::default(), self.backlog());
        for datagram in datagrams {
            if backlog + framed.len() + PREFIX + datagram.len() > WAITING_MAX {
                result.dropped += 1;
                continue;
            }
            framing::push(datagram, framed);
            result.packets += 1;
        }
        let mut taken = 0;
        if backlog == 0 {
            taken = write(&self.stream, framed)?;
        }
        self.waiting.extend_from_slice(&framed[taken..]);
        Ok(result)
    }

    /// The kernel takes more again.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        self.sent += write(&self.stream, &self.waiting[self.sent..])?;
        if self.backlog() == 0 {
            self.waiting.clear();
            self.waiting.shrink_to(KEPT_BYTES);
            self.sent = 0;
        } else if self.sent > self.waiting.len() / 2 {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Whether it became full (`true`) or free again (`false`) since the last time.
    pub(super) fn poll_choked(&mut self) -> Option<bool> {
        let backlog = self.backlog();
        let choked = if self.choked { backlog > FREE_AT } else { backlog > CHOKED_AT };
        (std::mem::replace(&mut self.choked, choked) != choked).then_some(choked)
    }
}

/// Writes until the kernel takes no more; says how much it took.
fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
