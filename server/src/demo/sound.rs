//! The tone: a soft 440 Hz bed, and a 1 kHz beep with each flash of the picture.

use std::f64::consts::TAU;

use super::scene::FLASH_MILLIS;

const BED_HZ: f64 = 440.0;
const BED_LEVEL: f64 = 0.02;
const BEEP_HZ: f64 = 1000.0;
const BEEP_LEVEL: f64 = 0.30;
/// Fades of the beep: short enough to see where it begins, long enough not to click.
const FADE_MICROS: u64 = 1_000;

/// Makes sound whose first sample lies at a known wall-clock time.
pub(super) struct Sound {
    rate: u32,
    start_unix_micros: u64,
    next: u64,
}

impl Sound {
    /// Sound from `start_unix_micros` on.
    pub(super) fn new(rate: u32, start_unix_micros: u64) -> Self {
        Self { rate: rate.max(1), start_unix_micros, next: 0 }
    }

    /// Replaces `out` by the next `frames`, in stereo.
    pub(super) fn make(&mut self, frames: usize, out: &mut Vec<f32>) {
        out.clear();
        for sample in self.next..self.next + frames as u64 {
            let micros = self.start_unix_micros + sample * 1_000_000 / u64::from(self.rate);
            // From the whole second, so that sine arguments stay small and exact for days.
            let seconds = (micros % 1_000_000) as f64 / 1e6;
            let bed = BED_LEVEL * (TAU * BED_HZ * seconds).sin();
            let beep = beep_level(micros % 1_000_000) * (TAU * BEEP_HZ * seconds).sin();
            let value = (bed + beep) as f32;
            out.extend([value, value]);
        }
        self.next += frames as u64;
    }
}

fn beep_level(micros: u64) -> f64 {
    let end = FLASH_MILLIS * 1000;
    if micros >= end {
        return 0.0;
    }
    let fade = micros.min(end - micros) as f64 / FADE_MICROS as f64;
    BEEP_LEVEL * fade.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beeps_for_100_ms_at_each_whole_second() {
        let mut sound = Sound::new(48_000, 7_400_000);
        let mut samples = Vec::new();
        sound.make(48_000, &mut samples);
        let loud = |from: usize, to: usize| {
            let part = samples[2 * from..2 * to].iter();
            part.fold(0.0_f32, |peak, sample| peak.max(sample.abs()))
        };
        // The second begins after 600 ms.
        assert!(loud(0, 28_800) < 0.03);
        assert!(loud(28_800, 28_920) > 0.25, "within 2.5 ms");
        assert!(loud(33_600, 48_000) < 0.03);
    }
}
