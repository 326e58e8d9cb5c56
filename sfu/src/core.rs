//! The SFU without I/O: no socket, thread, task or clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use media::{Kind, Rid, Track};

use crate::{PeerEvent, PeerId};

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
