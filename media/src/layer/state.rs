//! What lies behind a Layer's lock: its two faces, and how one becomes the other.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::reordering::{Observation, ReorderingMonitor};
use crate::ring::{Face, FaceItem, Ring};
use crate::rtp::depacketizer::Losses;
use crate::rtp::inspector::Announced;
use crate::rtp::reorder::ReorderStats;
use crate::rtp::{Depacketizer, Packetizer, Reorder};
use crate::{Codec, CodecConfig, Frame, Kind, RtpPacket};

use super::LayerInfo;
use super::rate::RateMeter;

/// Behind the Layer's lock. Held for one item, never across a wake-up.
#[derive(Debug)]
pub struct LayerState {
    pub(crate) packets: Ring<RtpPacket>,
    pub(crate) frames: Ring<Frame>,
    codec: Codec,
    /// The face that the writer fills; `None` before the first item.
    written: Option<Face>,
    packetizer: Option<Packetizer>,
    depacketizer: Option<Depacketizer>,
    reorder: Reorder,
    monitor: ReorderingMonitor,
    rate: RateMeter,
    pub(super) info: LayerInfo,
    /// The publication that writes. Items of an older one come too late.
    epoch: u32,
    /// The sequence number after the last one of the packet face.
    next_seq: u64,
    /// Decoding time of the last frame on the frame face.
    last_dts: Option<i64>,
    last_keyframe: Option<i64>,
    /// What `info` describes.
    told: Option<Arc<CodecConfig>>,
    /// A keyframe is coming in that has not said yet what the stream is.
    listening: bool,
    /// What it said about reordering.
    reorder_frames: Option<u32>,
    /// Of the newest frame of the packet face: its first number, and whether it is shown before an earlier one.
    newest_frame: Option<(u64, bool)>,
    keyframe_wanted: bool,
    wanted_told: bool,
    ended: bool,
    /// One slot per reader; the waker is there while the reader waits.
    wakers: Vec<(u64, Option<Waker>)>,
    next_reader: u64,
    /// Reused for conversions, so that a packet costs no allocation of a list.
    packet_scratch: Vec<RtpPacket>,
    frame_scratch: Vec<Frame>,
}

/// What a Layer has to tell its writer.
pub(crate) enum LayerDemand {
    Keyframe,
    Wanted(bool),
}

/// Where a new reader stands.
pub(crate) struct Attached {
    pub(crate) reader: u64,
    pub(crate) position: u64,
}

/// Wakers taken out under one lock. A Layer has a handful of readers (shards, packager, transcoder); more
/// are woken in several rounds.
pub(super) const WAKE_AT_ONCE: usize = 8;

