//! H.264: NAL units, parameter sets, avcC, slices.

use bytes::Bytes;

/// What an H.264 decoder must know: parameter sets, and what the first SPS says.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Sequence parameter set NAL units, without start code or length.
    pub sps: Vec<Bytes>,
    /// Picture parameter set NAL units.
    pub pps: Vec<Bytes>,
    /// Cropped width in pixels.
    pub width: u32,
    /// Cropped height in pixels.
    pub height: u32,
    /// Frames per second, if the VUI has fixed timing.
    pub frame_rate: Option<f64>,
    /// `max_num_reorder_frames`, if the VUI says it.
    pub reorder_frames: Option<u32>,
}

impl Config {
    /// `avc1.PPCCLL`.
    pub fn rfc6381(&self) -> String {
        match self.sps.first().map(|sps| &sps[..]) {
            Some([_, profile, constraints, level, ..]) => {
                format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
            }
            _ => "avc1".to_owned(),
        }
    }
}
