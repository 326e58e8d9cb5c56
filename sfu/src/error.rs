//! What can go wrong in the SFU.

use std::io;
use std::net::SocketAddr;

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
    /// The UDP port cannot be had.
    #[error("cannot listen on UDP {address}: {source}; {advice}")]
    Bind {
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
    /// As many Peers as this node takes are here, or too many negotiate at once. Try later, or elsewhere.
    #[error("this node has no room for another WebRTC peer")]
    Busy,
    /// The Stream that a viewer watches has no Layer of that name.
    #[error("there is no layer {rid}")]
    NoLayer {
        /// The name.
        rid: media::Rid,
    },
    /// The node stops.
    #[error("this node is stopping")]
    Stopping,
}
