//! What travels upstream: the only two things that a reader can ask of a writer.

use crate::Rid;

/// A wish of the readers, handed to the one who writes the Track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A keyframe, please. Coalesced: one is handed out however many readers ask.
    Keyframe(Rid),
    /// The first reader of this Layer came (`true`) or its last one left (`false`).
    LayerWanted(Rid, bool),
}
