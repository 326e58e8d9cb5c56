//! What the video of a Stream was doing last: which frames can be used, where they stand, what breaks.

use std::sync::Arc;
use std::time::Duration;

use media::{CodecConfig, Frame, MediaTime};

/// A picture from so long before the boundary that it is looked at with stands at that boundary. Sound makes the
/// boundaries while there is no picture, and it may arrive first though it is stamped later: by a rounding, or by the
/// longer way of a camera. Without this the whole GOP would be left out.
const EARLY_MAX: Duration = Duration::from_millis(500);

/// Watches the video frames of a Stream in decoding order.
#[derive(Debug)]
pub(crate) struct VideoWatch {
    hole_max: Duration,
    awaiting_keyframe: bool,
    epoch: Option<u32>,
    config: Option<Arc<CodecConfig>>,
    /// `pts - dts` of the last keyframe: where a frame without its own place stands on the clock.
    composition: i64,
    last_dts: Option<MediaTime>,
    front: Option<MediaTime>,
}

/// A frame that can be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// Its place on the presentation clock.
    pub(crate) at: MediaTime,
    /// Timestamps or parameters changed with it.
    pub(crate) breaks: bool,
}

impl VideoWatch {
    /// Longer than `hole_max` without a frame is a break.
    pub(crate) fn new(hole_max: Duration) -> Self {
        Self {
            hole_max,
            awaiting_keyframe: true,
            epoch: None,
            config: None,
            composition: 0,
            last_dts: None,
            front: None,
        }
    }

    /// Where the newest frame stands. No boundary will be made before it.
    pub(crate) fn front(&self) -> Option<MediaTime> {
        self.front
    }

    /// Frames are of no use until the next keyframe.
    pub(crate) fn lose(&mut self) {
        self.awaiting_keyframe = true;
    }

    /// Looks at the next frame; `None` if it cannot be used. Nothing is used from longer before `not_before` than
    /// [`EARLY_MAX`].
    ///
    /// After a break only a keyframe will do: a DISCONTINUITY makes players reset their decoders.
    pub(crate) fn admit(&mut self, frame: &Frame, not_before: Option<MediaTime>) -> Option<Admitted> {
        if frame.keyframe {
            self.composition = frame.pts.ticks() - frame.dts.ticks();
        }
        let shown = if frame.keyframe { frame.pts } else { frame.dts.offset(self.composition) };
        let early = not_before.filter(|start| shown < *start);
        let at = early.unwrap_or(shown);
        let changed = self.config.as_ref().is_some_and(|known| **known != *frame.config);
        let resumed = self.epoch.is_some_and(|epoch| epoch != frame.epoch);
        let hole = self.front.is_some_and(|front| at.since(front) > self.hole_max);
        let breaks = changed || resumed || hole;
        // What would break here would make another boundary at the same place, unless the sound's is a break already.
        let breaks_alone = (changed || hole) && !resumed;
        let late = early.is_some_and(|start| breaks_alone || start.since(shown) > EARLY_MAX);
        let backwards = self.last_dts.is_some_and(|last| frame.dts <= last);
        if backwards || late || (!frame.keyframe && (self.awaiting_keyframe || breaks)) {
            self.awaiting_keyframe = true;
            return None;
        }
        if changed || self.config.is_none() {
            self.config = Some(Arc::clone(&frame.config));
        }
        self.awaiting_keyframe = false;
        self.epoch = Some(frame.epoch);
        self.last_dts = Some(frame.dts);
        self.front = Some(at);
        Some(Admitted { at, breaks })
    }
}
