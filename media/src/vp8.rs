//! VP8 (RFC 6386): passed through; we only need to know keyframes and size.

/// What a VP8 stream says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}
