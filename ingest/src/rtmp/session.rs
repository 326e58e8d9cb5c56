//! One RTMP connection as a state machine: bytes in, events and bytes out. Sans-I/O.

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{MessagePayload, PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::rml_amf0::Amf0Value;
use rml_rtmp::time::RtmpTimestamp;

use super::chunk::{ChunkReader, ChunkWriter, Message};
use super::credentials::{self, Credentials};
use super::{amf, reply};
use crate::Error;

/// How much a peer may send before it waits for an acknowledgement, and how much before we want one.
const WINDOW_BYTES: u32 = 2_500_000;

/// Chunk size of what we send: our answers fit into one chunk.
const CHUNK_SIZE_OUT: u32 = 4096;

/// Message streams that one connection may create. Encoders create one, ffmpeg after a reconnect a second.
const MESSAGE_STREAMS_MAX: u32 = 16;

/// Longest text that an encoder may tell about itself.
const ENCODER_NAME_MAX: usize = 128;

/// What the peer wants or brings.
#[derive(Debug)]
pub(crate) enum Event {
    /// It wants to publish. Answer with [`Session::accept`] or [`Session::refuse`].
    Publish(Credentials),
    /// What it says about its media.
    Metadata { frame_rate: Option<f64>, encoder: Option<String> },
    /// An audio message.
    Audio { timestamp: u32, body: Bytes },
    /// A video message.
    Video { timestamp: u32, body: Bytes },
    /// It has stopped publishing; the connection may go on.
    Unpublished,
    /// It wants to play, which we do not serve. The answer is already written: flush and close.
    PlayRefused,
}

/// Why a publication is refused, as an encoder's status line shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    /// The name (the key) cannot be published.
    BadName,
    /// It could, but may not.
    Denied,
}