impl LayerState {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            packets: Ring::new(),
            frames: Ring::new(),
            codec,
            written: None,
            packetizer: Packetizer::for_codec(codec),
            depacketizer: None,
            reorder: Reorder::default(),
            monitor: ReorderingMonitor::default(),
            rate: RateMeter::default(),
            info: LayerInfo::default(),
            epoch: 0,
            next_seq: 0,
            last_dts: None,
            last_keyframe: None,
            told: None,
            listening: false,
            reorder_frames: None,
            newest_frame: None,
            keyframe_wanted: false,
            wanted_told: false,
            ended: false,
            wakers: Vec::new(),
            next_reader: 0,
            packet_scratch: Vec::new(),
            frame_scratch: Vec::new(),
        }
    }

    pub(super) fn readers(&self) -> usize {
        self.packets.readers + self.frames.readers
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
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

    /// Remembers whom to wake when there is more to read.
    pub(crate) fn register(&mut self, reader: u64, waker: &Waker) {
        let Some((_, slot)) = self.wakers.iter_mut().find(|(id, _)| *id == reader) else { return };
        match slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Takes out those who wait, up to `batch.len()`; says how many.
    pub(super) fn take_wakers(&mut self, batch: &mut [Option<Waker>; WAKE_AT_ONCE]) -> usize {
        let waiting = self.wakers.iter_mut().filter_map(|(_, slot)| slot.take());
        let mut count = 0;
        for (place, waker) in batch.iter_mut().zip(waiting) {
            *place = Some(waker);
            count += 1;
        }
        count
    }

    /// Adds a reader of face `T`. The first one of the face that is not written gets the cached GOP,
    /// converted on the spot.
    pub(super) fn attach<T: FaceItem>(&mut self) -> Attached {
        let face = T::face_mut(self);
        face.readers += 1;
        if face.readers == 1 {
            match self.written {
                Some(Face::Frames) if T::FACE == Face::Packets => self.packetize_cached(),
                Some(Face::Packets) if T::FACE == Face::Frames => self.depacketize_cached(),
                _ => {}
            }
        }
        self.next_reader += 1;
        self.wakers.push((self.next_reader, None));
        let face = T::face(self);
        let position = match self.codec.kind() {
            Kind::Video => face.start(),
            // Sound starts at the live edge.
            Kind::Audio => face.end(),
        };
        Attached { reader: self.next_reader, position }
    }

    pub(super) fn detach<T: FaceItem>(&mut self, reader: u64) {
        self.wakers.retain(|(id, _)| *id != reader);
        let face = T::face_mut(self);
        face.readers -= 1;
        if face.readers == 0 && self.written != Some(T::FACE) {
            // Nobody reads the converted face: it would be stale for the next reader.
            self.forget_converted(T::FACE);
        }
    }

    pub(super) fn end(&mut self) {
        if self.ended {
            return;
        }
        while let Some(packet) = self.reorder.take() {
            self.depacketize(&packet);
        }
        self.push_depacketized();
        self.ended = true;
    }

    pub(super) fn write_frame(&mut self, mut frame: Frame) {
        if !self.begin_item(Face::Frames, frame.epoch) {
            return;
        }
        if let Some(step) = self.step_back(&frame) {
            frame.dts = frame.dts.offset(step);
            frame.pts = frame.pts.offset(step);
        }
        self.last_dts = Some(frame.dts.ticks());
        self.count(frame.arrival, frame.data.len(), true);
        self.note_config(&frame.config);
        if frame.keyframe && self.codec.kind() == Kind::Video {
            self.note_keyframe(frame.pts.as_micros());
        }
        let reorders = self.monitor.on_frame(&frame);
        self.info.reordering = self.monitor.reordering();
        if self.packets.readers > 0 {
            self.packetize(&frame, reorders);
            self.push_packetized();
        }
        self.frames.push(frame);
    }

    pub(super) fn write_packet(&mut self, mut packet: RtpPacket) {
        if !self.begin_item(Face::Packets, packet.epoch) {
            return;
        }
        self.next_seq = self.next_seq.max(packet.seq + 1);
        self.count(packet.arrival, packet.payload.len(), packet.frame_start);
        self.note_packet(&mut packet);
        if self.frames.readers > 0 {
            self.reorder.push(packet.clone());
            while let Some(next) = self.reorder.pop(packet.arrival) {
                self.depacketize(&next);
            }
            self.push_depacketized();
        }
        self.packets.push(packet);
    }

    fn count(&mut self, arrival: Instant, bytes: usize, frame_start: bool) {
        self.info.items += 1;
        self.info.bytes += bytes as u64;
        self.info.frames += u64::from(frame_start);
        self.rate.count(arrival, bytes, frame_start);
        self.info.frames_per_minute = self.rate.frames_per_minute();
        (self.info.bitrate_bps, self.info.newest) = (self.rate.bps(), self.rate.newest());
    }

    /// False for an item of a publication that was replaced, or behind the end.
    fn begin_item(&mut self, face: Face, epoch: u32) -> bool {
        if self.ended || epoch < self.epoch {
            self.info.stale += 1;
            return false;
        }
        if self.written != Some(face) {
            // The first item, or a publication by another transport: RTP numbers go on from here.
            self.written = Some(face);
            self.retire_depacketizer();
            if let Some(packetizer) = &mut self.packetizer {
                packetizer.continue_at(self.next_seq);
            }
        }
        self.epoch = epoch;
        true
    }

    /// By how much a frame must be moved so that decoding time grows: a time that steps back breaks fMP4 and
    /// every player, a clamped one is only a glitch.
    fn step_back(&mut self, frame: &Frame) -> Option<i64> {
        let step = self.last_dts?.saturating_add(1).saturating_sub(frame.dts.ticks());
        (step > 0).then(|| {
            self.info.clamped += 1;
            step
        })
    }

    fn packetize(&mut self, frame: &Frame, reorders: bool) {
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.packetize(frame, reorders, &mut self.packet_scratch);
            self.next_seq = packetizer.next_seq();
        }
    }

    fn push_packetized(&mut self) {
        for packet in self.packet_scratch.drain(..) {
            self.packets.push(packet);
        }
    }

    fn depacketize(&mut self, packet: &RtpPacket) {
        if self.depacketizer.is_none() {
            self.depacketizer = Depacketizer::for_codec(self.codec);
        }
        if let Some(depacketizer) = &mut self.depacketizer {
            depacketizer.depacketize(packet, &mut self.frame_scratch);
        }
    }

    fn push_depacketized(&mut self) {
        if self.frame_scratch.is_empty() {
            return;
        }
        let mut made = std::mem::take(&mut self.frame_scratch);
        for mut frame in made.drain(..) {
            if let Some(step) = self.step_back(&frame) {
                frame.dts = frame.dts.offset(step);
                frame.pts = frame.pts.max(frame.dts);
            }
            self.last_dts = Some(frame.dts.ticks());
            self.note_config(&frame.config);
            self.frames.push(frame);
        }
        self.frame_scratch = made;
    }

    /// Fills the packet face from the cache of the frame face.
    fn packetize_cached(&mut self) {
        self.packets.clear();
        let mut monitor = ReorderingMonitor::default();
        if let Some(packetizer) = &mut self.packetizer {
            for frame in self.frames.since_keyframe() {
                let reorders = monitor.on_frame(frame);
                packetizer.packetize(frame, reorders, &mut self.packet_scratch);
            }
            self.next_seq = packetizer.next_seq();
        }
        self.push_packetized();
    }

    /// Fills the frame face from the cache of the packet face.
    fn depacketize_cached(&mut self) {
        self.frames.clear();
        // The frames of this GOP may have been there before, with the same times.
        self.last_dts = None;
        self.retire_depacketizer();
        self.depacketizer = Depacketizer::for_codec(self.codec);
        let Some(depacketizer) = &mut self.depacketizer else { return };
        for packet in self.packets.since_keyframe() {
            self.reorder.push(packet.clone());
            while let Some(next) = self.reorder.pop(packet.arrival) {
                depacketizer.depacketize(&next, &mut self.frame_scratch);
            }
        }
        self.push_depacketized();
    }

    fn forget_converted(&mut self, face: Face) {
        match face {
            Face::Packets => self.packets.clear(),
            Face::Frames => {
                self.frames.clear();
                self.retire_depacketizer();
            }
        }
    }

    /// Drops the conversion to frames and keeps its counts.
    fn retire_depacketizer(&mut self) {
        (self.info.losses, self.info.reordered) = self.losses();
        self.depacketizer = None;
        self.reorder = Reorder::default();
    }

    /// The counts of this and of former conversions to frames.
    pub(super) fn losses(&self) -> (Losses, ReorderStats) {
        let current = self.depacketizer.as_ref().map(Depacketizer::losses).unwrap_or_default();
        (self.info.losses + current, self.info.reordered + self.reorder.stats())
    }

    /// What the head of a packet tells about the Layer, and whether its frame is shown before an earlier one.
    fn note_packet(&mut self, packet: &mut RtpPacket) {
        if self.codec.kind() == Kind::Audio {
            return;
        }
        if packet.starts_keyframe {
            self.note_keyframe(packet.time.as_micros());
            self.listening = true;
        }
        if self.listening {
            self.listen(packet);
        }
        match self.newest_frame {
            // Reordered on the way, or more of the same frame: the encoder's order is known from the first packets.
            Some((first, reorders)) if packet.seq < first || !packet.frame_start => {
                packet.reorders |= reorders && packet.seq >= first;
            }
            _ => {
                let announced = self.reorder_frames.filter(|_| packet.starts_keyframe);
                let reorders = self.monitor.observe(Observation {
                    presentation: packet.time.ticks(),
                    keyframe: packet.starts_keyframe,
                    discardable: packet.discardable,
                    announced,
                    epoch: packet.epoch,
                });
                self.info.reordering = self.monitor.reordering();
                self.newest_frame = Some((packet.seq, reorders));
                packet.reorders |= reorders;
            }
        }
    }

    /// A keyframe says what the stream is, in its first packet or soon after it.
    fn listen(&mut self, packet: &RtpPacket) {
        if let Some(announced) = Announced::read(self.codec, &packet.payload) {
            self.listening = false;
            self.reorder_frames = announced.reorder_frames;
            self.info.size = Some(announced.size);
            self.info.codecs = Some(announced.codecs);
        }
        self.listening &= !packet.marker;
    }

    fn note_config(&mut self, config: &Arc<CodecConfig>) {
        if self.told.as_ref().is_some_and(|told| Arc::ptr_eq(told, config)) {
            return;
        }
        self.told = Some(Arc::clone(config));
        self.info.codecs = Some(config.rfc6381());
        if let Some(size) = config.size() {
            self.info.size = Some(size);
        }
    }

    fn note_keyframe(&mut self, at: i64) {
        self.info.keyframes += 1;
        if let Some(last) = self.last_keyframe.replace(at) {
            self.info.keyframe_interval_micros = Some(at - last);
        }
    }
}
