//! The control datagrams of a shard that wait for room in its batch, and the buffers of those that were sent.

use std::collections::VecDeque;

use super::Transmit;

/// Datagrams that wait. The shell takes them after every turn, unless its socket is full: then answers pile up while
/// questions go on coming. Enough for one to each of ten thousand viewers (a goodbye, a report) and half as many again;
/// beyond it the newest is dropped and counted (`control_dropped`): clients repeat checks and DTLS, and reports are made anew.
const WAITING_MAX: usize = 16_384;
/// Buffers kept for the next ones: what a shard says between two looks at its sockets, with a thousand viewers. Beyond it
/// they are freed.
const SPARE_MAX: usize = 64;
/// STUN responses and reports have 100 to 200 bytes. A larger buffer, of a DTLS flight, is not kept.
const SPARE_BYTES_MAX: usize = 512;

/// What waits, oldest first.
#[derive(Debug, Default)]
pub(super) struct ControlQueue {
    waiting: VecDeque<Transmit>,
    spare: Vec<Vec<u8>>,
}

impl ControlQueue {
    /// An empty buffer to write a datagram into.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back the bytes of a datagram that was sent, or never will be.
    pub(super) fn reuse(&mut self, mut data: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && data.capacity() <= SPARE_BYTES_MAX {
            data.clear();
            self.spare.push(data);
        }
    }

    /// False: there was no room, and it is dropped.
    pub(super) fn push(&mut self, transmit: Transmit) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            self.reuse(transmit.data);
            return false;
        }
        self.waiting.push_back(transmit);
        true
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Transmit> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::egress::batch::Transport;

    fn datagram(number: u16, data: Vec<u8>) -> Transmit {
        let from = IpAddr::from([192, 0, 2, 1]);
        Transmit { to: SocketAddr::new(from, number), from, transport: Transport::Udp, data }
    }

    #[test]
    fn a_socket_that_stays_full_costs_the_newest_and_no_memory() {
        let mut queue = ControlQueue::default();
        for number in 0..WAITING_MAX {
            assert!(queue.push(datagram(number as u16, Vec::new())));
        }
        assert!(!queue.push(datagram(1, Vec::new())));
        assert_eq!(queue.pop().map(|it| it.to.port()), Some(0), "the oldest goes first");
        assert!(queue.push(datagram(2, Vec::new())));
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), WAITING_MAX);
    }

    #[test]
    fn buffers_come_back_if_they_are_small_and_few() {
        let mut queue = ControlQueue::default();
        queue.reuse(Vec::with_capacity(SPARE_BYTES_MAX + 1));
        assert_eq!(queue.buffer().capacity(), 0);
        for _ in 0..SPARE_MAX + 1 {
            queue.reuse(vec![7; 100]);
        }
        assert_eq!(queue.spare.len(), SPARE_MAX);
        assert!(queue.buffer().is_empty());
    }
}
