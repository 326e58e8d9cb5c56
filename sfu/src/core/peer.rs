//! One publisher.
//!
//! What the core asks of it: it routes datagrams by 4-tuple and ufrag, hands them over here, and drains
//! what comes out after every call.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::core::Transmit;
use crate::{CloseReason, PeerEvent, PeerId};

/// One publisher's peer connection.
#[derive(Debug)]
pub struct Peer {
    id: PeerId,
    ufrag: String,
    pwd: String,
}

impl Peer {
    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our ICE ufrag.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Our ICE password: the core checks it before a 4-tuple is believed.
    pub fn pwd(&self) -> &str {
        &self.pwd
    }

    /// A datagram from a 4-tuple that has proven itself by STUN, or the STUN check itself.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, to: IpAddr, data: &mut [u8]) {
        let _ = (now, from, to, data);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When it wants [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// What happened to it; `Closed` is the last event.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        None
    }

    /// Ends it: `Closed(reason)` and a DTLS close_notify follow by the polls.
    pub fn close(&mut self, now: Instant, reason: CloseReason) {
        let _ = (now, reason);
    }
}
