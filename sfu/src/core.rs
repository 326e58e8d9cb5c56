//! The SFU without I/O: no socket, thread, task or clock.

mod counters;
pub mod peer;
pub(crate) mod up_track;
pub mod viewer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use media::{Kind, Rid, RtpPacket, Track};

use crate::egress::batch::Batch;
use crate::{PeerEvent, PeerId};

pub use counters::Counters;

/// One Layer that a shard reads from the bus.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct FeedId(pub u32);

/// What the shell must do for the core.
#[derive(Debug)]
pub enum Action {
    /// Read this Layer and hand its packets to `handle_packets`.
    OpenFeed {
        /// Under which name.
        feed: FeedId,
        /// The Track.
        track: Arc<Track>,
        /// The Layer.
        rid: Rid,
    },
    /// Nobody here reads it any more.
    CloseFeed(FeedId),
    /// Ask the source for a keyframe.
    RequestKeyframe(FeedId),
    /// Tell the holder of the Peer's handle.
    Event(PeerId, PeerEvent),
}

/// What the handle asks of a Peer's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End it.
    Close(PeerId),
    /// Stop sending a kind to a viewer.
    Pause(PeerId, Kind),
    /// Send it again.
    Resume(PeerId, Kind),
    /// End all Peers: the node stops.
    Stop,
}

/// A control datagram to send: STUN, DTLS or SRTCP. Rare, so it may own its bytes.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// From which local address: the one that the Peer used.
    pub from: IpAddr,
    /// The datagram.
    pub data: Vec<u8>,
}

/// Where a datagram belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// It was handled here.
    Here,
    /// It is of a Peer on that shard.
    Elsewhere(usize),
    /// It is of nobody.
    Dropped,
}

/// A Peer whose offer was answered and whose first STUN check has not come yet.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it waits and travels in a Box")]
pub enum Negotiated {
    /// It will watch.
    Viewer(viewer::Spec),
    /// It will publish.
    Publisher(peer::Peer),
}

impl Negotiated {
    /// Who it is.
    pub fn id(&self) -> PeerId {
        match self {
            Self::Viewer(spec) => spec.id(),
            Self::Publisher(peer) => peer.id(),
        }
    }

    /// Our ICE ufrag for it.
    pub fn ufrag(&self) -> &str {
        match self {
            Self::Viewer(spec) => spec.ufrag(),
            Self::Publisher(peer) => peer.ufrag(),
        }
    }
}

/// Whose Peer a ufrag is.
#[derive(Debug)]
pub enum Claim {
    /// Nobody had it: it is this shard's from now on.
    Yours(Box<Negotiated>),
    /// That shard has it.
    Elsewhere(usize),
    /// No such Peer.
    Unknown,
}

/// What a core must know.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The certificate of the node.
    pub identity: viewer::Identity,
    /// Seed of the few random choices of a core (moments of sender reports).
    pub seed: u64,
}

/// All Peers of a shard.
#[derive(Debug)]
pub struct Core {
    counters: Counters,
}

impl Core {
    /// A core without Peers.
    pub fn new(config: CoreConfig) -> Self {
        let _ = config;
        Self { counters: Counters::default() }
    }

    /// Takes a datagram from the network. `to`: our address that it came to. `claim` is asked for a ufrag
    /// that no Peer here has.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: IpAddr,
        data: &mut [u8],
        claim: &mut dyn FnMut(&str) -> Claim,
    ) -> Routed {
        let _ = (now, from, to, data, claim);
        Routed::Dropped
    }

    /// Takes packets of a feed from the bus, in the order in which they were written. Empties `packets`.
    pub fn handle_packets(&mut self, now: Instant, feed: FeedId, packets: &mut Vec<RtpPacket>) {
        let _ = (now, feed);
        packets.clear();
    }

    /// The Track of that feed ended.
    pub fn handle_feed_end(&mut self, now: Instant, feed: FeedId) {
        let _ = (now, feed);
    }

    /// Does what the handle asked.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        let _ = (now, command);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next control datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// Seals media into `batch` until it is full or a slice is done. True: more waits.
    pub fn next_slice(&mut self, now: Instant, batch: &mut Batch) -> bool {
        let _ = (now, batch);
        false
    }

    /// The next thing that the shell must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
