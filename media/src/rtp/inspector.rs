//! What a forwarder must know about a payload that it does not open.

/// Properties of one packet, from its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// First packet of a frame.
    pub frame_start: bool,
    /// First packet of a keyframe.
    pub starts_keyframe: bool,
    /// The frame is no reference.
    pub discardable: bool,
    /// Temporal layer.
    pub temporal_id: u8,
}

/// Looks into the payloads of one source, in any order.
#[derive(Debug)]
pub struct Inspector {}
