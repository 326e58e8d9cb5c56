//! From what an RTMP encoder says about time to the Stream's clock. Pure.
//!
//! An encoder sends whole milliseconds modulo 2^32 from a zero of its own. Three steps make media time:
//!
//! 1. [`Anchor`]: one mapping for audio and video together, so that they stay in step: the first media
//!    message lies where it arrived. It moves only for a jump of the encoder's clock or for lasting drift.
//! 2. [`Grid`]: video goes to the frame grid, because 33, 34, 33 ms make parts of uneven length.
//! 3. [`SampleClock`]: audio is counted in samples, because 21, 22, 21 ms would click.
//!
//! Neither of the last two ever moves a frame by more than their bounds say; beyond them they begin anew.

mod anchor;
mod grid;
mod sample_clock;

use anchor::Anchor;
use grid::Grid;
use media::{MediaTime, Timescale};
use sample_clock::SampleClock;

/// Nanoseconds on the Stream's clock: fine enough for every rate, and 292 years of them fit.
type Nanos = i64;

const NANOS_PER_MILLI: Nanos = 1_000_000;

/// How often time had to be mended. Grows only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mends {
    /// The encoder's clock jumped.
    pub(crate) jumps: u64,
    /// The encoder's clock had drifted away from ours.
    pub(crate) drifts: u64,
    /// Audio left its sample grid.
    pub(crate) audio_reanchored: u64,
    /// Audio frames that lay in the past and were dropped.
    pub(crate) audio_dropped: u64,
    /// Video left its frame grid.
    pub(crate) video_reanchored: u64,
}

/// When a video frame is decoded and shown, in [`Timescale::VIDEO`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VideoTime {
    pub(crate) dts: MediaTime,
    pub(crate) pts: MediaTime,
    /// 0 if frames come at no steady rate.
    pub(crate) duration: u32,
}

/// Time of one publication.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    anchor: Anchor,
    grid: Grid,
    samples: SampleClock,
}

impl Timeline {
    /// The encoder says its frame rate (metadata, SPS). A measured rate takes its place if it is wrong.
    pub(crate) fn declare_frame_rate(&mut self, frames_per_second: f64) {
        self.grid.declare(frames_per_second);
    }

    /// The sample rate of the audio Track.
    pub(crate) fn set_sample_rate(&mut self, scale: Timescale) {
        self.samples = SampleClock::new(scale, self.samples.mends());
    }

    /// Places a video frame. `arrival` is when it arrived on the Stream's clock.
    pub(crate) fn video(&mut self, timestamp: u32, composition: i32, arrival: MediaTime) -> VideoTime {
        let target = self.anchor.place(timestamp, nanos(arrival));
        let dts = self.grid.place(target);
        let pts = dts + self.grid.composition(Nanos::from(composition) * NANOS_PER_MILLI);
        VideoTime { dts: video_ticks(dts), pts: video_ticks(pts), duration: self.grid.frame_ticks() }
    }

    /// Places an audio frame of so many samples, in ticks of its sample rate. `None`: it lies in what was
    /// already sent and has to be dropped.
    pub(crate) fn audio(&mut self, timestamp: u32, samples: u32, arrival: MediaTime) -> Option<MediaTime> {
        let target = self.anchor.place(timestamp, nanos(arrival));
        self.samples.place(target, samples)
    }

    /// How often time had to be mended so far.
    pub(crate) fn mends(&self) -> Mends {
        let (audio_reanchored, audio_dropped) = self.samples.mends();
        Mends {
            jumps: self.anchor.jumps(),
            drifts: self.anchor.drifts(),
            audio_reanchored,
            audio_dropped,
            video_reanchored: self.grid.reanchored(),
        }
    }
}

fn nanos(time: MediaTime) -> Nanos {
    time.as_micros().saturating_mul(1000)
}

