//! The chunk stream (RTMP 1.0 section 5.3): messages cut into chunks, interleaved, with headers that say
//! only what has changed.
//!
//! The reader is our own because `rml_rtmp` keeps one payload buffer for all chunk streams and panics on
//! legal interleaving (ADR 0004).

mod reader;
mod writer;

use bytes::Bytes;

pub use reader::ChunkError;
pub(crate) use reader::ChunkReader;
pub(crate) use writer::ChunkWriter;

/// Chunk size of both directions until somebody says otherwise (section 5.4.1).
const CHUNK_SIZE_DEFAULT: usize = 128;

/// A whole message of the chunk stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// Milliseconds as the peer counts them, modulo 2^32.
    pub(crate) timestamp: u32,
    /// What it is (sections 5.4, 6.1, 7.1).
    pub(crate) type_id: u8,
    /// Which message stream it belongs to; 0 for the connection.
    pub(crate) stream_id: u32,
    /// Its body.
    pub(crate) data: Bytes,
}
