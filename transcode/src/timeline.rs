//! Keeps converted sound on the source's clock: samples are counted, and the count follows the timestamps.
//!
//! A conversion that only counted samples would creep away from the picture, because no sound card runs at
//! exactly the rate that it names; one that trusted each timestamp would click. So: small differences are
//! averaged and corrected one sample at a time, steps are corrected at once.

/// All sound is brought to this rate: Opus's own (RFC 7587 section 4.1).
pub(crate) const RATE: i64 = 48_000;

/// A difference over 40 ms is heard and seen (ITU-R BT.1359 puts the limit of detection at 45 ms): it is
/// corrected at once, with silence or by dropping sound.
const REANCHOR_TICKS: i64 = RATE * 40 / 1000;

/// A step of the timestamps that lost a frame leaves at least 10 ms; smaller ones are jitter.
const HOLE_TICKS: i64 = RATE / 100;

/// Longest silence that is filled in, 1 s. After a longer pause the sound starts anew at its place: nobody
/// needs a minute of encoded silence at once.
const SILENCE_TICKS_MAX: i64 = RATE;

/// An averaged difference over 2 ms is slewed: four times the rounding of RTMP's milliseconds.
const SLEW_TICKS: f64 = 96.0;

/// Samples slipped per piece at most: 4 in 20 ms is 0.4 %, 7 cents of pitch, not heard.
const SLIPS_MAX: usize = 4;

/// Each slip is hidden in a cross-fade of this many samples.
const SLIP_FADE_FRAMES: usize = 128;

/// Sound next to inserted silence or a cut fades over 2.5 ms, so that it does not click.
const CUT_FADE_FRAMES: usize = 120;

/// Whether sound could be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placed {
    /// It is in the queue.
    Queued,
    /// It begins more than [`SILENCE_TICKS_MAX`] after the last: make a new Timeline for it.
    Jumped,
}

/// What was done to keep step.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Corrections {
    /// Single samples inserted or removed.
    pub(crate) slips: u64,
    /// Times that silence was inserted or sound removed.
    pub(crate) reanchors: u64,
}

/// A queue of interleaved sound at 48 kHz that knows the place of each sample.
#[derive(Debug)]
pub(crate) struct Timeline {
    channels: usize,
    queue: Vec<f32>,
    /// Place of the sample after the last one in the queue.
    end: Option<i64>,
    /// Where the next piece begins if the source's timestamps do not step.
    expected: i64,
    /// Averaged difference between timestamps and count, in samples.
    drift: f64,
    /// The source's clock stepped back and has not caught up yet.
    behind: bool,
    slipped: Vec<f32>,
    corrections: Corrections,
}

impl Timeline {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            channels,
            queue: Vec::new(),
            end: None,
            expected: 0,
            drift: 0.0,
            behind: false,
            slipped: Vec::new(),
            corrections: Corrections::default(),
        }
    }

    /// What was done since the last call.
    pub(crate) fn take_corrections(&mut self) -> Corrections {
        std::mem::take(&mut self.corrections)
    }

    /// Places `samples`, whose timestamps say that they begin at `at`.
    pub(crate) fn push(&mut self, at: i64, samples: &[f32]) -> Placed {
        let frames = (samples.len() / self.channels) as i64;
        if frames == 0 {
            return Placed::Queued;
        }
        let Some(end) = self.end else {
            self.expected = at + frames;
            self.append(at, samples);
            return Placed::Queued;
        };
        let drift = at - end;
        if drift > SILENCE_TICKS_MAX {
            return Placed::Jumped;
        }
        let step = at - self.expected;
        self.expected = at + frames;
        if drift < -REANCHOR_TICKS || (self.behind && drift < 0) {
            self.skip(end, frames.min(-drift), samples);
            return Placed::Queued;
        }
        self.behind = false;
        if drift > REANCHOR_TICKS || (drift > HOLE_TICKS && step > frames * 3 / 4) {
            self.fill(end, drift, samples);
        } else {
            self.drift += (drift as f64 - self.drift) * (frames as f64 / RATE as f64).min(1.0);
            self.slew(end, samples);
        }
        Placed::Queued
    }

    /// Takes `frames` of sound into `out`, and says where they begin.
    pub(crate) fn pop(&mut self, frames: usize, out: &mut Vec<f32>) -> Option<i64> {
        let queued = self.queue.len() / self.channels;
        if queued < frames {
            return None;
        }
        out.clear();
        out.extend(self.queue.drain(..frames * self.channels));
        self.end.map(|end| end - queued as i64)
    }

    fn append(&mut self, at: i64, samples: &[f32]) {
        self.queue.extend_from_slice(samples);
        self.end = Some(at + (samples.len() / self.channels) as i64);
    }

    /// The source's clock stepped back: what lies before `end` was heard already.
    fn skip(&mut self, end: i64, frames: i64, samples: &[f32]) {
        self.corrections.reanchors += u64::from(!self.behind);
        self.drift = 0.0;
        let begin = self.queue.len();
        self.behind = samples.len() == frames as usize * self.channels;
        self.append(end, &samples[frames as usize * self.channels..]);
        self.fade_in(begin);
    }

    /// Sound is missing: silence in its place.
    fn fill(&mut self, end: i64, silence: i64, samples: &[f32]) {
        self.corrections.reanchors += 1;
        self.drift = 0.0;
        self.fade_out();
        self.queue.resize(self.queue.len() + silence as usize * self.channels, 0.0);
        let begin = self.queue.len();
        self.append(end + silence, samples);
        self.fade_in(begin);
    }

    fn slew(&mut self, end: i64, samples: &[f32]) {
        let wanted = (self.drift.abs() / SLEW_TICKS) as usize;
        if wanted == 0 {
            return self.append(end, samples);
        }
        let slips = wanted.min(SLIPS_MAX);
        let mut slipped = std::mem::take(&mut self.slipped);
        slipped.clear();
        if slip(samples, self.channels, slips, self.drift > 0.0, &mut slipped) {
            self.append(end, &slipped);
            self.drift -= slips as f64 * self.drift.signum();
            self.corrections.slips += slips as u64;
        } else {
            self.append(end, samples);
        }
        self.slipped = slipped;
    }

    fn fade_in(&mut self, begin: usize) {
        let frames = ((self.queue.len() - begin) / self.channels).min(CUT_FADE_FRAMES);
        for (i, frame) in self.queue[begin..].chunks_mut(self.channels).take(frames).enumerate() {
            frame.iter_mut().for_each(|sample| *sample *= i as f32 / frames as f32);
        }
    }

    fn fade_out(&mut self) {
        let frames = (self.queue.len() / self.channels).min(CUT_FADE_FRAMES);
        for (i, frame) in self.queue.chunks_mut(self.channels).rev().take(frames).enumerate() {
            frame.iter_mut().for_each(|sample| *sample *= i as f32 / frames as f32);
        }
    }
}

