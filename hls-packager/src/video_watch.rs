//! What the video of a Stream was doing last: which frames can be used, where they stand, what breaks.

use std::sync::Arc;
use std::time::Duration;

use media::{CodecConfig, Frame, MediaTime};

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

    /// Looks at the next frame; `None` if it cannot be used. Nothing is used from before `not_before`.
    ///
    /// After a break only a keyframe will do: a DISCONTINUITY makes players reset their decoders.
    pub(crate) fn admit(&mut self, frame: &Frame, not_before: Option<MediaTime>) -> Option<Admitted> {
        if frame.keyframe {
            self.composition = frame.pts.ticks() - frame.dts.ticks();
        }
        let at = if frame.keyframe { frame.pts } else { frame.dts.offset(self.composition) };
        let changed = self.config.as_ref().is_some_and(|known| **known != *frame.config);
        let resumed = self.epoch.is_some_and(|epoch| epoch != frame.epoch);
        let hole = self.front.is_some_and(|front| at.since(front) > self.hole_max);
        let breaks = changed || resumed || hole;
        let backwards = self.last_dts.is_some_and(|last| frame.dts <= last);
        let late = not_before.is_some_and(|start| at < start);
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
