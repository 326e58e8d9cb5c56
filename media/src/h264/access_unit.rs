//! One coded picture on its way into and out of a [`Frame`](crate::Frame).

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

use super::Config;
use super::nal::{AnnexB, LengthPrefixed, NalHeader, unit_type};

/// Bytes of one picture at most. An IDR picture of 4K at 100 Mbit/s and one second per GOP has about 4 MiB.
/// A larger one is refused, counted by whoever made it, and video goes on at the next keyframe.
pub const ACCESS_UNIT_BYTES_MAX: usize = 8 << 20;

/// One coded picture in the form of [`Frame::data`](crate::Frame::data), and what its NAL units say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessUnit {
    /// NAL units, each behind its length in 4 bytes, without parameter sets and delimiters.
    pub data: Bytes,
    /// It is an IDR picture.
    pub keyframe: bool,
    /// No other picture refers to it.
    pub discardable: bool,
    /// Parameter sets that came with it, without lengths; see [`super::ParameterSets::insert`].
    pub parameter_sets: Vec<Bytes>,
}

impl AccessUnit {
    /// From NAL units behind their lengths (FLV, MP4). No copy where nothing must be taken out.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a length is wrong or the unit is larger than [`ACCESS_UNIT_BYTES_MAX`].
    pub fn from_length_prefixed(data: Bytes, length_size: u8) -> Result<Self, Error> {
        let mut builder = Builder::default();
        let mut plain = length_size == 4;
        for nal in LengthPrefixed::new(&data, length_size) {
            plain &= builder.look_at(nal?);
        }
        if plain && data.len() <= ACCESS_UNIT_BYTES_MAX {
            return Ok(builder.finish_with(data));
        }
        let mut builder = Builder::with_capacity(data.len());
        for nal in LengthPrefixed::new(&data, length_size) {
            builder.push(nal?)?;
        }
        Ok(builder.finish())
    }

    /// From NAL units between start codes (encoders, transport streams).
    ///
    /// # Errors
    /// [`Error::Malformed`] if the unit is larger than [`ACCESS_UNIT_BYTES_MAX`].
    pub fn from_annex_b(data: &[u8]) -> Result<Self, Error> {
        let mut builder = Builder::with_capacity(data.len());
        for nal in AnnexB::new(data) {
            builder.push(nal)?;
        }
        Ok(builder.finish())
    }

    /// True if there is no picture in it, only parameter sets or nothing.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Writes a frame as decoders take it: NAL units between start codes; parameter sets first where `config` is
/// given (before keyframes). Stops at a wrong length.
pub fn write_annex_b(data: &[u8], config: Option<&Config>, out: &mut Vec<u8>) {
    const START: [u8; 4] = [0, 0, 0, 1];
    let sets = config.into_iter().flat_map(|config| config.sps.iter().chain(&config.pps)).map(|nal| &nal[..]);
    for nal in sets.chain(LengthPrefixed::new(data, 4).map_while(Result::ok)) {
        out.extend_from_slice(&START);
        out.extend_from_slice(nal);
    }
}

/// Collects the NAL units of one picture.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    data: BytesMut,
    keyframe: bool,
    slices: usize,
    referenced: bool,
    parameter_sets: Vec<Bytes>,
    /// Where the open NAL unit's length stands.
    open: Option<usize>,
}

const TOO_LARGE: Error = Error::Malformed { what: "H.264 access unit", why: "larger than 8 MiB" };

