//! The source: made-up media in one or several Layers, written to the bus of a world.

use std::time::{Duration, Instant};

use media::{Codec, Demand, MediaTime, NtpTime, Publication, Rid, RtpPacket, Timescale, TrackSpec};

use crate::world::World;

/// 30 per second.
const FRAME: Duration = Duration::from_nanos(33_333_333);
/// The number of a frame of the source begins with that of its Layer.
pub(crate) const LAYER_SHIFT: u32 = 24;

/// How it sends.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) gop: u32,
    /// Packets of a frame and bytes of each, without simulcast. A keyframe has four times as many.
    pub(crate) parts: u16,
    pub(crate) part_bytes: usize,
    pub(crate) keyframes_on_request: bool,
    /// With simulcast: the Layers.
    pub(crate) layers: &'static [Simulcast],
    /// How long it takes until an encoder that was asked makes a keyframe.
    pub(crate) answer: Duration,
    /// How much later than the picture of the same moment sound comes.
    pub(crate) sound_late: Duration,
    /// How much earlier than it should be sound is stamped, as its packets say.
    pub(crate) sound_lag: Duration,
}

/// One Layer of simulcast.
#[derive(Clone, Copy)]
pub(crate) struct Simulcast {
    pub(crate) rid: &'static str,
    pub(crate) parts: u16,
    pub(crate) part_bytes: usize,
}

/// 150, 500 and 1500 kbit/s.
pub(crate) const THREE_LAYERS: &[Simulcast] = &[
    Simulcast { rid: "q", parts: 1, part_bytes: 590 },
    Simulcast { rid: "h", parts: 2, part_bytes: 990 },
    Simulcast { rid: "f", parts: 6, part_bytes: 990 },
];

impl Default for Source {
    fn default() -> Self {
        Self {
            gop: 60,
            parts: 9,
            part_bytes: 1100,
            keyframes_on_request: false,
            layers: &[],
            answer: Duration::ZERO,
            sound_late: Duration::ZERO,
            sound_lag: Duration::ZERO,
        }
    }
}

/// The encoder of one Layer.
pub(crate) struct Encoder {
    pub(crate) rid: Rid,
    parts: u16,
    part_bytes: usize,
    seq: u64,
    since_keyframe: u32,
    keyframe_due: Option<Instant>,
    /// It sends.
    pub(crate) on: bool,
}

impl Encoder {
    pub(crate) fn of(source: &Source) -> Vec<Self> {
        let new = |rid, parts, part_bytes, seq| Self {
            rid,
            parts,
            part_bytes,
            seq,
            since_keyframe: 0,
            keyframe_due: None,
            on: true,
        };
        if source.layers.is_empty() {
            return vec![new(Rid::single(), source.parts, source.part_bytes, 1000)];
        }
        let of = |layer: &Simulcast| {
            // Numbers of Layers have nothing to do with each other.
            let seq = 1000 * u64::from(layer.parts) + 7;
            new(Rid::parse(layer.rid).unwrap(), layer.parts, layer.part_bytes, seq)
        };
        source.layers.iter().map(of).collect()
    }
}

impl World {
    pub(crate) fn open_tracks(&mut self) {
        let spec = |codec, timescale| TrackSpec {
            codec,
            timescale,
            keyframes_on_request: self.source.keyframes_on_request,
            derived: false,
        };
        let (audio, video) = (spec(Codec::Opus, Timescale::OPUS), spec(Codec::H264, Timescale::VIDEO));
        let writer = self.writer.as_mut().unwrap();
        self.audio = Some(writer.track(audio));
        self.video = Some(writer.track(video));
    }

    pub(crate) fn stop_source(&mut self) {
        (self.audio, self.video, self.writer) = (None, None, None);
    }

    pub(crate) fn restart_source(&mut self) {
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        self.writer = Some(self.hub.publish(&self.channel, Publication::default(), self.now, wall).unwrap());
        self.encoders.iter_mut().for_each(|encoder| encoder.since_keyframe = 0);
        (self.next_frame, self.next_audio) = (self.now, self.now);
        self.open_tracks();
    }

    /// The encoder stops or continues sending a Layer.
    pub(crate) fn turn(&mut self, layer: usize, on: bool) {
        let encoder = &mut self.encoders[layer];
        (encoder.on, encoder.since_keyframe) = (on, 0);
    }

