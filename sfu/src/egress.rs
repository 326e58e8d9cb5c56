//! The way out: sealing, batching, pacing.

pub mod batch;
mod keys;
pub mod seal;
pub(crate) mod srtcp;
