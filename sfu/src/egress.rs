//! The way out: sealing, batching, pacing.

pub mod batch;
pub mod seal;
