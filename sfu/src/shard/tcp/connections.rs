//! The TCP connections of one shard.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use tracing::debug;

use super::Arrival;
use super::connection::Connection;
use super::framing::{self, FRAME_MAX, PREFIX};
use crate::core::slots::Slots;
use crate::core::{Routed, Tuple};
use crate::egress::batch::{Batch, Transport};
use crate::shard::clock;
use crate::stats::{ForwardLatency, TcpStats};

/// Readiness taken from the kernel per turn; the rest comes in the next.
const EVENTS_MAX: usize = 256;
/// Connections read per turn, one buffer each: STUN and RTCP of thousands, media of a few publishers. The rest
/// comes in the next turn, so that nobody waits for a flood.
const READS_MAX: usize = 64;
/// Bytes read of a connection at once, behind an unfinished frame.
const READ_BYTES: usize = 32 * 1024;
/// Shards that a connection is handed on to, looking for its Peer: twice is enough, then it is closed.
const HOPS_MAX: u8 = 2;

/// What happened to a connection that the core must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It ended.
    Gone(Tuple),
    /// More waits than the line takes.
    Choked(Tuple),
    /// That is sent.
    Free(Tuple),
}

/// All of them.
pub(crate) struct Connections {
    poll: Poll,
    events: Events,
    connections: Slots<Connection>,
    by_tuple: HashMap<Tuple, u32>,
    /// Those that may have more to read: readiness is told only once.
    unread: VecDeque<u32>,
    buffer: Box<[u8]>,
    framed: Vec<u8>,
    changes: VecDeque<Change>,
    /// Connections whose Peer is on another shard.
    moving: Vec<(usize, Arrival)>,
}

