//! The bit rate and the frame rate of a Layer, by the arrival of what it was made from.

use std::time::{Duration, Instant};

/// From one figure to the next: fifteen frames, so that one of them alone says little.
const WINDOW: Duration = Duration::from_millis(500);
/// The part of a new figure that counts. A keyframe is many frames' worth: over about two seconds its share is
/// that of the Layer, and an encoder that goes up or down is followed in that time.
const GAIN: f64 = 0.25;
/// After such a pause the encoder was away; what it did before says nothing.
const PAUSE: Duration = Duration::from_secs(2);

/// Measures payload and frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateMeter {
    since: Option<Instant>,
    newest: Option<Instant>,
    bytes: u64,
    frames: u32,
    bps: Option<f64>,
    fps: Option<f64>,
}

impl RateMeter {
    pub(super) fn count(&mut self, arrival: Instant, bytes: usize, frame_start: bool) {
        if self.newest.is_some_and(|newest| arrival.saturating_duration_since(newest) > PAUSE) {
            *self = Self::default();
        }
        let since = *self.since.get_or_insert(arrival);
        let elapsed = arrival.saturating_duration_since(since);
        if elapsed >= WINDOW {
            let seconds = elapsed.as_secs_f64();
            let follow = |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + (new - old) * GAIN));
            self.bps = follow(self.bps, self.bytes as f64 * 8.0 / seconds);
            self.fps = follow(self.fps, f64::from(self.frames) / seconds);
            (self.since, self.bytes, self.frames) = (Some(arrival), 0, 0);
        }
        self.bytes += bytes as u64;
        self.frames += u32::from(frame_start);
        self.newest = self.newest.max(Some(arrival));
    }

    /// Bits per second; `None` before there is a first figure.
    pub(super) fn bps(&self) -> Option<u64> {
        self.bps.map(|bps| bps as u64)
    }

    /// Frames per minute; `None` before there is a first figure.
    pub(super) fn frames_per_minute(&self) -> Option<u32> {
        self.fps.map(|fps| (fps * 60.0).round() as u32)
    }

    /// The arrival of the newest item.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::tests::origin;

    /// 30 frames per second, the first of each second six times as large.
    fn run(meter: &mut RateMeter, from: Instant, seconds: u32, frame: usize) -> Instant {
        for n in 0..seconds * 30 {
            let bytes = if n % 30 == 0 { frame * 6 } else { frame };
            let at = from + Duration::from_micros(33_333) * n;
            meter.count(at, bytes / 2, true);
            meter.count(at, bytes - bytes / 2, false);
        }
        from + Duration::from_secs(seconds.into())
    }

    #[test]
    fn it_follows_the_encoder_and_takes_keyframes_for_what_they_are() {
        let mut meter = RateMeter::default();
        assert_eq!(meter.bps(), None);
        let later = run(&mut meter, origin(), 10, 1000);
        let expected = 35.0 * 8000.0;
        let near = |meter: &RateMeter, expected: f64| {
            let bps = meter.bps().expect("measured") as f64;
            assert!((bps / expected - 1.0).abs() < 0.15, "{bps} instead of {expected}");
        };
        near(&meter, expected);
        assert_eq!(meter.frames_per_minute(), Some(1800));
        let later = run(&mut meter, later, 4, 4000);
        near(&meter, expected * 4.0);
        let begun_anew = later + PAUSE * 2;
        run(&mut meter, begun_anew, 1, 1000);
        near(&meter, expected);
    }
}
