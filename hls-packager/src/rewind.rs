//! Segments behind the memory's window that are still listed, because the recording has them: how far a live viewer can
//! rewind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::horizon::Horizon;
use crate::recording::About;
use crate::window::Segment;

/// Segments at most: a day of 2 s. Each takes about 100 bytes here, and as many in a playlist. At the limit the oldest
/// are no longer listed.
const SEGMENTS_MAX: usize = 43_200;

/// The listed segments that are no longer in memory, oldest first. They follow each other up to the window.
#[derive(Debug)]
pub(crate) struct Rewind {
    about: Arc<About>,
    horizon: Arc<Horizon>,
    segments: VecDeque<Segment>,
    lasts: Duration,
    /// Segments that are not listed any more though they are not too old: there were too many bytes.
    pub(crate) cut: u64,
}

impl Rewind {
    /// Nothing yet; later as much as the horizon allows.
    pub(crate) fn new(about: Arc<About>, horizon: Arc<Horizon>) -> Self {
        Self { about, horizon, segments: VecDeque::new(), lasts: Duration::ZERO, cut: 0 }
    }

    /// Takes a segment that leaves the window, if the recording has it. Where one is missing there is no way back.
    pub(crate) fn push(&mut self, mut segment: Segment) {
        let stored = &self.about.stored;
        let length = self.horizon.length();
        if length.is_zero() || !(segment.gap || stored.has(segment.msn)) {
            self.segments.clear();
            self.lasts = Duration::ZERO;
            return;
        }
        segment.parts = Vec::new();
        self.lasts += segment.duration;
        let removed = stored.removed();
        let from = self.horizon.add(segment.msn, segment.bytes as u64);
        self.segments.push_back(segment);
        while let Some(first) = self.segments.front() {
            let old = self.lasts > length || self.segments.len() > SEGMENTS_MAX;
            let much = first.msn < from;
            if !(old || much || first.msn < removed) {
                break;
            }
            self.cut += u64::from(much && !old);
            self.lasts = self.lasts.saturating_sub(first.duration);
            if old {
                self.horizon.forget(first.msn + 1);
            }
            self.segments.pop_front();
        }
    }

    /// Oldest first.
    pub(crate) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// DISCONTINUITY tags among them.
    pub(crate) fn discontinuities(&self) -> u64 {
        self.segments.iter().filter(|segment| segment.discontinuity).count() as u64
    }

    /// The recording has this segment.
    pub(crate) fn has(&self, msn: u64) -> bool {
        self.about.stored.has(msn)
    }
}