impl Builder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { data: BytesMut::with_capacity(bytes.min(ACCESS_UNIT_BYTES_MAX)), ..Self::default() }
    }

    /// Notes what the unit says; false if it does not belong into a frame.
    fn look_at(&mut self, nal: &[u8]) -> bool {
        let Some(header) = NalHeader::of(nal) else { return false };
        self.look_at_header(header);
        match header.unit_type() {
            unit_type::SPS | unit_type::PPS => {
                self.parameter_sets.push(Bytes::copy_from_slice(nal));
                false
            }
            unit_type::AUD
            | unit_type::END_OF_SEQUENCE
            | unit_type::END_OF_STREAM
            | unit_type::FILLER
            | unit_type::SPS_EXTENSION => false,
            _ => true,
        }
    }

    fn look_at_header(&mut self, header: NalHeader) {
        if header.is_slice() {
            self.keyframe |= header.is_idr();
            self.slices += 1;
            self.referenced |= header.ref_idc() != 0;
        }
    }

    /// Adds a whole unit. Parameter sets and delimiters are set aside.
    pub(crate) fn push(&mut self, nal: &[u8]) -> Result<(), Error> {
        if !self.look_at(nal) {
            return Ok(());
        }
        self.reserve(nal.len() + 4)?;
        // A NAL unit is shorter than an access unit, whose length fits.
        self.data.put_u32(nal.len() as u32);
        self.data.put_slice(nal);
        Ok(())
    }

    /// Begins a unit that comes in fragments.
    pub(crate) fn open(&mut self, header: u8) -> Result<(), Error> {
        self.look_at_header(NalHeader::from_byte(header));
        self.reserve(5)?;
        self.open = Some(self.data.len());
        self.data.put_u32(0);
        self.data.put_u8(header);
        Ok(())
    }

    /// Adds a fragment to the open unit.
    pub(crate) fn extend(&mut self, fragment: &[u8]) -> Result<(), Error> {
        self.reserve(fragment.len())?;
        self.data.put_slice(fragment);
        Ok(())
    }

    /// Ends the open unit.
    pub(crate) fn close(&mut self) {
        let Some(at) = self.open.take() else { return };
        let length = self.data.len() - at - 4;
        self.data[at..at + 4].copy_from_slice(&(length as u32).to_be_bytes());
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn has_slices(&self) -> bool {
        self.slices > 0
    }

    fn reserve(&self, more: usize) -> Result<(), Error> {
        if self.data.len() + more > ACCESS_UNIT_BYTES_MAX { Err(TOO_LARGE) } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> AccessUnit {
        let data = std::mem::take(&mut self.data).freeze();
        self.finish_with(data)
    }

    fn finish_with(self, data: Bytes) -> AccessUnit {
        AccessUnit {
            // A unit without any slice (SEI alone) is no picture.
            data: if self.slices > 0 { data } else { Bytes::new() },
            keyframe: self.keyframe,
            discardable: self.slices > 0 && !self.referenced,
            parameter_sets: self.parameter_sets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNEX_B: &[u8] =
        &[0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 6, 5, 0, 0, 1, 0x65, 3, 4];

    #[test]
    fn takes_out_parameter_sets_and_delimiters() {
        let unit = AccessUnit::from_annex_b(ANNEX_B).expect("fine");
        assert_eq!(unit.data, [0, 0, 0, 2, 6, 5, 0, 0, 0, 3, 0x65, 3, 4][..]);
        assert!(unit.keyframe && !unit.discardable);
        assert_eq!(unit.parameter_sets, [&[0x67, 1][..], &[0x68, 2]]);
        let mut annex_b = Vec::new();
        write_annex_b(&unit.data, None, &mut annex_b);
        assert_eq!(annex_b, [0, 0, 0, 1, 6, 5, 0, 0, 0, 1, 0x65, 3, 4]);
    }

    #[test]
    fn plain_data_is_not_copied() {
        let data = Bytes::from(vec![0, 0, 0, 2, 0x01, 9]);
        let unit = AccessUnit::from_length_prefixed(data.clone(), 4).expect("fine");
        assert_eq!(unit.data.as_ptr(), data.as_ptr());
        assert!(unit.discardable && !unit.keyframe);
        let short = AccessUnit::from_length_prefixed(Bytes::from_static(&[0, 2, 0x01, 9]), 2).expect("fine");
        assert_eq!(short, unit);
        assert!(AccessUnit::from_length_prefixed(Bytes::from_static(&[0, 0, 0, 9, 1]), 4).is_err());
    }

    #[test]
    fn no_picture_is_no_data() {
        let unit = AccessUnit::from_annex_b(&[0, 0, 1, 6, 5, 0, 0, 1, 0x67, 1]).expect("fine");
        assert!(unit.is_empty() && !unit.keyframe && !unit.discardable && unit.parameter_sets.len() == 1);
    }
}