impl Connections {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            connections: Slots::new(),
            by_tuple: HashMap::new(),
            unread: VecDeque::new(),
            buffer: vec![0; PREFIX + FRAME_MAX + READ_BYTES].into_boxed_slice(),
            framed: Vec::new(),
            changes: VecDeque::new(),
            moving: Vec::new(),
        })
    }

    /// What becomes readable when a connection is ready; nothing while there is none.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        (!self.connections.is_empty()).then(|| self.poll.as_raw_fd())
    }

    /// Whether some have more to read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Takes a connection whose first frame is there.
    pub(crate) fn adopt(&mut self, arrival: Arrival) {
        let mut connection = Connection::new(arrival);
        let tuple = connection.tuple;
        // The kernel does not give out a 4-tuple twice: the old one is dead, we have not read so far yet.
        self.hang_up(tuple);
        connection.unread = true;
        let slot = self.connections.insert(connection);
        self.by_tuple.insert(tuple, slot);
        self.unread.push_back(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut connection.stream, Token(slot as usize), both);
        if let Err(error) = registered {
            debug!(%error, "cannot watch a TCP connection");
            self.close(slot);
        }
    }

    /// Reads what is there and gives every frame to `handle`. True: there is more.
    pub(crate) fn receive(
        &mut self,
        ready: bool,
        stats: &mut TcpStats,
        handle: &mut dyn FnMut(Tuple, &mut [u8]) -> Routed,
    ) -> bool {
        if ready {
            self.take_events();
        }
        for _ in 0..READS_MAX.min(self.unread.len()) {
            let Some(slot) = self.unread.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.unread = false;
                self.read(slot, stats, handle);
            }
        }
        self.has_unread()
    }

    fn take_events(&mut self) {
        if self.poll.poll(&mut self.events, Some(Duration::ZERO)).is_err() {
            return;
        }
        let ready: Vec<(u32, bool, bool)> = self.events.iter().map(readiness).collect();
        for (slot, readable, writable) in ready {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            if readable && !std::mem::replace(&mut connection.unread, true) {
                self.unread.push_back(slot);
            }
            if writable {
                match connection.drain() {
                    Ok(()) => self.note_choked(slot),
                    Err(_) => self.close(slot),
                }
            }
        }
    }

    fn read(&mut self, slot: u32, stats: &mut TcpStats, handle: &mut dyn FnMut(Tuple, &mut [u8]) -> Routed) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let filled = match connection.read(&mut self.buffer) {
            Ok(filled) => {
                // Readiness is told once: it is read until there is nothing more.
                connection.unread = true;
                self.unread.push_back(slot);
                filled
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // What the doorman has read is there all the same.
                let kept = connection.partial.len();
                if connection.proven || kept == 0 {
                    return;
                }
                connection.partial.clear();
                kept
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                connection.unread = true;
                self.unread.push_back(slot);
                return;
            }
            Err(_) => return self.close(slot),
        };
        let mut at = 0;
        loop {
            let (from, to) = match framing::frame_at(&self.buffer[..filled], at) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    stats.tcp_bad_frames += 1;
                    return self.close(slot);
                }
            };
            stats.tcp_packets_received += 1;
            let routed = handle(connection.tuple, &mut self.buffer[from..to]);
            if !connection.proven {
                match routed {
                    Routed::Here => connection.proven = true,
                    Routed::Elsewhere(shard) if connection.hops < HOPS_MAX => {
                        return self.send_on(slot, shard, at, filled);
                    }
                    Routed::Elsewhere(_) | Routed::Dropped => {
                        stats.tcp_refused += 1;
                        return self.close(slot);
                    }
                }
            }
            at = to;
        }
        connection.partial.extend_from_slice(&self.buffer[at..filled]);
    }

    /// Hands a connection on, with what came over it from byte `at` of the buffer on.
    fn send_on(&mut self, slot: u32, shard: usize, at: usize, filled: usize) {
        let Some(mut connection) = self.connections.remove(slot) else { return };
        self.by_tuple.remove(&connection.tuple);
        if self.poll.registry().deregister(&mut connection.stream).is_ok() {
            self.moving.push((shard, connection.into_arrival(self.buffer[at..filled].to_vec())));
        }
    }

    /// The next connection that belongs to another shard.
    pub(crate) fn poll_moving(&mut self) -> Option<(usize, Arrival)> {
        self.moving.pop()
    }

    /// The next thing that happened to a connection.
    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Sends what of a batch goes by TCP.
    pub(crate) fn send(&mut self, batch: &Batch, stats: &mut TcpStats, latency: &mut ForwardLatency) {
        for run in batch.runs().iter().filter(|run| run.dest.transport == Transport::Tcp) {
            let slot = self.by_tuple.get(&run.dest.tuple()).copied();
            let Some((slot, connection)) = slot.and_then(|it| Some((it, self.connections.get_mut(it)?)))
            else {
                stats.tcp_packets_dropped += run.datagrams() as u64;
                continue;
            };
            match connection.send(batch.bytes(run).chunks(run.segment), &mut self.framed) {
                Ok(sent) => {
                    stats.tcp_packets_sent += sent.packets;
                    stats.tcp_packets_dropped += sent.dropped;
                    self.note_choked(slot);
                }
                Err(_) => self.close(slot),
            }
        }
        let now = clock();
        for (run, kind, arrival) in batch.arrivals() {
            if batch.runs()[run].dest.transport == Transport::Tcp {
                latency.record(kind, now.saturating_duration_since(arrival));
            }
        }
    }

    fn note_choked(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let tuple = connection.tuple;
        if let Some(choked) = connection.poll_choked() {
            self.changes.push_back(if choked { Change::Choked(tuple) } else { Change::Free(tuple) });
        }
    }

    /// The core does not need that connection any more. What waits for it is dropped.
    pub(crate) fn hang_up(&mut self, tuple: Tuple) {
        if let Some(slot) = self.by_tuple.get(&tuple).copied() {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: u32) {
        let Some(mut connection) = self.connections.remove(slot) else { return };
        self.by_tuple.remove(&connection.tuple);
        // It ends with its descriptor, whatever this says.
        let _ = self.poll.registry().deregister(&mut connection.stream);
        if connection.proven {
            self.changes.push_back(Change::Gone(connection.tuple));
        }
    }
}

/// Slot, whether to read, whether to write.
fn readiness(event: &Event) -> (u32, bool, bool) {
    let ended = event.is_read_closed() || event.is_error();
    (event.token().0 as u32, event.is_readable() || ended, event.is_writable())
}
