//! The source: made-up media, written to the bus of a world.

use std::time::{Duration, Instant};

use media::{Codec, MediaTime, NtpTime, Publication, Rid, RtpPacket, Timescale, TrackSpec};

use crate::world::World;

/// 30 per second.
const FRAME: Duration = Duration::from_nanos(33_333_333);

/// How it sends.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) gop: u32,
    pub(crate) parts: u16,
    pub(crate) part_bytes: usize,
    pub(crate) keyframes_on_request: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self { gop: 60, parts: 9, part_bytes: 1100, keyframes_on_request: false }
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
        self.since_keyframe = 0;
        (self.next_frame, self.next_audio) = (self.now, self.now);
        self.open_tracks();
    }

    pub(crate) fn write_media(&mut self) {
        while self.video.is_some() && self.next_frame <= self.now {
            self.write_frame();
            self.next_frame += FRAME;
        }
        while self.next_audio <= self.now {
            let packet = self.packet(Timescale::OPUS, self.audio_seq, self.next_audio, true, true);
            let Some(audio) = &mut self.audio else { break };
            audio.write_rtp(
                &Rid::single(),
                RtpPacket { payload: stamp(self.audio_number, 0, 1, true, 100), ..packet },
            );
            self.audio_seq += 1;
            self.audio_number += 1;
            self.next_audio += Duration::from_millis(20);
        }
    }

    fn write_frame(&mut self) {
        let key = self.since_keyframe == 0;
        let parts = if key { self.source.parts * 4 } else { self.source.parts };
        for part in 0..parts {
            let start = part == 0;
            let packet = self.packet(Timescale::VIDEO, self.video_seq, self.next_frame, start, key && start);
            let payload = stamp(self.frame, part, parts, key, self.source.part_bytes);
            let packet = RtpPacket { payload, marker: part + 1 == parts, ..packet };
            self.video.as_mut().unwrap().write_rtp(&Rid::single(), packet);
            self.video_seq += 1;
        }
        self.written.push(self.now);
        self.frame += 1;
        self.since_keyframe = (self.since_keyframe + 1) % self.source.gop;
    }

    fn packet(&self, scale: Timescale, seq: u64, at: Instant, frame_start: bool, key: bool) -> RtpPacket {
        RtpPacket {
            seq,
            time: self.stream.clock().media_time(at, scale),
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
        let mut packet = self.packet(Timescale::VIDEO, self.video_seq, self.now, true, false);
        packet.payload = stamp(self.frame, 0, 1, false, 500);
        packet.marker = true;
        change(&mut packet);
        self.video.as_mut().unwrap().write_rtp(&Rid::single(), packet);
        self.video_seq += 1;
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
