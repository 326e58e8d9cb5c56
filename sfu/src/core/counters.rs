//! What a core counts: plain integers, copied out at a scrape.

/// Everything that happened on a shard's core. Grows only, except the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Gauge: viewers now.
    pub viewers: u64,
    /// Gauge: publishers now.
    pub publishers: u64,
}
