//! What is measured before the first playlist: TARGETDURATION and PART-TARGET, fixed for the Stream's life.
//!
//! Apple's players stop for good when either of them changes, so both are known before the first byte of a
//! playlist is served.

use std::time::Duration;

use media::{Frame, Kind};

use crate::Config;
use crate::name::Name;
use crate::segmenter::GOP_GRACE;

/// Frames kept while measuring: 4 s of 120 fps video with its audio, twice; or of six Layers of 60 fps. At the limit measuring ends.
const FRAMES_MAX: usize = 2048;

/// Payload bytes kept while measuring: 4 s at 60 Mbit/s. At the limit measuring ends.
const BYTES_MAX: usize = 32 << 20;

/// A keyframe that comes this much late still closes its segment: EXTINF is rounded (section 4.4.4.1).
const LATE: Duration = Duration::from_millis(250);

/// Room in a part for stamps in whole milliseconds.
const STAMPS: f64 = 1.02;

/// How much of a source that makes keyframes on request is watched: its frame rate is all that counts.
const ON_REQUEST_SPAN: Duration = Duration::from_millis(300);

/// How much of a source without video is watched.
const AUDIO_SPAN: Duration = Duration::from_millis(300);

/// The two constants of a Stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// TARGETDURATION in seconds.
    pub(crate) target_duration: u32,
    /// PART-TARGET, whole milliseconds.
    pub(crate) part_target: Duration,
    /// What a segment is cut into.
    pub(crate) even: Even,
}

/// Equal parts of a segment, whatever whole frames they can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Even {
    /// How many.
    pub(crate) parts: u32,
    /// What they last together.
    pub(crate) segment: Duration,
}

impl Targets {
    /// Fits both to a GOP and to the length of a frame, where they are known.
    pub(crate) fn fit(
        config: &Config,
        gop: Option<Duration>,
        video_frame: Option<Duration>,
        audio_frame: Option<Duration>,
    ) -> Self {
        let wanted = Duration::from_millis(u64::from(config.part_target_ms));
        let target_duration = match gop {
            Some(gop) => {
                u32::try_from(gop.saturating_sub(LATE).as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
            }
            None => config.target_duration_max_s,
        }
        .clamp(config.target_duration_min_s, config.target_duration_max_s);
        let fitted = [video_frame, audio_frame].into_iter().flatten();
        let part_target = fitted.map(|frame| part_target(wanted, gop, frame)).max().unwrap_or(wanted);
        let part_target = part_target.min(Duration::from_secs(target_duration.into()));
        let gop = gop.unwrap_or(Duration::from_secs(target_duration.into()));
        Self { target_duration, part_target, even: Even::of(part_target, gop, config.target_duration_min()) }
    }

    /// The constants while the source says when a segment ends: TARGETDURATION is the shortest.
    fn on_request(config: &Config, video_frame: Option<Duration>, audio_frame: Option<Duration>) -> Self {
        let gop = Duration::from_secs(config.target_duration_min_s.into());
        Self::fit(config, Some(gop), video_frame, audio_frame)
    }
}

impl Even {
    /// As many parts as a segment needs that is made of whole GOPs and is as long as is `wanted`, or a GOP.
    fn of(part_target: Duration, gop: Duration, wanted: Duration) -> Self {
        let gop = gop.max(Duration::from_millis(1));
        let gops = ((wanted + GOP_GRACE).as_micros() / gop.as_micros()).max(1);
        let segment = gop * u32::try_from(gops).unwrap_or(1);
        // Without what is added to the target for stamps that are rounded; a hundredth of a part is none.
        let parts = (segment.as_secs_f64() / part_target.as_secs_f64() * STAMPS - 0.01).ceil();
        Self { parts: (parts as u32).max(1), segment }
    }
}

/// A part target that whole frames fill: the GOP in equal parts near the wanted length, and 2 % more so
/// that millisecond stamps do not push a frame over it (an RTMP frame of 33.3 ms is 33 or 34). Fitted to audio
/// frames too: what is left over at the end of a segment would be a part of its own, and players that take
/// parts by time lose parts of two frames. Of a GOP that is shorter than the wanted length, several make a part.
fn part_target(wanted: Duration, gop: Option<Duration>, frame: Duration) -> Duration {
    let (wanted, frame) = (wanted.as_micros() as f64, (frame.as_micros() as f64).max(1.0));
    let gop = gop.map_or(wanted, |gop| (gop.as_micros() as f64).max(frame));
    let gop = gop * (wanted / gop).round().max(1.0);
    let parts = (gop / wanted).round().max(1.0);
    // A hundredth of a frame is not a frame: stamps are rounded.
    let frames_per_part = (gop / frame / parts - 0.01).ceil().max(1.0);
    Duration::from_millis((frames_per_part * frame * STAMPS / 1000.0).ceil() as u64)
}

/// Watches the beginning of a Stream and keeps its frames.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    frames: Vec<(Name, Frame)>,
    bytes: usize,
    /// The Layer that is measured: the first one with a keyframe.
    leader: Option<Name>,
    keyframe_at: Option<i64>,
    gop: Option<Duration>,
    video_last: Option<i64>,
    audio_first: Option<i64>,
    audio_last: Option<i64>,
    video_steps: Vec<i64>,
    audio_step: Option<i64>,
}

