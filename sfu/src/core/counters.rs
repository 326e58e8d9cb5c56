//! What a core counts: plain integers, copied out at a scrape.

use serde::Serialize;

/// Everything that happened on a shard's core. Grows only, except the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Gauge: viewers now.
    pub viewers: u64,
    /// Gauge: publishers now.
    pub publishers: u64,
}

impl Counters {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.viewers += other.viewers;
        self.publishers += other.publishers;
    }
}