/// Reads what the peer sends and says what to answer.
pub(crate) struct Session {
    handshake: Option<Box<Handshake>>,
    reader: ChunkReader,
    writer: ChunkWriter,
    /// Bytes read, and how many of them we have acknowledged.
    received: u64,
    acknowledged: u64,
    window: u64,
    connected: bool,
    app: String,
    encoder: Option<String>,
    message_streams: u32,
    /// The message stream that publishes or wants to.
    publishing: Option<u32>,
    output: Vec<Bytes>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            handshake: Some(Box::new(Handshake::new(PeerType::Server))),
            reader: ChunkReader::new(),
            writer: ChunkWriter::new(),
            received: 0,
            acknowledged: 0,
            window: u64::from(WINDOW_BYTES),
            connected: false,
            app: String::new(),
            encoder: None,
            message_streams: 0,
            publishing: None,
            output: Vec::new(),
        }
    }

    /// As after the handshake.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn past_handshake() -> Self {
        Self { handshake: None, ..Self::new() }
    }

    /// Takes bytes from the front of `input` up to the next event; `None` when they are used up. The answer
    /// to one event may decide how the next bytes are read.
    ///
    /// # Errors
    /// The connection cannot go on. [`Error::Unsupported`] has a text for the streamer.
    pub(crate) fn handle_input(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        if self.handshake.is_some() {
            self.shake_hands(input)?;
        }
        loop {
            let before = input.len();
            let message = self.reader.read(input)?;
            self.received += (before - input.len()) as u64;
            let Some(message) = message else {
                self.acknowledge()?;
                return Ok(None);
            };
            if let Some(event) = self.handle_message(message)? {
                return Ok(Some(event));
            }
        }
    }

    /// The next bytes to send.
    pub(crate) fn poll_output(&mut self) -> Option<Bytes> {
        if !self.output.is_empty() {
            return Some(self.output.remove(0));
        }
        Some(self.writer.take()).filter(|bytes| !bytes.is_empty())
    }

    /// What the peer calls itself.
    pub(crate) fn encoder(&self) -> Option<&str> {
        self.encoder.as_deref()
    }

    /// The peer may publish.
    pub(crate) fn accept(&mut self) -> Result<(), Error> {
        let stream = self.publishing.unwrap_or_default();
        self.reader.trust();
        self.send(
            RtmpMessage::UserControl {
                event_type: UserControlEventType::StreamBegin,
                stream_id: Some(stream),
                buffer_length: None,
                timestamp: None,
            },
            0,
        )?;
        self.send(reply::status("status", "NetStream.Publish.Start", "Publishing"), stream)
    }

    /// The peer may not publish, or not go on: `description` says why and what to do. Flush, then close.
    pub(crate) fn refuse(&mut self, code: Code, description: &str) -> Result<(), Error> {
        let stream = self.publishing.take().unwrap_or_default();
        let code = match code {
            Code::BadName => "NetStream.Publish.BadName",
            Code::Denied => "NetStream.Publish.Denied",
        };
        self.send(reply::status("error", code, description), stream)
    }

    fn shake_hands(&mut self, input: &mut &[u8]) -> Result<(), Error> {
        let Some(handshake) = &mut self.handshake else { return Ok(()) };
        let (response, rest) = match handshake.process_bytes(input) {
            Ok(HandshakeProcessResult::InProgress { response_bytes }) => (response_bytes, 0),
            Ok(HandshakeProcessResult::Completed { response_bytes, remaining_bytes }) => {
                self.handshake = None;
                (response_bytes, remaining_bytes.len())
            }
            Err(error) => return Err(Error::Handshake(error.to_string())),
        };
        if !response.is_empty() {
            self.output.push(response.into());
        }
        // What it did not need is the tail of what we just gave it.
        let used = input.len().saturating_sub(rest);
        self.received += used as u64;
        *input = &input[used..];
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<Option<Event>, Error> {
        let Message { timestamp, type_id, stream_id, data } = message;
        match type_id {
            1..=6 => self.handle_control(type_id, stream_id, data).map(|()| None),
            8 => Ok(Some(Event::Audio { timestamp, body: data })),
            9 => Ok(Some(Event::Video { timestamp, body: data })),
            15 | 18 => Ok(metadata(without_amf3_prefix(type_id == 15, &data))),
            17 | 20 => self.handle_command(stream_id, without_amf3_prefix(type_id == 17, &data)),
            // Shared objects, aggregates: nothing that an encoder of today sends.
            _ => Ok(None),
        }
    }

    /// Protocol control (section 5.4) and user control (6.2).
    fn handle_control(&mut self, type_id: u8, stream_id: u32, data: Bytes) -> Result<(), Error> {
        let payload =
            MessagePayload { timestamp: RtmpTimestamp::new(0), type_id, message_stream_id: stream_id, data };
        // A malformed one says nothing; the bytes around it are still in step.
        let Ok(message) = payload.to_rtmp_message() else { return Ok(()) };
        match message {
            RtmpMessage::SetChunkSize { size } => self.reader.set_chunk_size(size)?,
            RtmpMessage::Abort { stream_id } => self.reader.abort(stream_id),
            RtmpMessage::WindowAcknowledgement { size } => self.window = u64::from(size.max(1)),
            RtmpMessage::UserControl { event_type: UserControlEventType::PingRequest, timestamp, .. } => self
                .send(
                    RtmpMessage::UserControl {
                        event_type: UserControlEventType::PingResponse,
                        stream_id: None,
                        buffer_length: None,
                        timestamp,
                    },
                    0,
                )?,
            _ => {}
        }
        Ok(())
    }

    fn handle_command(&mut self, stream_id: u32, body: &[u8]) -> Result<Option<Event>, Error> {
        let values = amf::read_all(body)?;
        let broken = |why| Error::Message { what: "command", why };
        let name = values.first().and_then(amf::string).ok_or(broken("it has no name"))?;
        let transaction = values.get(1).and_then(amf::number).unwrap_or(0.0);
        let argument = |at: usize| values.get(at).and_then(amf::string).unwrap_or_default();
        if !self.connected && name != "connect" {
            return Err(broken("it came before connect"));
        }
        match name {
            "connect" => {
                self.handle_connect(transaction, values.get(2).unwrap_or(&Amf0Value::Null))?;
                Ok(None)
            }
            "createStream" => {
                if self.message_streams == MESSAGE_STREAMS_MAX {
                    return Err(broken("too many message streams"));
                }
                self.message_streams += 1;
                let id = Amf0Value::Number(f64::from(self.message_streams));
                self.send(reply::result(transaction, Amf0Value::Null, id), 0)?;
                Ok(None)
            }
            "getStreamLength" => {
                let length = Amf0Value::Number(0.0);
                self.send(reply::result(transaction, Amf0Value::Null, length), 0)?;
                Ok(None)
            }
            // Asked by Adobe's encoder and its many imitators; the answer only has to come.
            "releaseStream" | "FCPublish" | "_checkbw" => {
                self.send(reply::result(transaction, Amf0Value::Null, Amf0Value::Undefined), 0)?;
                Ok(None)
            }
            "publish" => {
                if self.publishing.is_some() {
                    return Err(broken("publish while publishing"));
                }
                self.publishing = Some(stream_id);
                credentials::parse(&self.app, argument(3)).map(|wanted| Some(Event::Publish(wanted)))
            }
            "FCUnpublish" => {
                self.send(reply::result(transaction, Amf0Value::Null, Amf0Value::Undefined), 0)?;
                Ok(self.publishing.take().map(|_| Event::Unpublished))
            }
            "deleteStream" => {
                let id = values.get(3).and_then(amf::number);
                let ours = self.publishing.is_some_and(|publishing| id == Some(f64::from(publishing)));
                Ok(if ours { self.publishing.take().map(|_| Event::Unpublished) } else { None })
            }
            "closeStream" => Ok((self.publishing == Some(stream_id))
                .then(|| self.publishing.take())
                .flatten()
                .map(|_| Event::Unpublished)),
            "play" | "play2" => {
                let text =
                    "This server takes streams by RTMP but does not play them: open the channel's page";
                self.send(reply::status("error", "NetStream.Play.Failed", text), stream_id)?;
                Ok(Some(Event::PlayRefused))
            }
            _ => Ok(None),
        }
    }

    fn handle_connect(&mut self, transaction: f64, parameters: &Amf0Value) -> Result<(), Error> {
        let text = |name| amf::property(parameters, name).and_then(amf::string).unwrap_or_default();
        self.app = text("app").to_owned();
        // Some encoders put the query into the URL only.
        if let (false, Some((_, query))) = (self.app.contains('?'), text("tcUrl").split_once('?')) {
            self.app = format!("{}?{query}", self.app);
        }
        self.note_encoder(text("flashVer"));
        self.connected = true;
        self.send(RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES }, 0)?;
        let limit_type = PeerBandwidthLimitType::Dynamic;
        self.send(RtmpMessage::SetPeerBandwidth { size: WINDOW_BYTES, limit_type }, 0)?;
        self.send(RtmpMessage::SetChunkSize { size: CHUNK_SIZE_OUT }, 0)?;
        self.writer.set_chunk_size(CHUNK_SIZE_OUT as usize);
        self.send(reply::connected(transaction), 0)
    }

    fn note_encoder(&mut self, name: &str) {
        let name: String = name.chars().filter(|c| !c.is_control()).take(ENCODER_NAME_MAX).collect();
        self.encoder = Some(name).filter(|name| !name.is_empty());
    }

    /// Section 5.4.3: after each window; the number is modulo 2^32.
    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.received - self.acknowledged < self.window {
            return Ok(());
        }
        self.acknowledged = self.received;
        self.send(RtmpMessage::Acknowledgement { sequence_number: self.received as u32 }, 0)
    }

    fn send(&mut self, message: RtmpMessage, stream_id: u32) -> Result<(), Error> {
        let payload = message
            .into_message_payload(RtmpTimestamp::new(0), stream_id)
            .map_err(|_| Error::Message { what: "answer", why: "cannot be written" })?;
        self.writer.write(&Message { timestamp: 0, type_id: payload.type_id, stream_id, data: payload.data });
        Ok(())
    }
}

/// Messages of types 15 and 17 are AMF3 by name; what encoders send is a zero byte and AMF0.
fn without_amf3_prefix(amf3: bool, data: &[u8]) -> &[u8] {
    match data {
        [0, rest @ ..] if amf3 => rest,
        _ => data,
    }
}

/// `onMetaData`, bare or inside `@setDataFrame`. Anything else, malformed metadata too, is not worth a
/// connection.
fn metadata(body: &[u8]) -> Option<Event> {
    let values = amf::read_all(body).ok()?;
    let skipped = usize::from(amf::string(values.first()?) == Some("@setDataFrame"));
    let [name, properties, ..] = values.get(skipped..)? else { return None };
    if amf::string(name) != Some("onMetaData") {
        return None;
    }
    let first = |names: [&str; 2]| names.iter().find_map(|name| amf::property(properties, name));
    let encoder = first(["encoder", "videoencoder"]).and_then(amf::string);
    Some(Event::Metadata {
        frame_rate: first(["framerate", "fps"]).and_then(amf::number),
        encoder: encoder
            .map(|name| name.chars().filter(|c| !c.is_control()).take(ENCODER_NAME_MAX).collect()),
    })
}

#[cfg(test)]
mod tests;
