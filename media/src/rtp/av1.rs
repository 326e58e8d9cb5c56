//! AV1 in RTP (RTP Payload Format For AV1, version 1.0).
//!
//! The dependency descriptor (its section A) is not needed here and not asked for: what a forwarder must know
//! of a packet stands in its aggregation header and in front of its OBUs.

mod depacketizer;
mod elements;

pub(super) use depacketizer::Depacketizer;
pub use elements::{AggregationHeader, Elements};
