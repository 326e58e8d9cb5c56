//! Opus (RFC 6716): packet durations, and what `dOps` says.

/// What an Opus decoder must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Channels: 1 or 2.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
}
