//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).

use bytes::Bytes;

/// What an AAC decoder must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The AudioSpecificConfig as it was received.
    pub asc: Bytes,
    /// Audio object type: 2 is AAC-LC, 5 SBR, 29 PS.
    pub object_type: u8,
    /// Samples per second of the core codec.
    pub sample_rate: u32,
    /// Channels: 1 to 8.
    pub channels: u8,
}

impl Config {
    /// `mp4a.40.2` and so on.
    pub fn rfc6381(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}
