//! From bytes to messages.

use std::collections::HashMap;

use bytes::BytesMut;

use super::{CHUNK_SIZE_DEFAULT, Message};

/// Largest message. A keyframe of 100 Mbit/s video with a 4 s GOP is about 3 MiB; a larger one ends the
/// connection.
const MESSAGE_BYTES_MAX: usize = 10 << 20;

/// Largest message of a peer that is not admitted yet: commands take a few hundred bytes.
const MESSAGE_BYTES_MAX_STRANGER: usize = 64 << 10;

/// Memory for messages that are not whole yet, all chunk streams together: one largest message and room for
/// audio and data between its chunks. More ends the connection.
const PARTIAL_BYTES_MAX: usize = 12 << 20;

/// Chunk streams of one connection. Encoders use 4 to 6; ids are 16 bits wide, so a hostile peer could
/// otherwise make 65,000 of them. One more ends the connection.
const CHUNK_STREAMS_MAX: usize = 64;

/// Largest chunk size: a chunk cannot be larger than a message (section 5.4.1). Larger values are taken as
/// this one, since they mean "never cut".
const CHUNK_SIZE_MAX: u32 = 0xff_ffff;

/// Marks an extended timestamp (section 5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;

/// Longest chunk header: basic 3, message 11, extended timestamp 4.
const HEADER_BYTES_MAX: usize = 18;

/// How a peer can break the chunk stream. Each ends the connection.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkError {
    /// A header that refers to one that never came.
    #[error("chunk stream {id} begins with a header of type {header_type}")]
    NoHeaderBefore {
        /// The chunk stream.
        id: u32,
        /// Its header type.
        header_type: u8,
    },
    /// A new message header while another message was not whole.
    #[error("chunk stream {id} begins a message before the last one is whole")]
    Unfinished {
        /// The chunk stream.
        id: u32,
    },
    /// Over the limit for this peer.
    #[error("a message of {length} bytes is over the limit of {limit}")]
    MessageTooLong {
        /// Announced length.
        length: usize,
        /// The limit now.
        limit: usize,
    },
    /// Too much memory in messages that are not whole.
    #[error("unfinished messages of more than {PARTIAL_BYTES_MAX} bytes")]
    PartialTooLong,
    /// Too many chunk streams.
    #[error("more than {CHUNK_STREAMS_MAX} chunk streams")]
    TooManyStreams,
    /// A chunk size of zero.
    #[error("chunk size 0")]
    ChunkSize,
}

/// What the headers of one chunk stream have said so far, and its message in the making.
#[derive(Debug, Default)]
struct ChunkStream {
    timestamp: u32,
    /// What the last timestamp field said: the absolute time of a type 0 header, the delta of the others.
    /// A type 3 header that begins a message adds it again (section 5.3.1.2.4).
    field: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    partial: Option<BytesMut>,
}

/// Where in the stream the next byte belongs.
#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Payload { id: u32, left: usize },
}

/// Puts messages together. Sans-I/O, total: every input is a message, an error or a wish for more.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    streams: HashMap<u32, ChunkStream>,
    chunk_size: usize,
    message_bytes_max: usize,
    partial_bytes: usize,
    state: State,
    /// The beginning of a header that was cut by the end of the input, or up to 4 bytes of payload that
    /// were taken for an extended timestamp.
    stash: Stash,
}

/// A header in the making; at most [`HEADER_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
struct Stash {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

/// A header that was read whole.
struct Header {
    id: u32,
    header_type: u8,
    /// Bytes that it took.
    used: usize,
    timestamp: Option<u32>,
    length: Option<usize>,
    type_id: Option<u8>,
    stream_id: Option<u32>,
    extended: Option<u32>,
}

impl ChunkReader {
    /// A reader of the first chunk after the handshake; the peer is a stranger until [`Self::trust`].
    pub(crate) fn new() -> Self {
        Self {
            streams: HashMap::new(),
            chunk_size: CHUNK_SIZE_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_MAX_STRANGER,
            partial_bytes: 0,
            state: State::Header,
            stash: Stash::default(),
        }
    }

