//! What can go wrong in the SFU.

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
}
