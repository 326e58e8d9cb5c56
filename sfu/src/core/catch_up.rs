//! Instant start: when a cached group of pictures may be sent in a burst, and how fast.
//!
//! Hardware decoders queue 8 frames, then flush and ask for a keyframe; hence a window. A receiver anchors
//! its playout clock on the first frames, hence every frame is stamped with the live edge at its own send
//! time (see `forward::rewriter`), and the burst ends where the live frames go on.

use std::time::{Duration, Instant};

use super::history::Gop;
use crate::bwe::ESTIMATE_MIN_BPS;

/// Frames in any [`WINDOW`]: what a hardware decoder takes.
const FRAMES_PER_WINDOW: usize = 8;
/// A frame's time at 30 frames per second.
const WINDOW: Duration = Duration::from_millis(33);
/// From one frame to the next at full speed.
const FRAME_GAP: Duration = Duration::from_micros(4125);
/// Longest burst: a GOP of 10 s at 30 frames per second just fits.
const FRAMES_MAX: u32 = 400;
/// Longest burst by plan; beyond it a fresh keyframe is nearly as quick.
const PLAN_MAX: Duration = Duration::from_millis(1500);
/// A burst that was slowed down by loss is given up after twice the plan.
const GIVE_UP: Duration = Duration::from_millis(3000);
/// Largest burst: 1.5 s at the start rate, rounded up.
const BYTES_MAX: usize = 4 << 20;
/// The highest rate, for which a burst is planned while nothing is known of the line.
pub(crate) const RATE_MAX_BPS: u64 = 20_000_000;
/// Where the rate starts while nothing is known of the line: so many times the picture's own. A line that watches
/// it has that in reserve, or the burst will tell within two tenths of a second that it has not.
const START_TIMES: u64 = 3;
/// Without feedback of the line the rate is not halved below this: a burst not much faster than the picture never
/// ends, and some lines lose packets at any rate (measured: at 1 Mbit/s and 5 % of random loss every other burst was
/// given up).
const RATE_MIN_BPS: u64 = 5_000_000;
/// Packets of a frame that go at once: what the line takes in this time, up to so many.
const PART_TIME: Duration = Duration::from_millis(5);
const PART_PACKETS_MAX: u64 = 16;
/// From one look at what is left to the next, once the line has shown its limit.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A group whose keyframe is no older is sent if the line takes any more than the picture: who gave it up would wait for
/// nearly a whole group. On a line of 1.5 times the picture it is caught up in twice its age.
const FRESH_MAX: Duration = Duration::from_millis(500);
/// One loss makes several reports, and what was sent before the first goes on making them: halve once per
/// this time.
const HALVE_INTERVAL: Duration = Duration::from_millis(250);

/// How long a group takes as a burst at that rate; `None`: it is not to be sent as one. `frame`: how long a frame lasts
/// at the source.
pub(crate) fn plan(gop: &Gop, frame: Duration, rate_bps: u64) -> Option<Duration> {
    if gop.frames == 0 || gop.frames > FRAMES_MAX || gop.bytes > BYTES_MAX {
        return None;
    }
    let bytes_per_frame = gop.bytes as u64 / u64::from(gop.frames);
    let sending = sending_time(bytes_per_frame, rate_bps);
    if gop.frames == 1 {
        return Some(sending);
    }
    let gap = FRAME_GAP.max(sending);
    // While the burst runs the source goes on: n frames take n·gap / (1 - gap/frame).
    let ahead = 1.0 - gap.as_secs_f64() / frame.as_secs_f64();
    if ahead <= 0.0 {
        return None;
    }
    let total = gap.as_secs_f64() * f64::from(gop.frames - 1) / ahead;
    (total <= PLAN_MAX.as_secs_f64()).then(|| Duration::from_secs_f64(total))
}

