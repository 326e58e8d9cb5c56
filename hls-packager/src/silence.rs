//! Silence for holes in sound: a lost packet, a clip that is played again from its beginning.
//!
//! A browser plays what its decoder makes of the frames one after the other. Where one is missing Chromium does not wait:
//! all sound after a hole of up to 50 ms comes too early, by the sum of all holes, until somebody seeks; and once that is
//! as much as is buffered, playback stands (its media log says "Large timestamp gap detected; may cause AV sync to
//! drift"). So each frame that is missing is written, without sound.

use bytes::Bytes;
use media::aac::SAMPLES_PER_FRAME;
use media::{CodecConfig, Frame, MediaTime};

/// Frames put into one hole at most: 2 s at 48 kHz. Longer pauses are a DISCONTINUITY where sound leads; else the hole stays.
const FRAMES_MAX: i64 = 94;

/// The frames that are missing between `last` and `next`, on the same timescale.
pub(crate) fn between(last: &Frame, next: &Frame) -> impl Iterator<Item = Frame> + use<> {
    let missing = missing(last, next);
    let (count, step, data) = missing.unwrap_or((0, 0, Bytes::new()));
    let template = Frame { data, ..last.clone() };
    (1..=count).map(move |number| {
        let later = |time: MediaTime| MediaTime::new(time.ticks() + number * step, time.scale());
        Frame { dts: later(template.dts), pts: later(template.pts), ..template.clone() }
    })
}

/// How many, how far apart in ticks, and what they are.
fn missing(last: &Frame, next: &Frame) -> Option<(i64, i64, Bytes)> {
    let CodecConfig::Aac(config) = &*last.config else { return None };
    if last.epoch != next.epoch || (last.config != next.config) {
        return None;
    }
    let silence = config.silence()?;
    let step =
        i64::from(SAMPLES_PER_FRAME) * i64::from(last.dts.scale().hz()) / i64::from(config.sample_rate);
    let apart = next.dts.ticks().checked_sub(last.dts.ticks())?;
    // To the nearest: RTMP stamps are whole milliseconds.
    let count = (apart + step / 2).checked_div(step)? - 1;
    (1..=FRAMES_MAX).contains(&count).then(|| (count, step, Bytes::from_static(silence)))
}
