//! Where to cut. Pure: times in, decisions out.
//!
//! There is one list of segment boundaries per Stream, by clock, for all Renditions. The leader (video, or
//! audio where there is none) makes it; each Rendition cuts itself where its own frames pass a boundary.

use std::time::Duration;

use media::MediaTime;

use crate::probe::Targets;

/// How much longer than TARGETDURATION a segment may get while it waits for a keyframe: EXTINF is rounded
/// to an integer before it is compared (section 4.4.4.1), and Apple allows 0.5 s (rule 7.7).
const OVERTIME_MICROS: i64 = 450_000;

/// A keyframe closes the segment if the next one, one GOP later, would be more than this too late; so a GOP that is
/// longer by this than the segment that is wanted still makes one.
pub(crate) const GOP_GRACE: Duration = Duration::from_millis(50);

/// Where the first segment is cut at the latest: nobody can start before it is complete.
const FIRST_MICROS: i64 = 4_000_000;

/// How long before TARGETDURATION a keyframe is asked for: the way to the encoder and back.
const ASK_AHEAD_MICROS: i64 = 150_000;

/// A segment boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Media Sequence Number of the segment that begins here.
    pub(crate) msn: u64,
    /// Presentation time of its first frame.
    pub(crate) at: MediaTime,
    /// EXT-X-DISCONTINUITY.
    pub(crate) discontinuity: bool,
    /// Which publication the frames of the segment are from.
    pub(crate) epoch: u32,
    /// Video begins with a keyframe.
    pub(crate) independent: bool,
}

/// A frame of the leader, as far as cutting goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Presentation time.
    pub(crate) at: MediaTime,
    /// A decoder can start here.
    pub(crate) keyframe: bool,
    /// Timestamps or parameters changed: a new segment with a DISCONTINUITY, whatever its length.
    pub(crate) breaks: bool,
    /// See [`Cut::epoch`].
    pub(crate) epoch: u32,
}

/// Makes the list of boundaries.
#[derive(Debug)]
pub(crate) struct Segmenter {
    target_micros: i64,
    wanted_micros: i64,
    next_msn: u64,
    start: Option<i64>,
    last: i64,
    /// Of any Layer, `last` is the leader's.
    newest: i64,
    step: i64,
    last_keyframe: i64,
    asked: bool,
}

impl Segmenter {
    /// No segment is longer than `target_duration`; keyframes end one that lasted about `wanted`.
    pub(crate) fn new(target_duration: u32, wanted: Duration) -> Self {
        let target_micros = i64::from(target_duration) * 1_000_000;
        let wanted_micros = i64::try_from(wanted.as_micros()).unwrap_or(i64::MAX);
        Self {
            target_micros,
            wanted_micros: wanted_micros.min(target_micros),
            next_msn: 0,
            start: None,
            last: 0,
            newest: 0,
            step: 0,
            last_keyframe: 0,
            asked: false,
        }
    }

    /// Looks at the leader's next frame; `Some` if a segment begins with it.
    pub(crate) fn on_frame(&mut self, mark: Mark) -> Option<Cut> {
        let at = mark.at.as_micros();
        self.step = at - self.last;
        let cut = self.decide(at, &mark);
        (self.last, self.newest) = (at, self.newest.max(at));
        if mark.keyframe {
            self.last_keyframe = at;
        }
        cut.then(|| self.cut(mark))
    }

    /// Looks at a frame of another Layer. It makes a boundary only where the leader should have made one: with
    /// the first answer to the demand for keyframes, or when the segment is about to become too long. Never behind
    /// the leader: audio was let through up to there.
    pub(crate) fn on_follower(&mut self, mark: Mark) -> Option<Cut> {
        let (at, start) = (mark.at.as_micros(), self.start?);
        self.newest = self.newest.max(at);
        let answers = self.asked && mark.keyframe;
        let late = at - start + self.step > self.longest();
        if at < self.last || !(answers || late) {
            return None;
        }
        if mark.keyframe {
            self.last_keyframe = at;
        }
        Some(self.cut(Mark { breaks: false, ..mark }))
    }

    /// Another Layer leads from its next frame on.
    pub(crate) fn change_leader(&mut self) {
        (self.last, self.step) = (self.newest, 0);
    }

    fn cut(&mut self, mark: Mark) -> Cut {
        let discontinuity = mark.breaks && self.start.is_some();
        self.start = Some(mark.at.as_micros());
        self.asked = false;
        let msn = self.next_msn;
        self.next_msn += 1;
        Cut { msn, at: mark.at, discontinuity, epoch: mark.epoch, independent: mark.keyframe }
    }

    fn decide(&self, at: i64, mark: &Mark) -> bool {
        let Some(start) = self.start else { return mark.keyframe };
        if mark.breaks {
            return true;
        }
        let elapsed = at - start;
        if mark.keyframe {
            let gop = at - self.last_keyframe;
            return elapsed + gop > self.wanted_micros + GOP_GRACE.as_micros() as i64;
        }
        elapsed + self.step > self.longest()
    }

    /// How long a segment may become while it waits for a keyframe.
    fn longest(&self) -> i64 {
        let first = self.next_msn == 1 && self.target_micros > FIRST_MICROS;
        if first { FIRST_MICROS } else { self.target_micros + OVERTIME_MICROS }
    }

