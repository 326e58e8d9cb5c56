//! Entries of the fuzz targets in `tests/fuzz`: what an RTMP encoder may send.

#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;
#[path = "../../../tests/fuzz/script.rs"]
mod script;

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use media::{ChannelName, Frame, Hub, Kind, NtpTime, Rid, RtpPacket, Track};

use self::script::Script;
use super::chunk::{ChunkError, ChunkReader, Message};
use super::publication::Publication;
use super::session::{Event, Session};

/// Messages of one input that are compared between two ways of cutting it.
const MESSAGES_MAX: usize = 64;

/// A chunk stream after the handshake. Cut anywhere, it gives the same messages.
pub fn chunks(_start: Instant, data: &[u8]) {
    let whole = read_chunks(data, data.len().max(1));
    for step in [1, 7] {
        assert_eq!(read_chunks(data, step), whole, "in steps of {step}");
    }
}

type Chunks = (Vec<Message>, Option<ChunkError>);

fn read_chunks(data: &[u8], step: usize) -> Chunks {
    let mut reader = ChunkReader::new();
    let mut messages = Vec::new();
    for mut input in data.chunks(step) {
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) if messages.len() < MESSAGES_MAX => {
                    if let (1, Some(size)) = (message.type_id, message.data.first_chunk())
                        && let Err(error) = reader.set_chunk_size(u32::from_be_bytes(*size))
                    {
                        return (messages, Some(error));
                    }
                    if let (2, Some(id)) = (message.type_id, message.data.first_chunk()) {
                        reader.abort(u32::from_be_bytes(*id));
                    }
                    messages.push(message);
                }
                Ok(Some(_)) => return (messages, None),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.is_empty(), "all input is used");
    }
    (messages, None)
}

/// A whole connection: blocks behind their lengths, the first byte says whether the handshake comes first. Who
/// wants to publish may; its media goes to both faces of its Tracks.
pub fn connection(start: Instant, data: &[u8]) {
    let mut script = Script(data);
    let mut session = if script.byte() == Some(0) { Session::new() } else { Session::past_handshake() };
    let hub = Hub::new(Duration::from_secs(10));
    let mut publication: Option<Publication> = None;
    let mut faces = Faces::default();
    let mut now = start;
    while let Some(mut input) = script.block() {
        now += Duration::from_millis(10);
        loop {
            let Ok(event) = session.handle_input(&mut input) else { return };
            let Some(event) = event else { break };
            let taken = match (event, &mut publication) {
                (Event::Publish(_), publication) => {
                    *publication = begin(&hub, now);
                    session.accept().map(|()| None)
                }
                (Event::PlayRefused, _) => return,
                (Event::Unpublished, publication) => {
                    *publication = None;
                    Ok(None)
                }
                (Event::Metadata { frame_rate, .. }, Some(publication)) => {
                    publication.handle_metadata(frame_rate);
                    Ok(None)
                }
                (Event::Audio { timestamp, body }, Some(publication)) => {
                    publication.handle_audio(timestamp, body, now).map(Some)
                }
                (Event::Video { timestamp, body }, Some(publication)) => {
                    publication.handle_video(timestamp, body, now).map(Some)
                }
                (_, None) => Ok(None),
            };
            if taken.is_err() {
                return;
            }
            if let Some(publication) = &publication {
                faces.read(publication);
            }
            while session.poll_output().is_some() {}
        }
        while session.poll_output().is_some() {}
    }
}

/// Media messages of an encoder that was let in: for each two bytes, kind and milliseconds since the last one,
/// then its body behind a length.
pub fn flv(start: Instant, data: &[u8]) {
    let hub = Hub::new(Duration::from_secs(10));
    let Some(mut publication) = begin(&hub, start) else { return };
    let mut faces = Faces::default();
    let (mut script, mut timestamp) = (Script(data), 0_u32);
    while let (Some(kind), Some(step), Some(body)) = (script.byte(), script.byte(), script.block()) {
        timestamp = match step {
            255 => timestamp.wrapping_sub(u32::MAX / 3),
            254 => timestamp.wrapping_sub(100),
            step => timestamp.wrapping_add(step.into()),
        };
        let arrival = start + Duration::from_millis(timestamp.into());
        let body = bytes::Bytes::copy_from_slice(body);
        let taken = match kind & 1 {
            0 => publication.handle_video(timestamp, body, arrival),
            _ => publication.handle_audio(timestamp, body, arrival),
        };
        if taken.is_err() {
            return;
        }
        faces.read(&publication);
    }
}

fn begin(hub: &std::sync::Arc<Hub>, now: Instant) -> Option<Publication> {
    let channel = ChannelName::parse("ana").ok()?;
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    hub.publish(&channel, media::Publication::default(), now, wall).ok().map(Publication::new)
}

/// A reader of each face, so that every conversion runs.
#[derive(Default)]
struct Faces {
    readers: HashMap<usize, (media::TrackReader<Frame>, media::TrackReader<RtpPacket>)>,
}

impl Faces {
    fn read(&mut self, publication: &Publication) {
        let stream = publication.writer().stream();
        for track in [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| stream.source(kind)) {
            let key = std::sync::Arc::as_ptr(&track).addr();
            let (frames, packets) = self.readers.entry(key).or_insert_with(|| readers(&track));
            let mut cx = Context::from_waker(Waker::noop());
            let (mut some_frames, mut some_packets) = (Vec::new(), Vec::new());
            let _: Poll<()> = frames.poll_drain(&mut cx, &mut some_frames);
            let _: Poll<()> = packets.poll_drain(&mut cx, &mut some_packets);
            for pair in some_frames.windows(2) {
                let same = pair[0].epoch == pair[1].epoch;
                assert!(!same || pair[0].dts < pair[1].dts, "decode time stands still");
            }
        }
    }
}

fn readers(track: &std::sync::Arc<Track>) -> (media::TrackReader<Frame>, media::TrackReader<RtpPacket>) {
    (track.read(&Rid::single()), track.read(&Rid::single()))
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpora_are_replayed() {
        replay("rtmp_chunks", super::chunks);
        replay("rtmp_connection", super::connection);
        replay("flv", super::flv);
    }
}
