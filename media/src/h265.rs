//! H.265 (HEVC): NAL units, parameter sets, slices.

mod parameter_sets;
mod sps;

use bytes::Bytes;

use crate::Error;

pub use parameter_sets::ParameterSets;
#[cfg(test)]
pub(crate) use sps::tests as sps_for_tests;
pub use sps::{ProfileTierLevel, Sps};

/// Longest parameter set kept, as for H.264.
pub const PARAMETER_SET_BYTES_MAX: usize = crate::h264::PARAMETER_SET_BYTES_MAX;

/// `nal_unit_type` (ITU-T H.265 table 7-1), and the packet types that RFC 7798 section 4.4 adds.
pub mod unit_type {
    /// The first type of an intra random access picture (BLA).
    pub const IRAP_FIRST: u8 = 16;
    /// An IDR picture that may have leading pictures.
    pub const IDR_W_RADL: u8 = 19;
    /// An IDR picture without.
    pub const IDR_N_LP: u8 = 20;
    /// A clean random access picture.
    pub const CRA: u8 = 21;
    /// The last type reserved for intra random access pictures.
    pub const IRAP_LAST: u8 = 23;
    /// The last type of a slice.
    pub const SLICE_LAST: u8 = 31;
    /// Video parameter set.
    pub const VPS: u8 = 32;
    /// Sequence parameter set.
    pub const SPS: u8 = 33;
    /// Picture parameter set.
    pub const PPS: u8 = 34;
    /// Access unit delimiter.
    pub const AUD: u8 = 35;
    /// End of sequence.
    pub const END_OF_SEQUENCE: u8 = 36;
    /// End of bitstream.
    pub const END_OF_BITSTREAM: u8 = 37;
    /// Filler data.
    pub const FILLER: u8 = 38;
    /// Aggregation packet (RFC 7798 section 4.4.2).
    pub const AGGREGATION: u8 = 48;
    /// Fragment (RFC 7798 section 4.4.3).
    pub const FRAGMENT: u8 = 49;
}

/// The first two bytes of a NAL unit (ITU-T H.265 section 7.3.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NalHeader([u8; 2]);

impl NalHeader {
    /// From the bytes.
    pub const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(bytes)
    }

    /// The header of `nal` and what follows it; `None` if it is cut off.
    pub fn split(nal: &[u8]) -> Option<(Self, &[u8])> {
        nal.split_first_chunk().map(|(bytes, rest)| (Self(*bytes), rest))
    }

    /// See [`unit_type`].
    pub const fn unit_type(self) -> u8 {
        self.0[0] >> 1 & 0x3f
    }

    /// The same header with another type: of the unit that fragments are of.
    #[must_use]
    pub const fn with_type(self, unit_type: u8) -> Self {
        Self([self.0[0] & 0x81 | unit_type << 1, self.0[1]])
    }

    /// As it stands in the stream.
    pub const fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// `nuh_layer_id`: 0 unless the stream has several layers (scalable, stereo).
    pub const fn layer_id(self) -> u8 {
        (self.0[0] & 1) << 5 | self.0[1] >> 3
    }

    /// The temporal sub-layer; 0 where the header forbids itself.
    pub const fn temporal_id(self) -> u8 {
        (self.0[1] & 7).saturating_sub(1)
    }

    /// A slice of a coded picture (VCL).
    pub const fn is_slice(self) -> bool {
        self.unit_type() <= unit_type::SLICE_LAST
    }

    /// A slice of a picture that a decoder can start with.
    pub const fn is_random_access(self) -> bool {
        matches!(self.unit_type(), unit_type::IRAP_FIRST..=unit_type::IRAP_LAST)
    }

    /// A slice of a picture that no other of its temporal sub-layer refers to: the even types below 16.
    pub const fn is_sub_layer_non_reference(self) -> bool {
        self.unit_type() < unit_type::IRAP_FIRST && self.unit_type().is_multiple_of(2)
    }
}

/// What an H.265 decoder must know: parameter sets, and what the first SPS says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Video parameter set NAL units, without start code or length.
    pub vps: Vec<Bytes>,
    /// Sequence parameter set NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter set NAL units.
    pub pps: Vec<Bytes>,
    /// What the first SPS says.
    pub sequence: Sps,
}

impl Config {
    /// From parameter set NAL units.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no SPS, or the first one cannot be read.
    pub fn from_parameter_sets(vps: Vec<Bytes>, sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, Error> {
        let Some(first) = sps.first() else {
            return Err(Error::Malformed { what: "H.265 configuration", why: "no SPS" });
        };
        let sequence = Sps::parse(first)?;
        Ok(Self { vps, sps, pps, sequence })
    }

    /// `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 annex E).
    pub fn rfc6381(&self) -> String {
        self.sequence.profile.rfc6381()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_a_unit_is() {
        for (bytes, unit_type, temporal_id, slice, random_access, non_reference) in [
            ([0x40, 0x01], unit_type::VPS, 0, false, false, false),
            ([0x26, 0x01], unit_type::IDR_W_RADL, 0, true, true, false),
            ([0x2a, 0x01], unit_type::CRA, 0, true, true, false),
            ([0x02, 0x03], 1, 2, true, false, false),
            ([0x00, 0x02], 0, 1, true, false, true),
            ([0x02, 0x00], 1, 0, true, false, false),
        ] {
            let (header, _) = NalHeader::split(&bytes).expect("two bytes");
            assert_eq!((header.unit_type(), header.temporal_id()), (unit_type, temporal_id), "{bytes:?}");
            assert_eq!(header.is_slice(), slice, "{bytes:?}");
            assert_eq!(header.is_random_access(), random_access, "{bytes:?}");
            assert_eq!(header.is_sub_layer_non_reference(), non_reference, "{bytes:?}");
        }
        let (layered, _) = NalHeader::split(&[0x43, 0x09]).expect("two bytes");
        assert_eq!(layered.layer_id(), 33);
        assert_eq!(layered.with_type(1).bytes(), [0x03, 0x09]);
        assert!(NalHeader::split(&[0x40]).is_none());
    }
}
