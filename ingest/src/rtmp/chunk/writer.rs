//! From messages to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CHUNK_SIZE_DEFAULT, Message};

/// Cuts messages into chunks.
///
/// Every message gets a full header: a server sends a dozen of them per connection, and no peer has to
/// remember anything.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    chunk_size: usize,
    output: BytesMut,
}

impl ChunkWriter {
    pub(crate) fn new() -> Self {
        Self { chunk_size: CHUNK_SIZE_DEFAULT, output: BytesMut::new() }
    }

    /// From the next message on; the peer was told by a SetChunkSize written before.
    pub(crate) fn set_chunk_size(&mut self, size: usize) {
        self.chunk_size = size.max(1);
    }

    pub(crate) fn write(&mut self, message: &Message) {
        // Protocol control and user control belong to chunk stream 2 (section 5.4), commands to 3 by custom.
        let id: u8 = if message.type_id <= 6 { 2 } else { 3 };
        let extended = message.timestamp >= 0xff_ffff;
        let field = message.timestamp.min(0xff_ffff);
        self.output.put_u8(id);
        self.output.put_uint(u64::from(field), 3);
        self.output.put_uint(message.data.len() as u64, 3);
        self.output.put_u8(message.type_id);
        self.output.put_u32_le(message.stream_id);
        if extended {
            self.output.put_u32(message.timestamp);
        }
        for (i, part) in message.data.chunks(self.chunk_size).enumerate() {
            if i > 0 {
                self.output.put_u8(0xc0 | id);
                if extended {
                    self.output.put_u32(message.timestamp);
                }
            }
            self.output.extend_from_slice(part);
        }
    }

    /// What is to be sent.
    pub(crate) fn take(&mut self) -> Bytes {
        self.output.split().freeze()
    }
}
