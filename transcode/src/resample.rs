//! Any sample rate to 48 kHz.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use crate::Error;
use crate::timeline::RATE;

/// Input frames per step: one AAC frame, so that sound does not wait for a second one.
const STEP_FRAMES: usize = 1024;

/// Resamples interleaved sound to 48 kHz and knows how late it is.
pub(crate) struct Resampler {
    fft: Fft<f32>,
    channels: usize,
    rate: u32,
    waiting: Vec<f32>,
    step_out: Vec<f32>,
    frames_in: u64,
    frames_out: u64,
}

impl Resampler {
    /// From `rate` to 48 kHz.
    pub(crate) fn new(rate: u32, channels: usize) -> Result<Self, Error> {
        let fft = Fft::new(rate as usize, RATE as usize, STEP_FRAMES, channels, FixedSync::Input)
            .map_err(|error| Error::Open { what: "the resampler", why: error.to_string() })?;
        let step_out = vec![0.0; fft.output_frames_max() * channels];
        Ok(Self { fft, channels, rate, waiting: Vec::new(), step_out, frames_in: 0, frames_out: 0 })
    }

    /// Resamples `input`, which begins at `at` (in 48 kHz ticks), and appends to `out` what is ready.
    /// Answers where the appended sound begins.
    pub(crate) fn push(&mut self, at: i64, input: &[f32], out: &mut Vec<f32>) -> Result<i64, Error> {
        // The next frame to come out was made from the input that lies `behind` frames back.
        let arrived = self.frames_in as f64 * f64::from(RATE as u32) / f64::from(self.rate);
        let behind = arrived - self.frames_out as f64 + self.fft.output_delay() as f64;
        self.frames_in += (input.len() / self.channels) as u64;
        self.waiting.extend_from_slice(input);
        let mut used = 0;
        while self.waiting.len() / self.channels - used >= self.fft.input_frames_next() {
            let step = self.fft.input_frames_next();
            let room = self.step_out.len() / self.channels;
            let samples = &self.waiting[used * self.channels..(used + step) * self.channels];
            let input = InterleavedSlice::new(samples, self.channels, step).map_err(wrong)?;
            let mut output =
                InterleavedSlice::new_mut(&mut self.step_out, self.channels, room).map_err(wrong)?;
            let (_, produced) = self.fft.process_into_buffer(&input, &mut output, None).map_err(wrong)?;
            out.extend_from_slice(&self.step_out[..produced * self.channels]);
            self.frames_out += produced as u64;
            used += step;
        }
        self.waiting.drain(..used * self.channels);
        Ok(at - behind.round() as i64)
    }
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Encode { what: "a block of samples", why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A click at a known place comes out at that place, whatever the rate and the sizes of the pieces.
    #[test]
    fn knows_where_its_output_begins() {
        for rate in [8_000_u32, 11_025, 22_050, 24_000, 32_000, 44_100, 96_000] {
            let mut resampler = Resampler::new(rate, 1).expect("rates of AAC");
            let (mut sound, mut begin) = (Vec::new(), None);
            let click = rate as usize / 2;
            let input: Vec<f32> =
                (0..rate as usize).map(|i| if i.abs_diff(click) < 8 { 1.0 } else { 0.0 }).collect();
            let mut fed = 0_i64;
            for piece in input.chunks(1000) {
                let at = 7_000 + fed * i64::from(RATE as u32) / i64::from(rate);
                let before = sound.len() as i64;
                let place = resampler.push(at, piece, &mut sound).expect("resamples");
                let first = *begin.get_or_insert(place);
                assert!((place - first - before).abs() <= 1, "pieces follow each other at {rate}");
                fed += piece.len() as i64;
            }
            let loudest = (0..sound.len()).max_by(|&a, &b| {
                let energy =
                    |i: usize| sound[i.saturating_sub(8)..(i + 8).min(sound.len())].iter().sum::<f32>();
                energy(a).total_cmp(&energy(b))
            });
            let place = begin.expect("something came out") + loudest.expect("not empty") as i64;
            assert!((place - (7_000 + 24_000)).abs() < 48, "{rate}: click at {place}");
        }
    }
}