/// 90 kHz: 9 ticks per 100 µs, rounded to nearest.
fn video_ticks(at: Nanos) -> MediaTime {
    MediaTime::new((at * 9 + 50_000).div_euclid(100_000), Timescale::VIDEO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> MediaTime {
        MediaTime::new(micros, Timescale::MICROS)
    }

    /// Milliseconds of frame `i`, as encoders round them.
    fn millis(i: i64, num: i64, den: i64) -> u32 {
        (i * 1000 * den / num) as u32
    }

    #[test]
    fn whole_milliseconds_become_even_frames() {
        for (name, num, den, ticks) in
            [("30", 30, 1, 3000), ("25", 25, 1, 3600), ("60", 60, 1, 1500), ("NTSC", 30_000, 1001, 3003)]
        {
            let mut timeline = Timeline::default();
            timeline.declare_frame_rate(num as f64 / den as f64);
            let mut last = None;
            for i in 0..2000 {
                let arrival = at(5 * SECOND + i * SECOND * den / num + (i % 7) * 3000);
                let time = timeline.video(millis(i, num, den), 0, arrival);
                if let Some(last) = last.replace(time.dts.ticks()) {
                    assert_eq!(time.dts.ticks() - last, ticks, "{name} frame {i}");
                }
                assert_eq!(time.duration, ticks as u32);
                assert_eq!(time.pts, time.dts);
            }
            assert_eq!(timeline.mends(), Mends::default(), "{name}");
        }
    }

    #[test]
    fn a_rate_that_nobody_declares_is_measured() {
        let mut timeline = Timeline::default();
        let times: Vec<_> =
            (0..300).map(|i| timeline.video(millis(i, 30, 1), 0, at(i * SECOND / 30)).dts.ticks()).collect();
        for pair in times[60..].windows(2) {
            assert_eq!(pair[1] - pair[0], 3000);
        }
    }

    #[test]
    fn a_rate_declared_wrong_is_given_up() {
        // "25" is said, 60 are sent: two frames would fall on one place of the grid.
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(25.0);
        let times: Vec<_> =
            (0..600).map(|i| timeline.video(millis(i, 60, 1), 0, at(i * SECOND / 60)).dts.ticks()).collect();
        assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "grows");
        for pair in times[300..].windows(2) {
            assert_eq!(pair[1] - pair[0], 1500);
        }
        assert!((times[599] - 599 * 1500).abs() < 15 * 90, "still where the encoder said");
    }

    #[test]
    fn a_rate_slightly_off_stays_within_two_milliseconds() {
        // 30 is said, 30000/1001 is sent.
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(30.0);
        for i in 0..20_000 {
            let said = i64::from(millis(i, 30_000, 1001));
            let time = timeline.video(said as u32, 0, at(said * 1000));
            let off = time.dts.as_micros() - said * 1000;
            assert!(off.abs() <= 4000, "frame {i}: {off} µs");
        }
        assert_eq!(timeline.mends().video_reanchored, 0);
    }

    #[test]
    fn an_uneven_source_keeps_its_times() {
        // A screen capture: frames whenever something moves.
        let mut timeline = Timeline::default();
        let mut said = 0;
        let mut last = -1;
        for i in 0..500i64 {
            said += [17, 130, 44, 16, 251][i as usize % 5] + i % 3;
            let time = timeline.video(said as u32, 0, at(said * 1000));
            assert!(time.dts.ticks() > last);
            last = time.dts.ticks();
            assert!((time.dts.as_micros() - 18_000 - said * 1000 + 18_000).abs() <= 15_000, "frame {i}");
        }
    }

    #[test]
    fn b_frames_stay_on_the_grid() {
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(30.0);
        // I P B B: shown 2, 4, 0, 0 frames after decoding, in whole milliseconds.
        for (i, ct, frames) in [(0, 67, 2), (1, 133, 4), (2, 0, 0), (3, 0, 0), (4, 33, 1), (5, -33, -1)] {
            let time = timeline.video(millis(i, 30, 1), ct, at(i * SECOND / 30));
            assert_eq!(time.pts.ticks() - time.dts.ticks(), frames * 3000);
        }
    }

    #[test]
    fn audio_is_counted_in_samples() {
        for (rate, samples) in [(48_000u32, 1024u32), (44_100, 1024), (48_000, 960), (22_050, 1024)] {
            let mut timeline = Timeline::default();
            timeline.set_sample_rate(Timescale::new(rate).unwrap());
            let step = i64::from(samples);
            let mut first = None;
            for i in 0..50_000i64 {
                let exact = i * step * SECOND / i64::from(rate);
                let time = timeline.audio((exact / 1000) as u32, samples, at(SECOND + exact)).unwrap();
                let first = *first.get_or_insert(time.ticks());
                assert_eq!(time.ticks(), first + i * step, "{rate} Hz, frame {i}");
            }
            assert_eq!(timeline.mends(), Mends::default());
        }
    }

    #[test]
    fn missing_audio_is_a_gap_and_doubled_audio_is_dropped() {
        let mut timeline = Timeline::default();
        timeline.set_sample_rate(Timescale::new(48_000).unwrap());
        let mut said = 0i64;
        let mut last = i64::MIN;
        let mut dropped = 0;
        for i in 0..400i64 {
            said += 1024;
            if i == 100 {
                said += 48_000 / 5;
            }
            if i == 200 {
                said -= 48_000 / 5;
            }
            let micros = said * SECOND / 48_000;
            match timeline.audio((micros / 1000) as u32, 1024, at(micros)) {
                Some(time) => {
                    assert!(time.ticks() >= last + 1024 || last == i64::MIN, "frame {i}");
                    last = time.ticks();
                    if ![100, 101, 200, 201].contains(&i) {
                        let off = time.ticks() - said;
                        assert!(off.abs() < 48 * 45, "frame {i} is off by {off} samples");
                    }
                }
                None => dropped += 1,
            }
        }
        assert!((7..=10).contains(&dropped), "200 ms are 9.4 frames, dropped {dropped}");
        assert_eq!(timeline.mends().audio_dropped, dropped);
        assert_eq!(timeline.mends().audio_reanchored, 1);
    }

    /// Audio and video, 60 s before and after something happens to the encoder's 32-bit clock.
    fn run_with(name: &str, start: u32, event: impl Fn(i64) -> u32, jumps: u64) {
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(30.0);
        timeline.set_sample_rate(Timescale::new(48_000).unwrap());
        let (mut last_video, mut last_audio) = (-1_000_000, -1_000_000);
        for milli in 0..120_000i64 {
            let offset = if milli >= 60_000 { event(milli) } else { 0 };
            let said = start.wrapping_add(milli as u32).wrapping_add(offset);
            let arrival = at(3 * SECOND + milli * 1000);
            // 30 fps on the millisecond below; audio each 21.333 ms.
            if milli * 30 / 1000 != (milli - 1) * 30 / 1000 || milli == 0 {
                let time = timeline.video(said, 0, arrival);
                assert!(time.dts.ticks() > last_video, "{name}: video steps back at {milli}");
                last_video = time.dts.ticks();
                let late = arrival.as_micros() - time.dts.as_micros();
                assert!(late.abs() < 60_000, "{name}: video off by {late} µs at {milli}");
            }
            let due = milli * 48 / 1024 != (milli - 1) * 48 / 1024 || milli == 0;
            if due && let Some(time) = timeline.audio(said, 1024, arrival) {
                assert!(time.ticks() > last_audio, "{name}: audio steps back at {milli}");
                last_audio = time.ticks();
                let late = arrival.as_micros() - time.as_micros();
                assert!(late.abs() < 90_000, "{name}: audio off by {late} µs at {milli}");
            }
        }
        assert_eq!(timeline.mends().jumps, jumps, "{name}: {:?}", timeline.mends());
        assert_eq!(timeline.mends().drifts, 0, "{name}");
    }

    #[test]
    fn the_encoders_clock_may_do_anything() {
        run_with("steady", 0, |_| 0, 0);
        run_with("wrap at 2^32", u32::MAX - 30_000, |_| 0, 0);
        run_with("beyond the 24 bits of a plain chunk header", 0xff_ff00, |_| 0, 0);
        run_with("+2^31", 5, |_| 1 << 31, 1);
        run_with("back to the beginning", 1_000_000, |_| 0u32.wrapping_sub(1_060_000), 1);
        run_with("an hour ahead", 0, |_| 3_600_000, 1);
        run_with("ten seconds back", 100_000, |_| 0u32.wrapping_sub(10_000), 1);
    }

    #[test]
    fn a_stalled_network_changes_nothing() {
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(30.0);
        let mut last = None;
        for i in 0..3000i64 {
            // Nothing arrives between 20 s and 26 s, then all of it at once.
            let sent = i * SECOND / 30;
            let arrival = if (20 * SECOND..26 * SECOND).contains(&sent) { 26 * SECOND } else { sent };
            let time = timeline.video(millis(i, 30, 1), 0, at(arrival));
            if let Some(last) = last.replace(time.dts.ticks()) {
                assert_eq!(time.dts.ticks() - last, 3000, "frame {i}");
            }
        }
        assert_eq!(timeline.mends(), Mends::default());
    }

    #[test]
    fn lasting_drift_moves_audio_and_video_together() {
        // Encoder clocks that are off by ±1 %: 500 ms after 50 s.
        for (name, permille) in [("slow", 990i64), ("fast", 1010)] {
            let mut timeline = Timeline::default();
            timeline.declare_frame_rate(30.0);
            timeline.set_sample_rate(Timescale::new(48_000).unwrap());
            let (mut last_video, mut last_audio) = (-1_000_000, -1_000_000);
            for milli in 0..300_000i64 {
                let arrival = at(milli * 1000 * 1000 / permille);
                if milli * 30 / 1000 != (milli - 1) * 30 / 1000 {
                    let time = timeline.video(milli as u32, 0, arrival);
                    assert!(time.dts.ticks() > last_video);
                    last_video = time.dts.ticks();
                    let late = arrival.as_micros() - time.dts.as_micros();
                    assert!(late.abs() < 800_000, "{name}: off by {late} µs at {milli}");
                }
                if milli * 48 / 1024 != (milli - 1) * 48 / 1024
                    && let Some(time) = timeline.audio(milli as u32, 1024, arrival)
                {
                    assert!(time.ticks() > last_audio);
                    last_audio = time.ticks();
                    // Right after a shift video still squeezes its way back.
                    let apart = time.as_micros() - last_video * 1000 / 90;
                    assert!(milli < 100 || apart.abs() < 700_000, "{name}: {apart} µs apart at {milli}");
                }
            }
            assert!((3..=7).contains(&timeline.mends().drifts), "{name}: {:?}", timeline.mends());
        }
    }

    #[test]
    fn a_file_pushed_too_fast_keeps_its_own_time() {
        let mut timeline = Timeline::default();
        timeline.declare_frame_rate(25.0);
        timeline.set_sample_rate(Timescale::new(48_000).unwrap());
        for i in 0..5000i64 {
            let time = timeline.video(millis(i, 25, 1), 0, at(i * 1000));
            assert_eq!(time.dts.ticks(), i * 3600);
        }
        assert_eq!(timeline.mends(), Mends::default());
    }
}
