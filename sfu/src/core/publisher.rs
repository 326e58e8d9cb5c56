//! Publishers among the Peers of a shard: their datagrams, their paths, their end.

use std::time::Instant;

use super::demux::{Class, Home, Tuple, classify};
use super::dtls_guard::{Guard, Verdict};
use super::up_track::UpCounters;
use super::{Action, Core, peer};
use crate::egress::batch::Transport;
use crate::{CloseReason, PeerEvent};

/// A publisher, and what stands between it and the network.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) peer: peer::Peer,
    pub(super) guard: Guard,
    pub(super) counted: UpCounters,
}

impl Core {
    /// Whether somebody here publishes: then what comes by UDP may be media.
    pub(crate) fn has_publishers(&self) -> bool {
        !self.publishers.is_empty()
    }

    pub(super) fn hand_to_publisher(&mut self, now: Instant, slot: u32, tuple: Tuple, data: &mut [u8]) {
        let Some(publisher) = self.publishers.get_mut(slot) else { return };
        if classify(data) == Class::Dtls {
            match publisher.guard.inspect(now, data) {
                Ok(Verdict::Pass) => {}
                Ok(Verdict::Ignore) => {
                    self.counters.dtls_ignored += 1;
                    return;
                }
                Err(refusal) => {
                    tracing::debug!(peer = %publisher.peer.id(), ?refusal, "publisher refused");
                    self.counters.dtls_refused += 1;
                    publisher.peer.close(now, CloseReason::Dtls);
                    return self.drain_publisher(slot);
                }
            }
        }
        let taken = publisher.peer.handle_datagram(now, tuple, data);
        self.counters.srtp_refused += u64::from(!taken);
        self.drain_publisher(slot);
        self.challenge(Home::Publisher(slot));
    }

    pub(super) fn drain_publisher(&mut self, slot: u32) {
        let Some(publisher) = self.publishers.get_mut(slot) else { return };
        while let Some(transmit) = publisher.peer.poll_transmit() {
            self.counters.control_dropped += u64::from(!self.control.push(transmit));
        }
        let (mut ended, id) = (false, publisher.peer.id());
        while let Some(event) = publisher.peer.poll_event() {
            match event {
                PeerEvent::Connected { transport, .. } => {
                    publisher.guard.finish();
                    self.counters.connected_tcp += u64::from(transport == Transport::Tcp);
                }
                PeerEvent::Closed(reason) => {
                    self.counters.add_end(reason);
                    ended = true;
                }
                PeerEvent::Fallback(_) | PeerEvent::Layers(_) | PeerEvent::Capped(_) => {}
            }
            self.actions.push_back(Action::Event(id, event));
        }
        if ended && let Some(publisher) = self.publishers.remove(slot) {
            self.counters.add_published(&publisher.peer.totals(), &publisher.counted);
            self.forget_ways(id, publisher.peer.ice());
            self.counters.publishers -= 1;
        }
    }
}