    /// The peer may publish: it may send large messages.
    pub(crate) fn trust(&mut self) {
        self.message_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// The peer said SetChunkSize.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 {
            return Err(ChunkError::ChunkSize);
        }
        self.chunk_size = size.min(CHUNK_SIZE_MAX) as usize;
        Ok(())
    }

    /// The peer gave up the message on this chunk stream (section 5.4.2).
    pub(crate) fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.partial.take().is_some()
        {
            self.partial_bytes -= stream.length;
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next message. `None`: `input` is used up.
    ///
    /// One message at a time, because the next byte may have to be read by what this message says.
    ///
    /// # Errors
    /// [`ChunkError`]; the connection cannot go on.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(header) = self.read_header(input) else { return Ok(None) };
                    self.begin_chunk(&header)?;
                }
                State::Payload { id, left } => {
                    let stream = self.streams.entry(id).or_default();
                    let partial = stream.partial.get_or_insert_default();
                    let early = left.min(self.stash.length);
                    partial.extend_from_slice(&self.stash.as_slice()[..early]);
                    self.stash.consume(early);
                    let (taken, rest) = input.split_at((left - early).min(input.len()));
                    partial.extend_from_slice(taken);
                    *input = rest;
                    let left = left - early - taken.len();
                    self.state = State::Payload { id, left };
                    if left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    if partial.len() < stream.length {
                        continue;
                    }
                    let data = stream.partial.take().unwrap_or_default();
                    self.partial_bytes -= stream.length;
                    return Ok(Some(Message {
                        timestamp: stream.timestamp,
                        type_id: stream.type_id,
                        stream_id: stream.stream_id,
                        data: data.freeze(),
                    }));
                }
            }
        }
    }

    /// The next header, once it is whole.
    fn read_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        loop {
            match self.parse_header(self.stash.as_slice()) {
                Ok(header) => {
                    self.stash.consume(header.used);
                    return Some(header);
                }
                Err(_) if input.is_empty() => return None,
                Err(wanted) => self.stash.fill(wanted, input),
            }
        }
    }

    /// Reads a header from the front of `bytes`, or says how many bytes it needs.
    fn parse_header(&self, bytes: &[u8]) -> Result<Header, usize> {
        // Section 5.3.1.1: ids 0 and 1 announce one or two further bytes.
        let &[first, ..] = bytes else { return Err(1) };
        let (id, basic) = match (first & 0x3f, bytes) {
            (0, [_, low, ..]) => (64 + u32::from(*low), 2),
            (0, _) => return Err(2),
            (1, [_, low, high, ..]) => (64 + u32::from(*low) + (u32::from(*high) << 8), 3),
            (1, _) => return Err(3),
            (id, _) => (u32::from(id), 1),
        };
        let header_type = first >> 6;
        let length = [11, 7, 3, 0][usize::from(header_type)];
        let Some(rest) = bytes.get(basic..basic + length) else { return Err(basic + length) };
        let u24 = |at: usize| -> Option<u32> {
            let field = rest.get(at..at + 3)?;
            Some(u32::from_be_bytes([0, field[0], field[1], field[2]]))
        };
        let mut header = Header {
            id,
            header_type,
            used: basic + length,
            timestamp: u24(0),
            length: u24(3).map(|length| length as usize),
            type_id: rest.get(6).copied(),
            stream_id: rest.get(7..11).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])),
            extended: None,
        };
        let known = self.streams.get(&id);
        let extended = match header.timestamp {
            Some(field) => field == EXTENDED,
            None => known.is_some_and(|stream| stream.extended),
        };
        if !extended {
            return Ok(header);
        }
        let Some(field) = bytes.get(header.used..header.used + 4) else { return Err(header.used + 4) };
        let field = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        // Some encoders do not repeat the extended timestamp in type 3 headers, against section 5.3.1.3: if
        // it is not the same as before, it is payload.
        if header_type < 3 || known.is_some_and(|stream| stream.field == field) {
            header.extended = Some(field);
            header.used += 4;
        }
        Ok(header)
    }

    fn begin_chunk(&mut self, header: &Header) -> Result<(), ChunkError> {
        let id = header.id;
        if !self.streams.contains_key(&id) {
            // Type 1 may begin a chunk stream: librtmp's ping does.
            if header.header_type > 1 {
                return Err(ChunkError::NoHeaderBefore { id, header_type: header.header_type });
            }
            if self.streams.len() == CHUNK_STREAMS_MAX {
                return Err(ChunkError::TooManyStreams);
            }
        }
        let stream = self.streams.entry(id).or_default();
        if stream.partial.is_none() {
            if let Some(field) = header.timestamp {
                stream.extended = field == EXTENDED;
                stream.field = header.extended.unwrap_or(field);
            }
            stream.timestamp = match header.header_type {
                0 => stream.field,
                _ => stream.timestamp.wrapping_add(stream.field),
            };
            stream.length = header.length.unwrap_or(stream.length);
            stream.type_id = header.type_id.unwrap_or(stream.type_id);
            stream.stream_id = header.stream_id.unwrap_or(stream.stream_id);
            if stream.length > self.message_bytes_max {
                let limit = self.message_bytes_max;
                return Err(ChunkError::MessageTooLong { length: stream.length, limit });
            }
            if self.partial_bytes + stream.length > PARTIAL_BYTES_MAX {
                return Err(ChunkError::PartialTooLong);
            }
            self.partial_bytes += stream.length;
            stream.partial = Some(BytesMut::with_capacity(stream.length));
        } else if header.header_type != 3 {
            return Err(ChunkError::Unfinished { id });
        }
        let got = stream.partial.as_ref().map_or(0, BytesMut::len);
        let left = self.chunk_size.min(stream.length - got);
        self.state = State::Payload { id, left };
        Ok(())
    }
}