/// Where a burst starts that nothing is known of the line of. `media_bps`: of the picture, if known.
pub(crate) fn start_rate(media_bps: Option<u64>) -> u64 {
    media_bps.map_or(RATE_MIN_BPS, |bps| (bps * START_TIMES).clamp(RATE_MIN_BPS, RATE_MAX_BPS))
}

fn sending_time(bytes: u64, rate_bps: u64) -> Duration {
    Duration::from_micros(bytes * 8 * 1_000_000 / rate_bps)
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Send the next frame.
    Go,
    /// Not before then.
    Wait(Instant),
    /// It takes too long: wait for a keyframe.
    GiveUp,
}

/// One viewer's burst.
#[derive(Debug)]
pub(crate) struct CatchUp {
    /// The source's number of the next packet.
    pub(crate) next: u64,
    /// Packets of the frame under way have been sent: it is finished, however long that takes.
    pub(crate) in_frame: bool,
    /// There is nothing to fall back to: it may take longer than planned.
    patient: bool,
    /// Its keyframe has just come, and the next one is far: only [`GIVE_UP`] ends it.
    fresh: bool,
    /// Its frames are only a little late: they keep their times.
    pub(crate) own_times: bool,
    began: Instant,
    due: Instant,
    rate_bps: u64,
    halved: Option<Instant>,
    looked: Option<Instant>,
    /// Send times of the last frames, a ring.
    sent: [Option<Instant>; FRAMES_PER_WINDOW],
    at: usize,
}

impl CatchUp {
    pub(crate) fn new(now: Instant, first: u64, rate_bps: u64) -> Self {
        Self {
            next: first,
            in_frame: false,
            patient: false,
            fresh: false,
            own_times: false,
            began: now,
            due: now,
            rate_bps: rate_bps.max(1),
            halved: None,
            looked: None,
            sent: [None; FRAMES_PER_WINDOW],
            at: 0,
        }
    }

    /// A burst of a Layer that the viewer has been moved to.
    pub(crate) fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    /// A burst of a group whose keyframe came at that time.
    pub(crate) fn of_keyframe_at(self, since: Instant) -> Self {
        Self { fresh: self.began.saturating_duration_since(since) <= FRESH_MAX, ..self }
    }

    /// A burst that makes up for a few frames that have just passed.
    pub(crate) fn at_own_times(self) -> Self {
        Self { own_times: true, ..self }
    }

    pub(crate) fn turn(&self, now: Instant) -> Turn {
        if self.in_frame {
            return if self.due <= now { Turn::Go } else { Turn::Wait(self.due) };
        }
        if now.saturating_duration_since(self.began) > GIVE_UP {
            return Turn::GiveUp;
        }
        let window_opens = self.sent[self.at].map_or(now, |sent| sent + WINDOW);
        let due = self.due.max(window_opens);
        if due <= now { Turn::Go } else { Turn::Wait(due) }
    }

    /// How many packets go at once.
    pub(crate) fn part_packets(&self) -> u64 {
        let bytes = self.rate_bps / 8 * PART_TIME.as_millis() as u64 / 1000;
        (bytes / 1200).clamp(1, PART_PACKETS_MAX)
    }

    /// A frame of that many bytes begins to be sent.
    pub(crate) fn begin_frame(&mut self, now: Instant, bytes: usize) {
        self.sent[self.at] = Some(now);
        self.at = (self.at + 1) % FRAMES_PER_WINDOW;
        // A late wake-up is made up for, by no more than a window.
        let due = self.due.max(now.checked_sub(WINDOW).unwrap_or(now));
        self.due = due + FRAME_GAP.max(sending_time(bytes as u64, self.rate_bps));
    }

    /// More of the same frame is sent.
    pub(crate) fn go_on(&mut self, bytes: usize) {
        self.due += sending_time(bytes as u64, self.rate_bps);
    }

