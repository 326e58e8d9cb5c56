//! Does the encoder reorder frames (B-frames), and what can be done about it for WebRTC?

use crate::{CodecConfig, Frame};

/// WebRTC shows frames in the order in which it gets them, so B-frames must be dealt with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Reordering {
    /// Frames are shown in the order in which they are sent.
    #[default]
    None,
    /// Without the discardable frames the rest is in order: send that.
    DropDiscardable,
    /// Reference frames are reordered (a B-pyramid): WebRTC cannot carry it.
    Unplayable,
}

/// Complete GOPs that say more than the parameter sets do, and after which B-frames that vanished are
/// forgotten.
const GOPS: usize = 2;

/// Watches one Layer. Looks at the last two GOPs, and at what the parameter sets announce.
#[derive(Debug, Default)]
pub struct ReorderingMonitor {
    /// What the current GOP (first) and the complete ones before it needed.
    needed: [Reordering; GOPS + 1],
    /// Complete GOPs seen, up to [`GOPS`].
    complete: usize,
    begun: bool,
    /// What the parameter sets announce, until the frames themselves say it.
    announced: Reordering,
    epoch: u32,
    /// Latest presentation time of all frames, and of those that others refer to.
    latest: Option<i64>,
    latest_kept: Option<i64>,
}

impl ReorderingMonitor {
    /// Takes the next frame in decoding order; true if it is shown before one that came earlier.
    pub fn on_frame(&mut self, frame: &Frame) -> bool {
        let announced = match &*frame.config {
            CodecConfig::H264(config) if frame.keyframe => config.reorder_frames,
            CodecConfig::H265(config) if frame.keyframe => Some(u32::from(config.sequence.reorder_frames)),
            CodecConfig::H264(_) | CodecConfig::H265(_) => None,
            // The others send frames in the order in which they are shown.
            CodecConfig::Vp8(_)
            | CodecConfig::Vp9(_)
            | CodecConfig::Av1(_)
            | CodecConfig::Aac(_)
            | CodecConfig::Opus(_) => return false,
        };
        self.observe(Observation {
            presentation: frame.pts.ticks(),
            keyframe: frame.keyframe,
            discardable: frame.discardable,
            announced,
            epoch: frame.epoch,
        })
    }

    /// The same from what a forwarder knows.
    pub(crate) fn observe(&mut self, frame: Observation) -> bool {
        if frame.epoch != self.epoch {
            // Another publication: other settings, perhaps another encoder.
            *self = Self { epoch: frame.epoch, ..Self::default() };
        }
        if frame.keyframe {
            if self.begun {
                self.complete = (self.complete + 1).min(GOPS);
                self.needed.rotate_right(1);
                self.needed[0] = Reordering::None;
            }
            self.begun = true;
            if let Some(depth) = frame.announced {
                self.announced = match depth {
                    0 => Reordering::None,
                    // One frame waits: B-frames that nothing refers to, or a single level of them.
                    1 => Reordering::DropDiscardable,
                    _ => Reordering::Unplayable,
                };
            }
            // Nothing before an IDR picture in decoding order is shown after it, so times may begin anew.
            (self.latest, self.latest_kept) = (Some(frame.presentation), Some(frame.presentation));
            return false;
        }
        let before = |latest: Option<i64>| latest.is_some_and(|latest| frame.presentation < latest);
        let reorders = before(self.latest);
        let needs = match (reorders, frame.discardable) {
            (false, _) => Reordering::None,
            (true, true) => Reordering::DropDiscardable,
            // Shown before a frame that is dropped anyway is no harm.
            (true, false) if !before(self.latest_kept) => Reordering::DropDiscardable,
            (true, false) => Reordering::Unplayable,
        };
        self.needed[0] = self.needed[0].max(needs);
        self.latest = self.latest.max(Some(frame.presentation));
        if !frame.discardable {
            self.latest_kept = self.latest_kept.max(Some(frame.presentation));
        }
        reorders
    }

    /// The verdict so far.
    pub fn reordering(&self) -> Reordering {
        let observed = self.needed.into_iter().max().unwrap_or_default();
        if self.complete < GOPS { observed.max(self.announced) } else { observed }
    }
}

