//! One encoding of a Track: two faces, the readers of each, and what they ask for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::reordering::ReorderingMonitor;
use crate::ring::{FaceItem, Ring};
use crate::rtp::{Depacketizer, Packetizer, Reorder};
use crate::{Codec, Frame, Reordering, Rid, RtpPacket};

/// What is known about a Layer, for choosing among several and for the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerInfo {
    /// Width and height in pixels, once a keyframe told.
    pub size: Option<(u32, u32)>,
    /// The `codecs` string (RFC 6381), once known.
    pub codecs: Option<String>,
    /// Whether the encoder reorders frames, and what can be done about it for WebRTC.
    pub reordering: Reordering,
    /// Keyframes seen, frames or packets seen, payload bytes seen.
    pub keyframes: u64,
    /// Items of the written face (frames, or packets of a WebRTC source).
    pub items: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Frames whose timestamp stepped back and was clamped.
    pub clamped: u64,
    /// Microseconds between the last two keyframes.
    pub keyframe_interval_micros: Option<i64>,
}

/// One encoding of a video Track, or the only one of an audio Track.
#[derive(Debug)]
pub struct Layer {
    rid: Rid,
    codec: Codec,
    state: Mutex<LayerState>,
    /// Wakes the writer when demand changes. Shared by all Layers of the Track.
    writer: Arc<Mutex<Option<Waker>>>,
}

/// Which face the writer fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    Nothing,
    Frames,
    Packets,
}

/// Behind the Layer's lock. Held for one item, never across a wake-up.
#[derive(Debug)]
pub struct LayerState {
    pub(crate) packets: Ring<RtpPacket>,
    pub(crate) frames: Ring<Frame>,
    written: Written,
    packetizer: Option<Packetizer>,
    depacketizer: Option<Depacketizer>,
    reorder: Reorder,
    monitor: ReorderingMonitor,
    info: LayerInfo,
    last_dts: Option<i64>,
    last_keyframe: Option<i64>,
    keyframe_wanted: bool,
    wanted_told: bool,
    ended: bool,
    wakers: Vec<(u64, Waker)>,
    next_reader: u64,
    /// Reused for conversions, so that a packet costs no allocation of a list.
    packet_scratch: Vec<RtpPacket>,
    frame_scratch: Vec<Frame>,
}

impl Layer {
    pub(crate) fn new(rid: Rid, codec: Codec, writer: Arc<Mutex<Option<Waker>>>) -> Self {
        Self {
            rid,
            codec,
            writer,
            state: Mutex::new(LayerState {
                packets: Ring::new(),
                frames: Ring::new(),
                written: Written::Nothing,
                packetizer: Packetizer::for_codec(codec),
                depacketizer: None,
                reorder: Reorder::default(),
                monitor: ReorderingMonitor::default(),
                info: LayerInfo::default(),
                last_dts: None,
                last_keyframe: None,
                keyframe_wanted: false,
                wanted_told: false,
                ended: false,
                wakers: Vec::new(),
                next_reader: 0,
                packet_scratch: Vec::new(),
                frame_scratch: Vec::new(),
            }),
        }
    }

    /// Its name.
    pub fn rid(&self) -> &Rid {
        &self.rid
    }

    /// A copy of what is known about it.
    pub fn info(&self) -> LayerInfo {
        self.lock().info.clone()
    }

    /// Whether and how its frames are reordered.
    pub fn reordering(&self) -> Reordering {
        self.lock().info.reordering
    }

    /// Asks the writer for a keyframe. Requests are coalesced until the writer took one.
    pub fn request_keyframe(&self) {
        self.lock().keyframe_wanted = true;
        self.wake_writer();
    }

    /// How many readers both faces have.
    pub fn readers(&self) -> usize {
        self.lock().readers()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LayerState> {
        // A panic while the lock is held leaves at worst a half-converted frame; readers go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_writer(&self) {
        let waker = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn write_frame(&self, frame: Frame) {
        let mut state = self.lock();
        state.write_frame(frame);
        state.release_and_wake();
    }

    pub(crate) fn write_rtp(&self, packet: RtpPacket) {
        let mut state = self.lock();
        state.write_packet(packet);
        state.release_and_wake();
    }

    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.release_and_wake();
    }

    /// Registers a reader of face `T` and says its id and first position. The first reader of the face
    /// that is not written gets the cached GOP, converted on the spot.
    pub(crate) fn attach<T: FaceItem>(&self) -> (u64, u64) {
        let (id, position) = {
            let mut state = self.lock();
            let first_of_face = T::face(&state).readers == 0;
            T::face_mut(&mut state).readers += 1;
            if first_of_face {
                state.convert_cached(self.codec);
            }
            state.next_reader += 1;
            (state.next_reader, T::face(&state).start())
        };
        self.wake_writer();
        (id, position)
    }

    pub(crate) fn detach<T: FaceItem>(&self, id: u64) {
        let mut state = self.lock();
        let face = T::face_mut(&mut state);
        face.readers -= 1;
        let unread = face.readers == 0;
        state.wakers.retain(|(reader, _)| *reader != id);
        if unread {
            state.forget_converted();
        }
        drop(state);
        self.wake_writer();
    }
}

/// Wakes after unlocking: a woken reader takes this very lock.
trait ReleaseAndWake {
    fn release_and_wake(self);
}

impl ReleaseAndWake for MutexGuard<'_, LayerState> {
    fn release_and_wake(mut self) {
        // A Layer has a handful of readers (shards, packager, transcoder); the list is theirs to refill.
        let mut wakers = std::mem::take(&mut self.wakers);
        drop(self);
        for (_, waker) in wakers.drain(..) {
            waker.wake();
        }
    }
}

