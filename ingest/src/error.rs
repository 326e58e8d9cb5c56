//! What can go wrong at the door.

use std::net::SocketAddr;

/// An error of this crate. What an encoder did wrong is an ordinary `Err` and ends its connection only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listening socket could not be opened.
    #[error("cannot listen for RTMP on {address}: {source}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The peer's socket failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The opening bytes are not RTMP.
    #[error("RTMP handshake: {0}")]
    Handshake(String),
    /// The chunk stream breaks the protocol or a limit.
    #[error("RTMP chunk stream: {0}")]
    Chunk(#[from] crate::rtmp::ChunkError),
    /// A message that breaks its format.
    #[error("RTMP {what}: {why}")]
    Message {
        /// Which message or value.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something that we do not carry. Shown to the streamer, so it says what to change.
    #[error("{0}")]
    Unsupported(String),
    /// A value of the configuration that cannot work.
    #[error("{setting}: {why}")]
    Config {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Bad codec data inside a well-formed message.
    #[error(transparent)]
    Media(#[from] media::Error),
}
