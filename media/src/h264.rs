//! H.264: NAL units, parameter sets, avcC, slices, access units.

mod access_unit;
mod avcc;
pub mod nal;
mod parameter_sets;
mod slice;
mod sps;

use bytes::Bytes;

use crate::Error;

pub(crate) use access_unit::Builder as AccessUnitBuilder;
pub use access_unit::{ACCESS_UNIT_BYTES_MAX, AccessUnit, write_annex_b};
pub use avcc::Avcc;
pub(crate) use nal::without_trailing_zeros;
pub use nal::{AnnexB, LengthPrefixed, NalHeader, unit_type};
pub use parameter_sets::ParameterSets;
pub(crate) use slice::unescape;
pub use slice::{SliceHeader, SliceType};
#[cfg(test)]
pub(crate) use sps::tests as sps_for_tests;
pub use sps::{Chroma, PARAMETER_SET_BYTES_MAX, Sps};

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
    /// `max_num_reorder_frames`, if the SPS says or implies it.
    pub reorder_frames: Option<u32>,
}

impl Config {
    /// From parameter set NAL units.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no SPS, or the first one cannot be read.
    pub fn from_parameter_sets(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, Error> {
        let Some(first) = sps.first() else {
            return Err(Error::Malformed { what: "H.264 configuration", why: "no SPS" });
        };
        let Sps { width, height, frame_rate, reorder_frames, .. } = Sps::parse(first)?;
        Ok(Self { sps, pps, width, height, frame_rate, reorder_frames })
    }

    /// From an AVCDecoderConfigurationRecord. Its `length_size` is in [`Avcc::parse`].
    ///
    /// # Errors
    /// [`Error::Malformed`] if the record or its first SPS cannot be read.
    pub fn from_avcc(record: &[u8]) -> Result<Self, Error> {
        let Avcc { sps, pps, .. } = Avcc::parse(record)?;
        Self::from_parameter_sets(sps, pps)
    }

    /// The AVCDecoderConfigurationRecord, for NAL lengths of 4 bytes. `None` only if the fields were filled
    /// by hand with what the record cannot hold.
    pub fn to_avcc(&self) -> Option<Bytes> {
        avcc::write(self)
    }

    /// All that the first SPS says.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it cannot be read.
    pub fn first_sps(&self) -> Result<Sps, Error> {
        Sps::parse(self.sps.first().map_or(&[], |sps| &sps[..]))
    }

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
