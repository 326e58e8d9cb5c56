//! What can go wrong in the SFU.

use std::io;
use std::net::SocketAddr;

use crate::capacity::Limit;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An offer that cannot be answered.
    #[error(transparent)]
    Sdp(#[from] crate::sdp::Error),
    /// The certificate of this node could not be made.
    #[error("no DTLS identity: {0}")]
    Identity(String),
    /// A publisher's peer connection could not be built.
    #[error("peer connection: {0}")]
    Connection(String),
    /// A setting that cannot be.
    #[error("sfu configuration: {0}")]
    Config(String),
    /// The port cannot be had.
    #[error("cannot listen on {} {address}: {source}; {advice}", .transport.to_uppercase())]
    Bind {
        /// `udp` or `tcp`.
        transport: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// A socket, a thread or a wake-up could not be set up.
    #[error("cannot {attempt}: {source}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The Stream that a viewer watches has no Layer of that name.
    #[error("there is no layer {rid}")]
    NoLayer {
        /// The name.
        rid: media::Rid,
    },
    /// The node takes no more on: a limit, or overload. Try later, or elsewhere.
    #[error("{}", .0.advice())]
    Capacity(Limit),
    /// A publisher offers more simulcast Layers than it may send (`publish_layers_max`).
    #[error("{offered} simulcast layers are more than this server takes ({max}): send fewer")]
    Layers {
        /// So many.
        offered: usize,
        /// At most.
        max: usize,
    },
    /// A question about Peers was not answered: their shard has too much to do, or has ended.
    #[error("the server is too busy to say how its peers are doing: ask again in a few seconds")]
    NoAnswer,
    /// The Peer ended before.
    #[error("this WebRTC peer has ended")]
    Gone,
    /// The node stops.
    #[error("this node is stopping")]
    Stopping,
}