/// What is known about the Tracks while measuring.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    /// There is a video Track that can be carried.
    pub(crate) video: bool,
    /// There is an audio Track that can be carried.
    pub(crate) audio: bool,
    /// No other Track is waited for.
    pub(crate) settled: bool,
    /// The video encoder makes keyframes when asked.
    pub(crate) keyframes_on_request: bool,
}

impl Probe {
    /// Takes the next frame. Video before its first keyframe is dropped.
    pub(crate) fn push(&mut self, name: Name, frame: Frame) {
        let at = frame.dts.as_micros();
        if name.kind() == Kind::Video && self.leader.is_none() && frame.keyframe {
            self.leader = Some(name);
        }
        match name.kind() {
            Kind::Video if self.leader.is_some_and(|leader| leader != name) => {}
            Kind::Video => {
                if frame.keyframe
                    && let Some(first) = self.keyframe_at
                    && self.gop.is_none()
                {
                    self.gop = Some(Duration::from_micros(u64::try_from(at - first).unwrap_or(0)));
                }
                if self.keyframe_at.is_none() {
                    if !frame.keyframe {
                        return;
                    }
                    self.keyframe_at = Some(at);
                }
                if let Some(last) = self.video_last.replace(at) {
                    self.video_steps.push(at - last);
                }
            }
            Kind::Audio => {
                self.audio_first.get_or_insert(at);
                if let Some(last) = self.audio_last.replace(at) {
                    self.audio_step = Some(at - last);
                }
            }
        }
        self.bytes += frame.data.len();
        self.frames.push((name, frame));
    }

    /// The constants, once enough was seen. `overdue`: no longer wait for a Track that is silent.
    pub(crate) fn verdict(&self, config: &Config, expected: Expected, overdue: bool) -> Option<Targets> {
        let full = self.frames.len() >= FRAMES_MAX || self.bytes >= BYTES_MAX;
        let video_here = self.keyframe_at.is_some();
        let audio_here = self.audio_first.is_some();
        if !video_here && !audio_here {
            return None;
        }
        if !(full || overdue) {
            let missing = (expected.video && !video_here) || (expected.audio && !audio_here);
            if missing || !expected.settled {
                return None;
            }
        }
        if !video_here {
            let span = span(self.audio_first, self.audio_last);
            let enough = full || span >= AUDIO_SPAN;
            let gop = Duration::from_secs(config.target_duration_min_s.into());
            return enough.then(|| Targets::fit(config, Some(gop), None, micros(self.audio_step)));
        }
        let span = span(self.keyframe_at, self.video_last);
        let frame = self.frame_duration();
        if expected.keyframes_on_request {
            // Whatever its keyframes did so far: others asked for them, and so did we.
            let enough = full || span >= ON_REQUEST_SPAN;
            return enough.then(|| Targets::on_request(config, frame, micros(self.audio_step)));
        }
        let watched = Duration::from_millis(u64::from(config.measure_ms)) + LATE;
        (full || self.gop.is_some() || span >= watched)
            .then(|| Targets::fit(config, self.gop, frame, micros(self.audio_step)))
    }

    /// The Layer that was measured.
    pub(crate) fn leader(&self) -> Option<Name> {
        self.leader
    }

    /// Hands the kept frames back, in the order in which they came.
    pub(crate) fn into_frames(self) -> Vec<(Name, Frame)> {
        self.frames
    }

    /// The median step between video frames: one odd frame at the start must not count.
    fn frame_duration(&self) -> Option<Duration> {
        let mut steps = self.video_steps.clone();
        steps.sort_unstable();
        micros(steps.get(steps.len() / 2).copied())
    }
}

fn span(from: Option<i64>, to: Option<i64>) -> Duration {
    micros(from.zip(to).map(|(from, to)| to - from)).unwrap_or_default()
}

fn micros(value: Option<i64>) -> Option<Duration> {
    value.and_then(|value| u64::try_from(value).ok()).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_frames_fill_parts_too() {
        for (audio_us, part_ms) in [(21_333, 523), (23_220, 522), (20_000, 510)] {
            let gop = Some(Duration::from_secs(2));
            let (video, audio) = (Duration::from_micros(33_333), Duration::from_micros(audio_us));
            let targets = Targets::fit(&Config::default(), gop, Some(video), Some(audio));
            assert_eq!(targets.part_target.as_millis(), part_ms, "{audio_us}");
        }
    }

    #[test]
    fn constants_fit_the_source() {
        let config = Config::default();
        for (gop_ms, frame_us, target_duration, part_ms) in [
            (Some(2000), 33_333, 2, 510),
            (Some(2001), 33_366, 2, 511),
            (Some(2000), 40_000, 2, 531),
            (Some(500), 33_333, 2, 510),
            // Every frame is a keyframe; or a browser was asked for another one at once.
            (Some(66), 66_667, 2, 477),
            (Some(300), 33_333, 2, 612),
            (Some(4170), 16_667, 4, 545),
            (Some(2000), 200_000, 2, 612),
            (Some(2000), 1_000_000, 2, 1020),
            (None, 33_333, 10, 510),
            (Some(10_000), 33_333, 10, 510),
        ] {
            let targets = Targets::fit(
                &config,
                gop_ms.map(Duration::from_millis),
                Some(Duration::from_micros(frame_us)),
                None,
            );
            assert_eq!(
                (targets.target_duration, targets.part_target.as_millis()),
                (target_duration, part_ms),
                "GOP {gop_ms:?} ms, frame {frame_us} us"
            );
        }
    }
}
