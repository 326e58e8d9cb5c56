//! One access unit or one codec frame.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::{CodecConfig, MediaTime};

/// One access unit (video) or one codec frame (audio), in the Track's timescale.
///
/// It describes itself: whoever holds a Frame can decode it (from a keyframe on) and place it in time.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it is decoded. Strictly grows within a Layer.
    pub dts: MediaTime,
    /// When it is shown. Equal to `dts` unless the encoder uses B-frames.
    pub pts: MediaTime,
    /// How long it lasts, in ticks of the Track's timescale; 0 if unknown (video: until the next frame).
    pub duration: u32,
    /// A decoder can start here. True for every audio frame.
    pub keyframe: bool,
    /// No other frame refers to it (H.264 `nal_ref_idc == 0`).
    pub discardable: bool,
    /// H.264, H.265: NAL units, each behind its length in 4 bytes, without parameter sets and access unit
    /// delimiters. VP8: one frame. VP9: one frame, or a superframe of one per spatial layer. AV1: a temporal
    /// unit of OBUs with sizes, without temporal delimiters. AAC: one raw data block, no ADTS. Opus: one packet.
    pub data: Bytes,
    /// What a decoder must know. The same `Arc` until something changes.
    pub config: Arc<CodecConfig>,
    /// Which publication of the Stream it is from; grows by one at each reconnect. A step means that
    /// timestamps and parameters may jump.
    pub epoch: u32,
    /// When its last byte was read from the network.
    pub arrival: Instant,
}