impl LayerState {
    fn readers(&self) -> usize {
        self.packets.readers + self.frames.readers
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn register(&mut self, reader: u64, waker: &Waker) {
        match self.wakers.iter_mut().find(|(id, _)| *id == reader) {
            Some((_, known)) => known.clone_from(waker),
            None => self.wakers.push((reader, waker.clone())),
        }
    }

    /// The next thing to tell the writer, if any.
    pub(crate) fn take_demand(&mut self) -> Option<LayerDemand> {
        let wanted = self.readers() > 0;
        if wanted != self.wanted_told {
            self.wanted_told = wanted;
            return Some(LayerDemand::Wanted(wanted));
        }
        std::mem::take(&mut self.keyframe_wanted).then_some(LayerDemand::Keyframe)
    }

    fn write_frame(&mut self, mut frame: Frame) {
        self.written = Written::Frames;
        if let Some(last) = self.last_dts
            && frame.dts.ticks() <= last
        {
            // A decoder time that steps back breaks fMP4 and every player; a clamped one is only a glitch.
            let step = last + 1 - frame.dts.ticks();
            frame.dts = frame.dts.offset(step);
            frame.pts = frame.pts.offset(step);
            self.info.clamped += 1;
        }
        self.last_dts = Some(frame.dts.ticks());
        self.note_frame(&frame);
        let reorders = self.monitor.on_frame(&frame);
        self.info.reordering = self.monitor.reordering();
        if self.packets.readers > 0
            && let Some(packetizer) = &mut self.packetizer
        {
            packetizer.packetize(&frame, reorders, &mut self.packet_scratch);
            for packet in self.packet_scratch.drain(..) {
                self.packets.push(packet);
            }
        }
        self.frames.push(frame);
    }

    fn write_packet(&mut self, packet: RtpPacket) {
        self.written = Written::Packets;
        self.info.items += 1;
        self.info.bytes += packet.payload.len() as u64;
        if self.frames.readers > 0
            && let Some(depacketizer) = &mut self.depacketizer
        {
            self.reorder.push(packet.clone());
            while let Some(next) = self.reorder.pop(packet.arrival) {
                depacketizer.depacketize(&next, &mut self.frame_scratch);
            }
            self.push_depacketized();
        }
        if packet.starts_keyframe && self.frames.readers == 0 {
            self.note_keyframe(packet.time.as_micros());
        }
        self.packets.push(packet);
    }

    fn push_depacketized(&mut self) {
        for mut frame in std::mem::take(&mut self.frame_scratch) {
            if let Some(last) = self.last_dts
                && frame.dts.ticks() <= last
            {
                let step = last + 1 - frame.dts.ticks();
                frame.dts = frame.dts.offset(step);
                frame.pts = frame.pts.offset(step);
                self.info.clamped += 1;
            }
            self.last_dts = Some(frame.dts.ticks());
            if frame.keyframe {
                self.note_keyframe(frame.pts.as_micros());
                self.info.size = frame.config.size();
                self.info.codecs = Some(frame.config.rfc6381());
            }
            self.frames.push(frame);
        }
    }

    fn note_frame(&mut self, frame: &Frame) {
        self.info.items += 1;
        self.info.bytes += frame.data.len() as u64;
        if frame.keyframe && frame.config.codec().kind() == crate::Kind::Video {
            self.note_keyframe(frame.pts.as_micros());
        }
        if frame.keyframe && self.info.codecs.is_none() {
            self.info.codecs = Some(frame.config.rfc6381());
        }
        if frame.keyframe {
            self.info.size = frame.config.size();
        }
    }

    fn note_keyframe(&mut self, at: i64) {
        self.info.keyframes += 1;
        if let Some(last) = self.last_keyframe.replace(at) {
            self.info.keyframe_interval_micros = Some(at - last);
        }
    }

    /// Fills the face that is not written from the cache of the one that is.
    fn convert_cached(&mut self, codec: Codec) {
        match self.written {
            Written::Frames if self.packets.readers > 0 => {
                let Some(packetizer) = &mut self.packetizer else { return };
                self.packets.clear();
                let mut monitor = ReorderingMonitor::default();
                for frame in self.frames.since_keyframe() {
                    let reorders = monitor.on_frame(frame);
                    packetizer.packetize(frame, reorders, &mut self.packet_scratch);
                }
                for packet in self.packet_scratch.drain(..) {
                    self.packets.push(packet);
                }
            }
            Written::Packets if self.frames.readers > 0 => {
                self.frames.clear();
                self.reorder = Reorder::default();
                self.depacketizer = Depacketizer::for_codec(codec);
                let Some(depacketizer) = &mut self.depacketizer else { return };
                for packet in self.packets.since_keyframe() {
                    self.reorder.push(packet.clone());
                    while let Some(next) = self.reorder.pop(packet.arrival) {
                        depacketizer.depacketize(&next, &mut self.frame_scratch);
                    }
                }
                self.push_depacketized();
            }
            // Nothing was written yet: be ready for either face.
            Written::Nothing => self.depacketizer = Depacketizer::for_codec(codec),
            Written::Frames | Written::Packets => {}
        }
    }

    /// Nobody reads the converted face: it would be stale for the next reader.
    fn forget_converted(&mut self) {
        match self.written {
            Written::Frames if self.packets.readers == 0 => self.packets.clear(),
            Written::Packets if self.frames.readers == 0 => {
                self.frames.clear();
                self.depacketizer = None;
                self.reorder = Reorder::default();
            }
            _ => {}
        }
    }
}

/// What a Layer has to tell its writer.
pub(crate) enum LayerDemand {
    Keyframe,
    Wanted(bool),
}
