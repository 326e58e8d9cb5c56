//! Sources: what encoders send, as frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{CodecConfig, Frame, Kind, MediaTime, Timescale, aac, h264};

/// From the encoder's clock to arrival, in seconds: more than a source that starts early is early.
const ON_THE_WAY: f64 = 5.0;

/// An encoder.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) fps: f64,
    /// Whether frame number `n` is a keyframe.
    pub(crate) keyframe: fn(usize) -> bool,
    pub(crate) video: bool,
    pub(crate) b_frames: bool,
    /// Timestamps in whole milliseconds, as RTMP has them.
    pub(crate) millisecond_stamps: bool,
    pub(crate) audio_hz: Option<u32>,
    /// Audio arrives this much later than video of the same time.
    pub(crate) audio_late: Duration,
    pub(crate) seconds: f64,
    /// When it starts, on the Stream's clock.
    pub(crate) from: f64,
    pub(crate) epoch: u32,
    pub(crate) sps: &'static [u8],
}

impl Default for Source {
    fn default() -> Self {
        Self {
            fps: 30.0,
            keyframe: |n| n % 60 == 0,
            video: true,
            b_frames: false,
            millisecond_stamps: false,
            audio_hz: Some(48_000),
            audio_late: Duration::ZERO,
            seconds: 30.0,
            from: 0.0,
            epoch: 0,
            sps: super::SPS,
        }
    }
}

pub(crate) fn video_config(sps: &'static [u8]) -> Arc<CodecConfig> {
    let config = h264::Config::from_parameter_sets(
        vec![Bytes::from_static(sps)],
        vec![Bytes::from_static(super::PPS)],
    );
    Arc::new(CodecConfig::H264(config.expect("a real SPS")))
}

pub(crate) fn audio_config(hz: u32) -> Arc<CodecConfig> {
    Arc::new(CodecConfig::Aac(aac::Config::low_complexity(hz, 2).expect("a usual rate")))
}

impl Source {
    /// Its frames in the order of arrival. `origin` is zero of the Stream's clock.
    pub(crate) fn frames(&self, origin: Instant) -> Vec<(Kind, Frame)> {
        let mut frames = Vec::new();
        if self.video {
            self.video_frames(origin, &mut frames);
        }
        if let Some(hz) = self.audio_hz {
            self.audio_frames(origin, hz, &mut frames);
        }
        frames.sort_by_key(|(_, frame)| frame.arrival);
        frames
    }

    fn stamp(&self, seconds: f64, scale: Timescale) -> MediaTime {
        if self.millisecond_stamps {
            return MediaTime::from_micros((seconds * 1000.0).round() as i64 * 1000, scale);
        }
        MediaTime::new((seconds * f64::from(scale.hz())).round() as i64, scale)
    }

    fn video_frames(&self, origin: Instant, out: &mut Vec<(Kind, Frame)>) {
        let config = video_config(self.sps);
        let count = (self.seconds * self.fps) as usize;
        let keyframes: Vec<usize> = (0..count).filter(|n| (self.keyframe)(*n)).chain([count]).collect();
        for pair in keyframes.windows(2) {
            let gop = pair[1] - pair[0];
            for k in 0..gop {
                let (shown, discardable) = if self.b_frames { reordered(k, gop) } else { (k, false) };
                let decoded_at = self.from + (pair[0] + k) as f64 / self.fps;
                // One frame of delay, as an encoder with B-frames has it.
                let delay = usize::from(self.b_frames);
                let shown_at = self.from + (pair[0] + shown + delay) as f64 / self.fps;
                let bytes = if k == 0 { 40_000 } else { 6_000 };
                out.push((
                    Kind::Video,
                    Frame {
                        dts: self.stamp(decoded_at, Timescale::VIDEO),
                        pts: self.stamp(shown_at, Timescale::VIDEO),
                        duration: 0,
                        keyframe: k == 0,
                        discardable,
                        data: vec![0x41; bytes].into(),
                        config: Arc::clone(&config),
                        epoch: self.epoch,
                        arrival: origin + Duration::from_secs_f64(decoded_at + ON_THE_WAY),
                    },
                ));
            }
        }
    }

    fn audio_frames(&self, origin: Instant, hz: u32, out: &mut Vec<(Kind, Frame)>) {
        let scale = Timescale::new(hz).expect("not zero");
        let config = audio_config(hz);
        for n in 0..(self.seconds * f64::from(hz) / 1024.0) as usize {
            let at = self.from + n as f64 * 1024.0 / f64::from(hz);
            let time = self.stamp(at, scale);
            out.push((
                Kind::Audio,
                Frame {
                    dts: time,
                    pts: time,
                    duration: 1024,
                    keyframe: true,
                    discardable: false,
                    data: vec![0x21; 300].into(),
                    config: Arc::clone(&config),
                    epoch: self.epoch,
                    arrival: origin + Duration::from_secs_f64(at + ON_THE_WAY) + self.audio_late,
                },
            ));
        }
    }
}

/// Which picture is decoded in place `k` of a GOP: I P b b P b b, and whether nobody refers to it.
fn reordered(k: usize, gop: usize) -> (usize, bool) {
    if k == 0 {
        return (0, false);
    }
    let (group, place) = ((k - 1) / 3, (k - 1) % 3);
    if group * 3 + 3 >= gop {
        return (k, false);
    }
    match place {
        0 => (group * 3 + 3, false),
        place => (group * 3 + place, true),
    }
}