impl Stash {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Moves bytes from `input` until there are `wanted`.
    fn fill(&mut self, wanted: usize, input: &mut &[u8]) {
        let missing = wanted.min(HEADER_BYTES_MAX).saturating_sub(self.length).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.bytes[self.length..self.length + missing].copy_from_slice(taken);
        self.length += missing;
        *input = rest;
    }

    fn consume(&mut self, used: usize) {
        self.bytes.copy_within(used..self.length, 0);
        self.length -= used;
    }
}

#[cfg(test)]
mod tests {
    use rml_rtmp::chunk_io::ChunkSerializer;
    use rml_rtmp::messages::MessagePayload;
    use rml_rtmp::time::RtmpTimestamp;

    use super::super::ChunkWriter;
    use super::*;

    fn message(timestamp: u32, type_id: u8, stream_id: u32, length: usize) -> Message {
        let data = (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
        Message { timestamp, type_id, stream_id, data }
    }

    /// Reads all of `bytes`, `step` at a time.
    fn read_all(reader: &mut ChunkReader, bytes: &[u8], step: usize) -> Result<Vec<Message>, ChunkError> {
        let mut messages = Vec::new();
        for mut input in bytes.chunks(step) {
            while let Some(message) = reader.read(&mut input)? {
                if let (1, Some(size)) = (message.type_id, message.data.first_chunk()) {
                    reader.set_chunk_size(u32::from_be_bytes(*size))?;
                }
                messages.push(message);
            }
            assert!(input.is_empty(), "all input is used");
        }
        Ok(messages)
    }

    fn type0(id: u8, timestamp: u32, length: usize, type_id: u8) -> Vec<u8> {
        let mut bytes = vec![id];
        bytes.extend(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
        bytes.extend(&(length as u32).to_be_bytes()[1..]);
        bytes.push(type_id);
        bytes.extend(1u32.to_le_bytes());
        if timestamp >= EXTENDED {
            bytes.extend(timestamp.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn reads_what_both_writers_write_in_any_cut() {
        let messages = [
            message(0, 20, 0, 300),
            message(5, 9, 1, 1000),
            message(5, 8, 1, 1),
            message(0xff_ffff, 9, 1, 129),
            message(0xffff_fff0, 9, 1, 500),
        ];
        let mut ours = ChunkWriter::new();
        let mut rml = ChunkSerializer::new();
        let mut from_rml = Vec::new();
        for message in &messages {
            ours.write(message);
            let payload = MessagePayload {
                timestamp: RtmpTimestamp::new(message.timestamp),
                type_id: message.type_id,
                message_stream_id: message.stream_id,
                data: message.data.clone(),
            };
            from_rml.extend(rml.serialize(&payload, false, false).unwrap().bytes);
        }
        let from_us = ours.take();
        for step in [1, 2, 3, 7, 64, 4096] {
            for bytes in [&from_us[..], &from_rml[..]] {
                let got = read_all(&mut ChunkReader::new(), bytes, step).unwrap();
                assert!(got == messages, "step {step}");
            }
        }
    }

    /// The input that makes the chunk reader of `rml_rtmp` 0.8 panic: a short message between the chunks
    /// of a long one.
    #[test]
    fn audio_between_the_chunks_of_a_video_message_is_legal() {
        let video = message(40, 9, 1, 300);
        let audio = message(41, 8, 1, 50);
        let mut bytes = type0(6, 40, 300, 9);
        bytes.extend(&video.data[..128]);
        bytes.extend(type0(4, 41, 50, 8));
        bytes.extend(&audio.data);
        bytes.push(0xc6);
        bytes.extend(&video.data[128..256]);
        bytes.push(0xc6);
        bytes.extend(&video.data[256..]);
        for step in [1, 5, 1000] {
            let got = read_all(&mut ChunkReader::new(), &bytes, step).unwrap();
            assert_eq!(got, [audio.clone(), video.clone()]);
        }
    }

    #[test]
    fn headers_say_only_what_changed() {
        let mut bytes = type0(4, 1000, 1, 8);
        bytes.push(1);
        // Type 1: delta 20, new length, new type. Type 2: delta 30. Type 3: the last delta again.
        bytes.extend([0x44, 0, 0, 20, 0, 0, 2, 9, 2, 2]);
        bytes.extend([0x84, 0, 0, 30, 3, 3]);
        bytes.extend([0xc4, 4, 4]);
        let got = read_all(&mut ChunkReader::new(), &bytes, 1).unwrap();
        let seen: Vec<_> = got.iter().map(|m| (m.timestamp, m.type_id, m.data.len())).collect();
        assert_eq!(seen, [(1000, 8, 1), (1020, 9, 2), (1050, 9, 2), (1080, 9, 2)]);
    }

    #[test]
    fn an_empty_message_is_a_message() {
        let mut writer = ChunkWriter::new();
        let empty = message(5, 8, 1, 0);
        writer.write(&empty);
        assert_eq!(read_all(&mut ChunkReader::new(), &writer.take(), 5).unwrap(), [empty]);
    }

    #[test]
    fn chunk_stream_ids_take_one_to_three_bytes() {
        for (basic, name) in [(vec![3u8], "one byte"), (vec![0, 200], "two bytes"), (vec![1, 7, 9], "three")]
        {
            let mut bytes = basic;
            bytes.extend(&type0(0, 7, 1, 8)[1..]);
            bytes.push(5);
            let got = read_all(&mut ChunkReader::new(), &bytes, 1).unwrap();
            assert_eq!(got.len(), 1, "{name}");
        }
    }

    /// With and without the extended timestamp repeated in front of every further chunk.
    #[test]
    fn extended_timestamps_may_or_may_not_be_repeated() {
        for repeated in [true, false] {
            let whole = message(0x0100_0000, 9, 1, 300);
            let mut bytes = type0(6, whole.timestamp, 300, 9);
            for (i, part) in whole.data.chunks(128).enumerate() {
                if i > 0 {
                    bytes.push(0xc6);
                    if repeated {
                        bytes.extend(whole.timestamp.to_be_bytes());
                    }
                }
                bytes.extend(part);
            }
            // One more, so that a wrong byte count would show.
            bytes.extend(type0(6, 5, 1, 9));
            bytes.push(1);
            for step in [1, 3, 1000] {
                let got = read_all(&mut ChunkReader::new(), &bytes, step).unwrap();
                assert_eq!(got.len(), 2, "repeated: {repeated}, step {step}");
                assert_eq!(got[0], whole);
            }
        }
    }

    #[test]
    fn chunk_size_changes_between_messages_and_abort_forgets() {
        let mut bytes = type0(2, 0, 4, 1);
        bytes.extend(4096u32.to_be_bytes());
        bytes.extend(type0(6, 0, 1000, 9));
        bytes.extend([7; 1000]);
        assert_eq!(read_all(&mut ChunkReader::new(), &bytes, 11).unwrap().len(), 2);

        let mut reader = ChunkReader::new();
        let mut begun = type0(6, 0, 300, 9);
        begun.extend([7; 128]);
        assert_eq!(read_all(&mut reader, &begun, 64).unwrap(), []);
        reader.abort(6);
        assert_eq!(reader.partial_bytes, 0);
        let mut next = type0(6, 9, 2, 9);
        next.extend([1, 2]);
        assert_eq!(read_all(&mut reader, &next, 64).unwrap().len(), 1);
    }

    #[test]
    fn limits_end_the_connection() {
        let stranger = type0(6, 0, MESSAGE_BYTES_MAX_STRANGER + 1, 9);
        assert!(matches!(
            read_all(&mut ChunkReader::new(), &stranger, 64),
            Err(ChunkError::MessageTooLong { .. })
        ));
        let mut reader = ChunkReader::new();
        reader.trust();
        let mut two = type0(6, 0, MESSAGE_BYTES_MAX, 9);
        two.extend([0; 128]);
        two.extend(type0(7, 0, MESSAGE_BYTES_MAX, 9));
        assert_eq!(read_all(&mut reader, &two, 64), Err(ChunkError::PartialTooLong));

        let mut many = Vec::new();
        for id in 0..=CHUNK_STREAMS_MAX as u8 {
            many.push(0);
            many.push(id);
            many.extend(&type0(0, 0, 1, 8)[1..]);
            many.push(0);
        }
        assert_eq!(read_all(&mut ChunkReader::new(), &many, 64), Err(ChunkError::TooManyStreams));
        assert!(matches!(
            read_all(&mut ChunkReader::new(), &[0xc6], 1),
            Err(ChunkError::NoHeaderBefore { id: 6, header_type: 3 })
        ));
        let mut cut = type0(6, 0, 300, 9);
        cut.extend([0; 128]);
        cut.extend(type0(6, 0, 300, 9));
        assert_eq!(read_all(&mut ChunkReader::new(), &cut, 64), Err(ChunkError::Unfinished { id: 6 }));
        let zero = [&type0(2, 0, 4, 1)[..], &[0; 4]].concat();
        assert_eq!(read_all(&mut ChunkReader::new(), &zero, 64), Err(ChunkError::ChunkSize));
    }

    /// Mutated and random streams: any outcome but a panic, a hang or unbounded memory.
    #[test]
    fn mutations_never_panic() {
        let mut writer = ChunkWriter::new();
        for i in 0..20u32 {
            writer.write(&message(i * 33, [8, 9, 18, 20][i as usize % 4], 1, (i as usize * 97) % 700));
        }
        let good = writer.take();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..3000 {
            let mut bytes = good.to_vec();
            for _ in 0..1 + random() % 8 {
                let at = random() as usize % bytes.len();
                match random() % 3 {
                    0 => bytes[at] = random() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random() as u8),
                }
            }
            let mut reader = ChunkReader::new();
            reader.trust();
            let _ = read_all(&mut reader, &bytes, 1 + random() as usize % 200);
            assert!(reader.partial_bytes <= PARTIAL_BYTES_MAX);
        }
    }
}
