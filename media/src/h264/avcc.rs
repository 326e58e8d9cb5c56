//! `avcC`: parameter sets as MP4 and FLV carry them (ISO/IEC 14496-15 section 5.3.3.1).

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

use super::{Config, Sps};

/// An AVCDecoderConfigurationRecord.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Avcc {
    /// How many bytes the length before each NAL unit has: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter set NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter set NAL units.
    pub pps: Vec<Bytes>,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "avcC", why };

impl Avcc {
    /// Reads a record. What follows the parameter sets (chroma, bit depth) is also in the SPS and not read.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is cut off or of another version.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let Some((&[1, _, _, _, lengths, sps_count], mut rest)) = data.split_first_chunk() else {
            return Err(BROKEN("cut off, or not version 1"));
        };
        let length_size = (lengths & 3) + 1;
        if length_size == 3 {
            return Err(BROKEN("NAL lengths of 3 bytes are reserved"));
        }
        let sps = take_units(&mut rest, sps_count & 0x1f)?;
        let (&pps_count, mut rest) = rest.split_first().ok_or(BROKEN("cut off"))?;
        let pps = take_units(&mut rest, pps_count)?;
        Ok(Self { length_size, sps, pps })
    }
}

fn take_units(rest: &mut &[u8], count: u8) -> Result<Vec<Bytes>, Error> {
    let mut units = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (&length, after) = rest.split_first_chunk().ok_or(BROKEN("cut off"))?;
        let length = usize::from(u16::from_be_bytes(length));
        let (unit, after) = after.split_at_checked(length).ok_or(BROKEN("a parameter set is cut off"))?;
        units.push(Bytes::copy_from_slice(unit));
        *rest = after;
    }
    Ok(units)
}

/// Writes the record for `config`, with NAL lengths of 4 bytes. `None` if it has no SPS, or more or longer
/// parameter sets than the format can hold.
pub(super) fn write(config: &Config) -> Option<Bytes> {
    let first = config.sps.first()?;
    let &[_, profile, constraints, level, ..] = &first[..] else { return None };
    let sps_count = u8::try_from(config.sps.len()).ok().filter(|&count| count < 32)?;
    let pps_count = u8::try_from(config.pps.len()).ok()?;
    let mut out = BytesMut::new();
    out.put_slice(&[1, profile, constraints, level, 0xfc | 3, 0xe0 | sps_count]);
    put_units(&mut out, &config.sps)?;
    out.put_u8(pps_count);
    put_units(&mut out, &config.pps)?;
    // Section 5.3.3.1.2: profiles above main repeat chroma format and bit depths.
    if !matches!(profile, 66 | 77 | 88) {
        let sps = Sps::parse(first).ok()?;
        let depth = |bits: u8| 0xf8 | (bits - 8) & 7;
        out.put_slice(&[0xfc | sps.chroma.idc(), depth(sps.bit_depth_luma), depth(sps.bit_depth_chroma), 0]);
    }
    Some(out.freeze())
}

fn put_units(out: &mut BytesMut, units: &[Bytes]) -> Option<()> {
    for unit in units {
        out.put_u16(u16::try_from(unit.len()).ok()?);
        out.put_slice(unit);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::tests::unhex;
    use crate::h264::sps::tests::{BASELINE, HIGH_720P};

    #[test]
    fn survives_writing_and_reading() {
        for (sps, tail) in [(BASELINE, &[][..]), (HIGH_720P, &[0xfd, 0xf8, 0xf8, 0])] {
            let sps = Bytes::from(unhex(sps));
            let pps = Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]);
            let config = Config::from_parameter_sets(vec![sps.clone()], vec![pps.clone()]).expect("config");
            let record = config.to_avcc().expect("record");
            assert!(record.ends_with(tail));
            assert_eq!(Avcc::parse(&record), Ok(Avcc { length_size: 4, sps: vec![sps], pps: vec![pps] }));
            assert_eq!(Config::from_avcc(&record), Ok(config));
        }
    }

    #[test]
    fn refuses_what_is_cut_off() {
        let config = Config::from_parameter_sets(
            vec![unhex(BASELINE).into()],
            vec![Bytes::from_static(&[0x68, 1, 2])],
        );
        let record = config.expect("config").to_avcc().expect("record");
        for end in 0..record.len() {
            assert!(Avcc::parse(&record[..end]).is_err(), "{end}");
        }
    }
}