    pub(crate) fn write_media(&mut self) {
        self.hear_demand();
        while self.video.is_some() && self.next_frame <= self.now {
            (0..self.encoders.len()).for_each(|layer| self.write_frame(layer));
            self.written.push(self.now);
            self.frame += 1;
            self.next_frame += FRAME;
        }
        while self.next_audio + self.source.sound_late <= self.now {
            let stamped = self.next_audio - self.source.sound_lag;
            let packet = self.packet(Timescale::OPUS, self.audio_seq, stamped, true, true);
            let lag_micros = self.source.sound_lag.as_micros() as i32;
            let payload = stamp(self.audio_number, 0, 1, true, 100);
            let Some(audio) = &mut self.audio else { break };
            audio.write_rtp(&Rid::single(), RtpPacket { payload, lag_micros, ..packet });
            self.audio_seq += 1;
            self.audio_number += 1;
            self.next_audio += Duration::from_millis(20);
        }
    }

    /// What readers asked for reaches the encoder.
    fn hear_demand(&mut self) {
        let Some(video) = &mut self.video else { return };
        while let Some(demand) = video.try_demand() {
            if let Demand::Keyframe(rid) = demand
                && let Some(encoder) = self.encoders.iter_mut().find(|encoder| encoder.rid == rid)
            {
                encoder.keyframe_due.get_or_insert(self.now + self.source.answer);
            }
        }
    }

    fn write_frame(&mut self, layer: usize) {
        let (now, at) = (self.now, self.next_frame);
        let encoder = &mut self.encoders[layer];
        if !encoder.on {
            return;
        }
        if encoder.keyframe_due.is_some_and(|due| due <= now) {
            (encoder.keyframe_due, encoder.since_keyframe) = (None, 0);
        }
        let key = encoder.since_keyframe == 0;
        let parts = if key { encoder.parts * 4 } else { encoder.parts };
        let (rid, first, bytes) = (encoder.rid.clone(), encoder.seq, encoder.part_bytes);
        encoder.seq += u64::from(parts);
        encoder.since_keyframe = (encoder.since_keyframe + 1) % self.source.gop;
        let frame = self.frame | (layer as u32) << LAYER_SHIFT;
        for part in 0..parts {
            let (seq, start) = (first + u64::from(part), part == 0);
            let packet = self.packet(Timescale::VIDEO, seq, at, start, key && start);
            let payload = stamp(frame, part, parts, key, bytes);
            let packet = RtpPacket { payload, marker: part + 1 == parts, ..packet };
            self.video.as_mut().unwrap().write_rtp(&rid, packet);
        }
    }

    fn packet(&self, scale: Timescale, seq: u64, at: Instant, frame_start: bool, key: bool) -> RtpPacket {
        RtpPacket {
            seq,
            time: self.stream.clock().media_time(at, scale),
            lag_micros: 0,
            payload: bytes::Bytes::new(),
            marker: false,
            frame_start,
            starts_keyframe: key,
            discardable: false,
            reorders: false,
            temporal_id: 0,
            epoch: 0,
            arrival: self.now,
        }
    }

    /// Writes a packet as it is.
    pub(crate) fn write_video(&mut self, change: impl FnOnce(&mut RtpPacket)) {
        let mut packet = self.packet(Timescale::VIDEO, self.encoders[0].seq, self.now, true, false);
        packet.payload = stamp(self.frame, 0, 1, false, 500);
        packet.marker = true;
        change(&mut packet);
        self.video.as_mut().unwrap().write_rtp(&Rid::single(), packet);
        self.encoders[0].seq += 1;
        self.written.push(self.now);
        self.frame += 1;
    }

    pub(crate) fn media_time(&self) -> MediaTime {
        self.stream.clock().media_time(self.now, Timescale::VIDEO)
    }
}

/// Eight bytes that say what it is, the highest bit of `parts` whether it is of a keyframe; and a filling that shows
/// damage.
fn stamp(frame: u32, part: u16, parts: u16, keyframe: bool, bytes: usize) -> bytes::Bytes {
    let parts = parts | u16::from(keyframe) << 15;
    let mut payload = vec![frame as u8; bytes];
    payload[..4].copy_from_slice(&frame.to_be_bytes());
    payload[4..6].copy_from_slice(&part.to_be_bytes());
    payload[6..8].copy_from_slice(&parts.to_be_bytes());
    payload.into()
}