    /// The line has told what it takes of the burst; `media_bps`: what the picture takes.
    pub(crate) fn set_rate(&mut self, line_bps: u64, media_bps: u64) {
        let line_bps = line_bps.min(RATE_MAX_BPS);
        // What is measured of a line comes out a little low where little is sent: it gets the benefit of the doubt, as a
        // picture that runs does (`pacer`), rather than nothing for a whole group.
        let doubtful = self.fresh && (line_bps..=line_bps * 5 / 4).contains(&media_bps);
        let rate_bps = if doubtful { media_bps * 5 / 4 } else { line_bps };
        // Whatever the viewer reports: at nothing per second a packet would take for ever.
        self.rate_bps = rate_bps.max(ESTIMATE_MIN_BPS);
    }

    /// Whether it is time to ask [`Self::is_too_slow`]: it looks at everything that is left.
    pub(crate) fn looks(&mut self, now: Instant) -> bool {
        let looks =
            !self.in_frame && self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_INTERVAL);
        if looks {
            self.looked = Some(now);
        }
        looks
    }

    /// Whether the burst, with so many bytes left and a picture that goes on, would not end in time.
    pub(crate) fn is_too_slow(&self, now: Instant, bytes: usize, media_bps: u64) -> bool {
        let gain = self.rate_bps.saturating_sub(media_bps);
        let left = sending_time(bytes as u64, gain.max(1));
        let most = if self.patient { GIVE_UP } else { PLAN_MAX };
        let worth_it = self.fresh && gain > 0;
        !worth_it && bytes > 0 && now.saturating_duration_since(self.began) + left > most
    }

    /// The viewer lost something or asked for a keyframe: the line does not take this rate.
    pub(crate) fn slow_down(&mut self, now: Instant) {
        if self.halved.is_none_or(|at| now.saturating_duration_since(at) >= HALVE_INTERVAL) {
            self.halved = Some(now);
            self.rate_bps = (self.rate_bps / 2).max(RATE_MIN_BPS.min(self.rate_bps));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    fn gop(frames: u32, bytes: usize) -> Gop {
        let mut history = super::super::history::History::default();
        let now = beginning();
        for seq in 0..frames {
            let mut packet =
                super::super::history::tests::packet(seq.into(), seq.into(), seq == 0, true, now);
            packet.payload = bytes::Bytes::from(vec![0; bytes / frames as usize]);
            history.push(now, packet);
        }
        history.whole_gop().expect("whole")
    }

    #[test]
    fn bounds_decide_what_fits() {
        let at = |fps: u64| Duration::from_micros(1_000_000 / fps);
        for (name, frames, bytes, fps, yes) in [
            ("10 s at 30 fps and 2.5 Mbit/s", 300, 3_100_000, 30, true),
            ("10 s at 25 fps", 250, 2_000_000, 25, true),
            ("a lone keyframe of 1 MB", 1, 1_000_000, 30, true),
            ("20 s at 30 fps", 600, 1_000_000, 30, false),
            ("10 s at 6 Mbit/s", 300, 7_500_000, 30, false),
            ("faster than the burst", 200, 200_000, 300, false),
        ] {
            assert_eq!(plan(&gop(frames, bytes), at(fps), RATE_MAX_BPS).is_some(), yes, "{name}");
        }
    }

    #[test]
    fn a_slower_line_takes_longer() {
        let frame = Duration::from_micros(33_333);
        let second = gop(30, 60_000);
        let plan = |rate| plan(&second, frame, rate).map(|plan| plan.as_millis());
        // 2000 bytes per frame: 16 ms of each 33 at 1 Mbit/s, nearly all of them at 500 kbit/s.
        assert_eq!(plan(RATE_MAX_BPS), Some(136));
        assert_eq!(plan(1_000_000), Some(892));
        assert_eq!(plan(500_000), None);
    }

    #[test]
    fn no_window_carries_more_than_8_frames_however_late_the_clock() {
        let start = beginning();
        for step in [1, 5, 13, 60] {
            let mut catch_up = CatchUp::new(start, 0, RATE_MAX_BPS);
            let mut sent = Vec::new();
            let mut now = start;
            while sent.len() < 100 {
                while catch_up.turn(now) == Turn::Go && sent.len() < 100 {
                    catch_up.begin_frame(now, 1000);
                    sent.push(now);
                }
                now += Duration::from_millis(step);
            }
            for (at, first) in sent.iter().enumerate() {
                let inside = sent[at..].iter().filter(|sent| **sent - *first < WINDOW).count();
                assert!(inside <= FRAMES_PER_WINDOW, "{inside} frames in a window, step {step} ms");
            }
            if step == 5 {
                assert!(now - start < Duration::from_millis(460), "{:?}", now - start);
            }
        }
    }

    #[test]
    fn it_slows_down_on_loss_and_gives_up() {
        let now = beginning();
        let mut catch_up = CatchUp::new(now, 0, RATE_MAX_BPS);
        catch_up.slow_down(now);
        catch_up.slow_down(now);
        catch_up.begin_frame(now, 125_000);
        assert_eq!(catch_up.turn(now), Turn::Wait(now + Duration::from_millis(100)), "10 Mbit/s");
        assert_eq!(catch_up.turn(now + GIVE_UP * 2), Turn::GiveUp);
    }

    #[test]
    fn a_line_that_says_it_takes_nothing_is_sent_something() {
        let now = beginning();
        for (line_bps, media_bps) in [(0, 0), (0, 2_500_000), (1, 1)] {
            let mut catch_up = CatchUp::new(now, 0, RATE_MAX_BPS).of_keyframe_at(now);
            catch_up.set_rate(line_bps, media_bps);
            catch_up.begin_frame(now, 1250);
            catch_up.go_on(1250);
            let second = Duration::from_secs(1);
            let waits = Turn::Wait(now + second * 2 / 5);
            assert_eq!(catch_up.turn(now), waits, "10,000 bits twice at {ESTIMATE_MIN_BPS} bit/s");
        }
    }

    #[test]
    fn a_line_decides_how_fast_it_goes_and_whether() {
        let (now, frame) = (beginning(), Duration::from_millis(33));
        // 2 s of 2.5 Mbit/s.
        let gop = gop(60, 625_000);
        for (line_bps, fits) in
            [(RATE_MAX_BPS, true), (10_000_000, true), (6_000_000, true), (3_750_000, false)]
        {
            assert_eq!(plan(&gop, frame, line_bps).is_some(), fits, "{line_bps}");
        }
        assert_eq!(start_rate(Some(2_500_000)), 7_500_000);
        assert_eq!(start_rate(Some(250_000)), RATE_MIN_BPS);
        let mut catch_up = CatchUp::new(now, 0, 7_500_000);
        assert!(!catch_up.is_too_slow(now, 625_000, 2_500_000));
        catch_up.set_rate(3_750_000, 2_500_000);
        assert!(catch_up.is_too_slow(now, 625_000, 2_500_000));
        assert!(!catch_up.is_too_slow(now, 100_000, 2_500_000), "a keyframe that has just come");
        catch_up.set_rate(2_000_000, 2_500_000);
        assert!(catch_up.is_too_slow(now, 1000, 2_500_000), "it would never end");
        let of_keyframe = |age: Duration| CatchUp::new(now + age, 0, 2_600_000).of_keyframe_at(now);
        assert!(!of_keyframe(FRESH_MAX).is_too_slow(now, 40_000, 2_500_000), "the next keyframe is far");
        assert!(of_keyframe(FRESH_MAX).is_too_slow(now, 40_000, 2_600_000), "it would never end");
        let mut fresh = of_keyframe(FRESH_MAX);
        fresh.set_rate(2_000_000, 2_500_000);
        assert!(!fresh.is_too_slow(now, 40_000, 2_500_000), "nearly enough, as far as is known");
        fresh.set_rate(1_900_000, 2_500_000);
        assert!(fresh.is_too_slow(now, 40_000, 2_500_000));
        assert!(of_keyframe(FRESH_MAX * 2).is_too_slow(now, 40_000, 2_500_000));
    }
}
