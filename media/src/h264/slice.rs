//! The first fields of a slice header: enough to know where a picture begins and what it is.

use crate::bits::Bits;

use super::nal::NalHeader;

/// What a slice is predicted from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SliceType {
    /// From earlier pictures in decoding order.
    P,
    /// From two directions: the mark of a B-frame.
    B,
    /// From itself alone.
    I,
    /// Switching P.
    Sp,
    /// Switching I.
    Si,
}

/// The first fields of a slice header (ITU-T H.264 section 7.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceHeader {
    /// The first macroblock; 0 in the first slice of a picture.
    pub first_macroblock: u32,
    /// What it is predicted from.
    pub slice_type: SliceType,
    /// `pic_parameter_set_id`.
    pub pps_id: u8,
}

/// Three Exp-Golomb numbers of at most 63, 7 and 17 bits.
const HEADER_BYTES: usize = 12;

impl SliceHeader {
    /// Reads the header of a slice NAL unit, or of its first bytes; `None` if it is another unit or cut off.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if !matches!(NalHeader::of(nal)?.unit_type(), 1 | 2 | 5) {
            return None;
        }
        Self::parse_payload(&nal[1..])
    }

    /// The same without the NAL header byte, as the first fragment of an FU-A carries it.
    pub(crate) fn parse_payload(payload: &[u8]) -> Option<Self> {
        let mut rbsp = [0; HEADER_BYTES];
        let length = unescape(payload, &mut rbsp);
        let mut bits = Bits::new(&rbsp[..length]);
        let first_macroblock = bits.unsigned_exp_golomb()?;
        // Table 7-6: 5 to 9 say that all slices of the picture have the type.
        let slice_type = match bits.unsigned_exp_golomb()? {
            0 | 5 => SliceType::P,
            1 | 6 => SliceType::B,
            2 | 7 => SliceType::I,
            3 | 8 => SliceType::Sp,
            4 | 9 => SliceType::Si,
            _ => return None,
        };
        let pps_id = u8::try_from(bits.unsigned_exp_golomb()?).ok()?;
        Some(Self { first_macroblock, slice_type, pps_id })
    }
}

/// Copies the front of a NAL unit without emulation prevention bytes (section 7.4.1); says how much.
pub(crate) fn unescape(payload: &[u8], out: &mut [u8]) -> usize {
    let (mut zeros, mut length) = (0, 0);
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        let Some(place) = out.get_mut(length) else { break };
        *place = byte;
        length += 1;
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_fields() {
        for (nal, first_macroblock, slice_type, pps_id) in [
            // 1 | 00110 (5: P) | 1
            (&[0x41, 0b1001_1010][..], 0, SliceType::P, 0),
            // 1 | 0001000 (7: I) | 010
            (&[0x65, 0b1000_1000, 0b0100_0000], 0, SliceType::I, 1),
            // 0 0000 1010 (9) | 1... : 00001010 is 9; 010 (1: B) | 1
            (&[0x01, 0b0001_0100, 0b1010_0000], 9, SliceType::B, 0),
        ] {
            let header = SliceHeader { first_macroblock, slice_type, pps_id };
            assert_eq!(SliceHeader::parse(nal), Some(header), "{nal:?}");
        }
        for bad in [&[][..], &[0x67, 0xff], &[0x65], &[0x41, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(SliceHeader::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn emulation_prevention_is_removed() {
        let mut out = [0; 4];
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3], &mut out), 4);
        assert_eq!(out, [0, 0, 1, 0]);
    }
}
