//! AV1 (AV1 Bitstream & Decoding Process Specification): passed through; we need to know keyframes, and what
//! the sequence header says about the stream.

pub mod obu;
mod sequence_header;

use bytes::Bytes;

pub use obu::Obu;
pub use sequence_header::SequenceHeader;

use crate::Error;

/// Longest sequence header kept, in bytes: with 32 operating points and everything else that it can say it has
/// fewer than 300. A longer one is refused.
pub const SEQUENCE_HEADER_BYTES_MAX: usize = 512;

/// What an AV1 decoder must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The sequence header OBU with its size, as `av1C` carries it (AV1 Codec ISO Media File Format Binding,
    /// section 2.3).
    pub sequence_header: Bytes,
    /// What it says.
    pub sequence: SequenceHeader,
}

impl Config {
    /// From the payload of a sequence header OBU.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it cannot be read.
    pub fn from_sequence_header(payload: &[u8]) -> Result<Self, Error> {
        const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "AV1 sequence header", why };
        if payload.len() > SEQUENCE_HEADER_BYTES_MAX {
            return Err(BROKEN("too long"));
        }
        let sequence = SequenceHeader::parse(payload).ok_or(BROKEN("bad syntax"))?;
        let mut whole = Vec::with_capacity(payload.len() + 3);
        obu::write(obu::kind::SEQUENCE_HEADER << 3, None, payload, &mut whole);
        Ok(Self { sequence_header: whole.into(), sequence })
    }

    /// `av01.P.LLT.DD` (the same binding, section 5).
    pub fn rfc6381(&self) -> String {
        let SequenceHeader { profile, level_index, high_tier, bit_depth, .. } = self.sequence;
        let tier = if high_tier { 'H' } else { 'M' };
        format!("av01.{profile}.{level_index:02}{tier}.{bit_depth:02}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bits::tests::unhex;

    /// By libaom, 320x180.
    pub(crate) const SEQUENCE_8_BIT: &str = "000000043cfeccdaf90040";

    #[test]
    fn the_config_is_what_av1c_carries() {
        let config = Config::from_sequence_header(&unhex(SEQUENCE_8_BIT)).expect("valid");
        assert_eq!(config.sequence_header, unhex("0a0b000000043cfeccdaf90040"));
        assert_eq!(config.rfc6381(), "av01.0.00M.08");
        assert!(Config::from_sequence_header(&[0; SEQUENCE_HEADER_BYTES_MAX + 1]).is_err());
        assert!(Config::from_sequence_header(&[]).is_err());
    }
}