/// What is known about a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    pub(crate) presentation: i64,
    pub(crate) keyframe: bool,
    pub(crate) discardable: bool,
    /// How many frames the parameter sets say may wait; with keyframes.
    pub(crate) announced: Option<u32>,
    pub(crate) epoch: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reordering::{DropDiscardable, None as InOrder, Unplayable};

    /// One GOP in decoding order, as text: `I3` keyframe, `P` reference, `b` discardable, each with its time.
    fn gop(monitor: &mut ReorderingMonitor, text: &str, announced: Option<u32>) -> Vec<bool> {
        let frames = text.split(' ').map(|frame| {
            let (kind, presentation) = frame.split_at(1);
            monitor.observe(Observation {
                presentation: presentation.parse().expect("a number"),
                keyframe: kind == "I",
                discardable: kind == "b",
                announced: announced.filter(|_| kind == "I"),
                epoch: 0,
            })
        });
        frames.collect()
    }

    const PLAIN: &str = "I0 P1 P2 P3";
    const SINGLE: &str = "I0 P2 b1 P4 b3";
    const FLAT: &str = "I0 P4 b1 b2 b3 P8 b5 b6 b7";
    /// x264's default: a B-frame that others refer to.
    const PYRAMID: &str = "I0 P4 P2 b1 b3 P8 P6 b5 b7";
    const TEMPORAL_LAYERS: &str = "I0 b1 P2 b3 P4";

    #[test]
    fn verdicts_come_with_the_first_frames() {
        for (text, announced, at_keyframe, after) in [
            (PLAIN, None, InOrder, InOrder),
            (PLAIN, Some(0), InOrder, InOrder),
            (SINGLE, Some(1), DropDiscardable, DropDiscardable),
            (SINGLE, None, InOrder, DropDiscardable),
            (FLAT, None, InOrder, DropDiscardable),
            (PYRAMID, Some(2), Unplayable, Unplayable),
            (PYRAMID, None, InOrder, Unplayable),
            (PYRAMID, Some(0), InOrder, Unplayable),
            (TEMPORAL_LAYERS, None, InOrder, InOrder),
        ] {
            let mut monitor = ReorderingMonitor::default();
            gop(&mut monitor, "I0", announced);
            assert_eq!(monitor.reordering(), at_keyframe, "{text}");
            let mut monitor = ReorderingMonitor::default();
            gop(&mut monitor, text, announced);
            assert_eq!(monitor.reordering(), after, "{text}");
        }
    }

    #[test]
    fn frames_shown_before_earlier_ones_are_marked() {
        let mut monitor = ReorderingMonitor::default();
        assert_eq!(gop(&mut monitor, SINGLE, None), [false, false, true, false, true]);
    }

    #[test]
    fn two_gops_prove_an_announcement_wrong() {
        let mut monitor = ReorderingMonitor::default();
        for (text, verdict) in [(FLAT, Unplayable), (FLAT, Unplayable), (FLAT, DropDiscardable)] {
            gop(&mut monitor, text, Some(2));
            assert_eq!(monitor.reordering(), verdict);
        }
    }

    #[test]
    fn b_frames_that_vanished_are_forgotten_after_two_gops() {
        let mut monitor = ReorderingMonitor::default();
        for (text, verdict) in [
            (PYRAMID, Unplayable),
            (PLAIN, Unplayable),
            (PLAIN, Unplayable),
            (PLAIN, InOrder),
            (SINGLE, DropDiscardable),
        ] {
            gop(&mut monitor, text, None);
            assert_eq!(monitor.reordering(), verdict);
        }
    }

    #[test]
    fn another_publication_begins_anew() {
        let mut monitor = ReorderingMonitor::default();
        gop(&mut monitor, PYRAMID, Some(2));
        monitor.observe(Observation {
            presentation: 9,
            keyframe: true,
            discardable: false,
            announced: Some(0),
            epoch: 1,
        });
        assert_eq!(monitor.reordering(), InOrder);
    }
}