    /// True once per segment, when it is time to ask the encoder for the keyframe that ends it.
    pub(crate) fn wants_keyframe(&mut self) -> bool {
        let Some(start) = self.start else { return false };
        let due = self.newest - start >= self.target_micros - ASK_AHEAD_MICROS;
        due && !std::mem::replace(&mut self.asked, true)
    }
}

/// When a part is full, in ticks of its Track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartRule {
    /// PART-TARGET, rounded down: no part is longer (section 4.4.4.9; AVPlayer has no tolerance).
    pub(crate) target: u64,
    /// 85 % of it, rounded up: parts that are not the last of their segment are no shorter.
    least: u64,
    /// So many even parts make a segment of so many ticks.
    parts: u64,
    segment: u64,
}

impl PartRule {
    pub(crate) fn new(targets: &Targets, hz: u32) -> Self {
        let scaled = targets.part_target.as_millis() as u64 * u64::from(hz);
        let segment = targets.even.segment.as_micros() * u128::from(hz) / 1_000_000;
        Self {
            target: scaled / 1000,
            least: (scaled * 85).div_ceil(100_000),
            parts: u64::from(targets.even.parts),
            segment: u64::try_from(segment).unwrap_or(u64::MAX),
        }
    }

    /// The part of `filled` ticks is as even as whole frames allow: it is number `part` of its segment, from zero, which
    /// lasts `elapsed` ticks with it.
    ///
    /// Frames of sound do not divide a segment. In parts as long as PART-TARGET each saves a bit, and the last one is what is
    /// left: of 2 s in parts of 0.2 s, 85 ms. hls.js 1.7.4 takes a segment for complete that ends while the part before is
    /// still on its way, and leaves a hole; a last part that comes soon after it makes that likely.
    pub(crate) fn is_even(&self, filled: u64, part: u64, elapsed: u64) -> bool {
        // The last one takes what is left: a frame that is stamped a bit late would make one more.
        let inner = !(part + 1).is_multiple_of(self.parts);
        let due = elapsed.saturating_mul(self.parts) >= (part + 1).saturating_mul(self.segment);
        inner && due && self.may_end(filled)
    }

    /// A sample of `next` ticks does not fit behind `filled` ticks.
    pub(crate) fn overflows(&self, filled: u64, next: u64) -> bool {
        filled > 0 && filled + next > self.target
    }

    /// Nothing as long as `expected` will fit: publish now instead of waiting for proof.
    pub(crate) fn is_full(&self, filled: u64, expected: u64) -> bool {
        self.may_end(filled) && filled + expected > self.target
    }

    /// A part of `filled` ticks may end though its segment goes on.
    pub(crate) fn may_end(&self, filled: u64) -> bool {
        filled >= self.least
    }
}

#[cfg(test)]
mod tests {
    use media::Timescale;

    use super::*;

    /// Segment lengths in ms for keyframes at `keyframes` and 25 fps in between, up to `end`.
    fn lengths(target: u32, keyframes: impl Fn(i64) -> bool, end: i64) -> Vec<(i64, bool)> {
        let mut segmenter = Segmenter::new(target, Duration::from_secs(2));
        let mut cuts = Vec::new();
        for ms in (0..end).step_by(40) {
            let at = MediaTime::from_micros(ms * 1000, Timescale::VIDEO);
            let mark = Mark { at, keyframe: keyframes(ms), breaks: false, epoch: 0 };
            if let Some(cut) = segmenter.on_frame(mark) {
                cuts.push((ms, cut.independent));
            }
        }
        cuts.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[0].1)).collect()
    }

    #[test]
    fn segments_follow_the_gop() {
        assert_eq!(lengths(2, |ms| ms % 2000 == 0, 8_100), [(2000, true); 4]);
        assert_eq!(lengths(2, |ms| ms % 1000 == 0, 8_100), [(2000, true); 4]);
        assert_eq!(lengths(2, |ms| ms % 480 == 0, 8_000), [(1920, true); 4]);
        assert_eq!(lengths(4, |ms| ms % 4160 == 0, 13_000), [(4160, true); 3]);
    }

    #[test]
    fn a_long_gop_is_cut_without_a_keyframe() {
        let long = lengths(10, |ms| ms % 16_000 == 0, 32_100);
        assert_eq!(long, [(4000, true), (10_440, false), (1560, false), (10_440, true), (5560, false)]);
        let usual = lengths(10, |ms| ms % 8320 == 0, 25_000);
        assert_eq!(usual, [(4000, true), (4320, false), (8320, true), (8320, true)], "only the first is cut");
    }

    #[test]
    fn a_keyframe_is_asked_for_once_per_segment() {
        let mut segmenter = Segmenter::new(2, Duration::from_secs(2));
        let asked = (0..6000)
            .step_by(40)
            .filter(|ms| {
                let at = MediaTime::from_micros(ms * 1000, Timescale::VIDEO);
                segmenter.on_frame(Mark { at, keyframe: ms % 2000 == 0, breaks: false, epoch: 0 });
                segmenter.wants_keyframe()
            })
            .count();
        assert_eq!(asked, 3);
    }
}
