//! NAL units: their header byte, and the two ways in which they are strung together.

use crate::Error;

/// `nal_unit_type` (ITU-T H.264 table 7-1), and the packet types that RFC 6184 table 1 adds.
pub mod unit_type {
    /// A slice of a picture that is not IDR.
    pub const SLICE: u8 = 1;
    /// A slice of an IDR picture: a decoder can start here.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
    /// End of sequence.
    pub const END_OF_SEQUENCE: u8 = 10;
    /// End of stream.
    pub const END_OF_STREAM: u8 = 11;
    /// Filler data.
    pub const FILLER: u8 = 12;
    /// Sequence parameter set extension (auxiliary pictures).
    pub const SPS_EXTENSION: u8 = 13;
    /// Aggregation packet with one time (RFC 6184 section 5.7.1).
    pub const STAP_A: u8 = 24;
    /// Fragment (RFC 6184 section 5.8).
    pub const FU_A: u8 = 28;
}

/// The first byte of a NAL unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NalHeader(u8);

impl NalHeader {
    /// From the byte.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The header of `nal`; `None` if it is empty.
    pub fn of(nal: &[u8]) -> Option<Self> {
        nal.first().map(|&byte| Self(byte))
    }

    /// See [`unit_type`].
    pub const fn unit_type(self) -> u8 {
        self.0 & 0x1f
    }

    /// `nal_ref_idc`: 0 if no other picture refers to this one.
    pub const fn ref_idc(self) -> u8 {
        (self.0 >> 5) & 3
    }

    /// A slice or slice partition of a coded picture (VCL).
    pub const fn is_slice(self) -> bool {
        matches!(self.unit_type(), 1..=5)
    }

    /// A slice of an IDR picture.
    pub const fn is_idr(self) -> bool {
        self.unit_type() == unit_type::IDR
    }
}

/// NAL units between start codes (ITU-T H.264 annex B). Total: any bytes give some units or none.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// What follows the last start code found.
    rest: Option<&'a [u8]>,
}

impl<'a> AnnexB<'a> {
    /// The units of `data`. Bytes before the first start code are skipped.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: start_code(data).map(|at| &data[at + 3..]) }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let nal = match start_code(rest) {
                Some(at) => {
                    self.rest = Some(&rest[at + 3..]);
                    &rest[..at]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            let nal = without_trailing_zeros(nal);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    }
}

/// Where the next `00 00 01` begins.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    // The last byte of the pattern decides how far one can skip: most bytes are > 1.
    while let Some(&last) = data.get(at + 2) {
        match last {
            1 if data[at] == 0 && data[at + 1] == 0 => return Some(at),
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

/// A NAL unit never ends in a zero byte (annex B.1.1: `trailing_zero_8bits` are not part of it).
pub(crate) fn without_trailing_zeros(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &nal[..end]
}

/// NAL units behind their length, as in MP4 and FLV (ISO/IEC 14496-15). Total: a length that reaches
/// beyond the end is one `Err`, then the iterator ends. Empty units are skipped.
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> LengthPrefixed<'a> {
    /// The units of `data`, each behind a length of `length_size` bytes (1 to 4; others are refused by
    /// the first item).
    pub fn new(data: &'a [u8], length_size: u8) -> Self {
        Self { rest: data, length_size: usize::from(length_size) }
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let broken = |why| Some(Err(Error::Malformed { what: "H.264 access unit", why }));
            if !(1..=4).contains(&self.length_size) {
                self.rest = &[];
                return broken("NAL lengths have 1 to 4 bytes");
            }
            let Some((length, rest)) = self.rest.split_at_checked(self.length_size) else {
                self.rest = &[];
                return broken("cut off inside a NAL length");
            };
            let length = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
            let Some((nal, rest)) = rest.split_at_checked(length) else {
                self.rest = &[];
                return broken("a NAL length reaches beyond the end");
            };
            self.rest = rest;
            if !nal.is_empty() {
                return Some(Ok(nal));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annex_b_finds_units_between_start_codes() {
        for (data, units) in [
            (&[][..], &[][..]),
            (&[9, 9], &[]),
            (&[0, 0, 1], &[]),
            (&[0, 0, 1, 0x65], &[&[0x65][..]]),
            (&[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 1, 0x65, 2], &[&[0x67, 1], &[0x68], &[0x65, 2]]),
            (&[7, 0, 0, 1, 0x65, 0, 2, 0, 1, 1, 0, 0], &[&[0x65, 0, 2, 0, 1, 1]]),
            (&[0, 0, 1, 0, 0, 1, 0x41], &[&[0x41]]),
        ] {
            assert_eq!(AnnexB::new(data).collect::<Vec<_>>(), units, "{data:?}");
        }
    }

    #[test]
    fn lengths_are_checked() {
        let units = |data, size| LengthPrefixed::new(data, size).collect::<Result<Vec<_>, _>>();
        assert_eq!(
            units(&[0, 0, 0, 1, 0x65, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2], 4),
            Ok(vec![&[0x65][..], &[1, 2]])
        );
        assert_eq!(units(&[0, 1, 9], 2), Ok(vec![&[9][..]]));
        for (data, size) in
            [(&[0, 0, 0, 9, 1][..], 4), (&[0, 0], 4), (&[1, 1], 0), (&[1, 1], 5), (&[255; 9], 4)]
        {
            assert!(units(data, size).is_err(), "{data:?}");
        }
    }
}