/// Copies `input` with `slips` samples inserted or removed, each in a cross-fade. False: too short for it.
fn slip(input: &[f32], channels: usize, slips: usize, insert: bool, out: &mut Vec<f32>) -> bool {
    let frames = input.len() / channels;
    let section = frames / slips;
    let fade = SLIP_FADE_FRAMES.min((section / 2).saturating_sub(2));
    if fade < 8 {
        return false;
    }
    let lead = (section - fade) / 2;
    let mut read = 0;
    for _ in 0..slips {
        let start = read + lead;
        out.extend_from_slice(&input[read * channels..start * channels]);
        for i in 0..fade {
            let weight = (i as f32 + 0.5) / fade as f32;
            let from = start + i;
            let to = if insert { from - 1 } else { from + 1 };
            for channel in 0..channels {
                let (a, b) = (input[from * channels + channel], input[to * channels + channel]);
                out.push(a + weight * (b - a));
            }
        }
        read = if insert { start + fade - 1 } else { start + fade + 1 };
        // Up to the end of this section, so that the next slip has the same room.
        let rest = (section - lead - fade).saturating_sub(2);
        out.extend_from_slice(&input[read * channels..(read + rest) * channels]);
        read += rest;
    }
    out.extend_from_slice(&input[read * channels..]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(begin: i64, frames: usize) -> Vec<f32> {
        (0..frames as i64).map(|i| (begin + i) as f32).collect()
    }

    #[test]
    fn slips_change_the_length_and_nothing_jumps() {
        for insert in [true, false] {
            for slips in 1..=SLIPS_MAX {
                for frames in [120, 480, 960, 1024, 5760] {
                    let (mut out, input) = (Vec::new(), ramp(0, frames));
                    if !slip(&input, 1, slips, insert, &mut out) {
                        assert!(frames / slips < 24);
                        continue;
                    }
                    let wanted = if insert { frames + slips } else { frames - slips };
                    assert_eq!(out.len(), wanted, "{insert} {slips} {frames}");
                    assert_eq!(out.last(), input.last());
                    for pair in out.windows(2) {
                        assert!((0.5..=1.6).contains(&(pair[1] - pair[0])), "smooth: {pair:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn steps_are_filled_or_cut_at_once() {
        let mut timeline = Timeline::new(2);
        let piece = vec![0.5; 2 * 960];
        for at in [1000, 1960] {
            assert_eq!(timeline.push(at, &piece), Placed::Queued);
        }
        // One piece is lost: exactly its length of silence.
        timeline.push(1960 + 1920, &piece);
        assert_eq!(timeline.queue.len(), 2 * 4 * 960);
        assert_eq!(timeline.take_corrections().reanchors, 1);
        // The clock steps back by 3 pieces: they are dropped, then it goes on.
        for at in [1960, 2920, 3880, 4840] {
            timeline.push(at, &piece);
        }
        assert_eq!(timeline.queue.len(), 2 * 5 * 960);
        let mut out = Vec::new();
        assert_eq!(timeline.pop(960, &mut out), Some(1000));
        assert_eq!(timeline.pop(960, &mut out), Some(1960));
        assert_eq!(timeline.push(1_000_000, &piece), Placed::Jumped);
    }

    #[test]
    fn jitter_moves_nothing() {
        let mut timeline = Timeline::new(1);
        let piece = vec![0.0; 1024];
        for i in 0..5000_i64 {
            let jitter = (i * 7919) % 96 - 48;
            timeline.push(i * 1024 + jitter, &piece);
            timeline.queue.clear();
        }
        assert_eq!(timeline.take_corrections(), Corrections::default());
    }

    #[test]
    fn drift_is_followed_within_3_ms() {
        for ppm in [-300_i64, -100, 100, 300] {
            let mut timeline = Timeline::new(1);
            let piece = vec![0.0; 960];
            for i in 0..30_000_i64 {
                let at = i * 960 + i * 960 * ppm / 1_000_000;
                timeline.push(at, &piece);
                timeline.queue.clear();
                let off = at + 960 - timeline.end.expect("anchored");
                assert!(off.abs() < RATE * 3 / 1000, "{ppm} ppm: {off} samples off at piece {i}");
            }
            let corrections = timeline.take_corrections();
            assert_eq!(corrections.reanchors, 0);
            assert!(corrections.slips > 0);
        }
    }
}
