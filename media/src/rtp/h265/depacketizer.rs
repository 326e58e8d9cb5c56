//! Payloads to access units.

use bytes::{BufMut, BytesMut};

use crate::bits::Bits;
use crate::h265::{NalHeader, ParameterSets, unit_type};
use crate::rtp::assembly::{Assembly, Finished, Payloads, Picture};
use crate::{CodecConfig, Error};

use super::{Aggregated, FU_END, FU_START, FU_TYPE};

/// Packets to frames.
pub(crate) type Depacketizer = Assembly<Format>;

/// Bytes of one picture at most; see [`crate::h264::ACCESS_UNIT_BYTES_MAX`].
const PICTURE_BYTES_MAX: usize = crate::h264::ACCESS_UNIT_BYTES_MAX;

/// What is known for longer than one access unit.
#[derive(Debug, Default)]
pub(crate) struct Format {
    parameter_sets: ParameterSets,
}

/// The access unit whose packets are coming in.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// NAL units, each behind its length in 4 bytes.
    data: BytesMut,
    /// Where the length of the NAL unit stands that comes in fragments.
    open: Option<usize>,
    has_slices: bool,
    keyframe: bool,
    referenced: bool,
    has_sps: bool,
    /// What the SPS of its picture says about reordering.
    reorder_frames: Option<u32>,
}

const REFUSED: fn(&'static str) -> Error = |why| Error::Unsupported { what: "H.265 RTP payload", why };
const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "H.265 RTP payload", why };

impl Payloads for Format {
    type Unit = Unit;

    fn begin(&self, bytes: usize) -> Unit {
        Unit { data: BytesMut::with_capacity(bytes), ..Unit::default() }
    }

    fn take(&mut self, unit: &mut Unit, payload: &[u8]) -> Result<(), Error> {
        let (header, rest) = NalHeader::split(payload).ok_or(BROKEN("cut off"))?;
        if header.unit_type() != unit_type::FRAGMENT && unit.open.is_some() {
            return Err(BROKEN("a fragmented unit without end"));
        }
        match header.unit_type() {
            0..unit_type::AGGREGATION => self.take_nal(unit, payload),
            unit_type::AGGREGATION => {
                for nal in Aggregated(rest) {
                    let nal = nal.ok_or(BROKEN("aggregation packet cut off"))?;
                    match NalHeader::split(nal) {
                        Some((header, _)) if header.unit_type() < unit_type::AGGREGATION => {
                            self.take_nal(unit, nal)?;
                        }
                        _ => return Err(BROKEN("an aggregation packet of something else")),
                    }
                }
                Ok(())
            }
            unit_type::FRAGMENT => self.take_fragment(unit, header, rest),
            // PACI (section 4.4.4) and what is not specified.
            _ => Err(REFUSED("packet types other than units, aggregates and fragments")),
        }
    }

    fn finish(&mut self, unit: Unit) -> Finished {
        if unit.open.is_some() {
            return Finished::Broken;
        }
        if !unit.has_slices {
            return Finished::Nothing;
        }
        Finished::Picture(Picture {
            data: unit.data.freeze(),
            keyframe: unit.keyframe,
            discardable: !unit.referenced,
            config: self.parameter_sets.config().cloned(),
            brings_config: unit.has_sps,
            reorder_frames: unit.reorder_frames,
        })
    }
}

impl Format {
    fn take_nal(&mut self, unit: &mut Unit, nal: &[u8]) -> Result<(), Error> {
        let Some((header, payload)) = NalHeader::split(nal) else { return Ok(()) };
        if self.parameter_sets.insert(nal) {
            unit.has_sps |= header.unit_type() == unit_type::SPS && header.layer_id() == 0;
            return Ok(());
        }
        let of_picture = !matches!(
            header.unit_type(),
            unit_type::AUD | unit_type::END_OF_SEQUENCE | unit_type::END_OF_BITSTREAM | unit_type::FILLER
        );
        if header.layer_id() == 0 && of_picture {
            self.look_at_slice(unit, header, payload)?;
            unit.reserve(nal.len() + 4)?;
            // A NAL unit is shorter than an access unit, whose length fits.
            unit.data.put_u32(nal.len() as u32);
            unit.data.put_slice(nal);
        }
        Ok(())
    }

    fn take_fragment(&mut self, unit: &mut Unit, header: NalHeader, rest: &[u8]) -> Result<(), Error> {
        let (&fu, fragment) = rest.split_first().ok_or(BROKEN("fragment cut off"))?;
        if fu & FU_START != 0 {
            if unit.open.is_some() {
                return Err(BROKEN("a fragmented unit without end"));
            }
            let header = header.with_type(fu & FU_TYPE);
            // Parameter sets and delimiters are far smaller than a packet.
            if !header.is_slice() || header.layer_id() > 0 {
                return Err(REFUSED("fragments of a unit that is no slice of the base layer"));
            }
            self.look_at_slice(unit, header, fragment)?;
            unit.reserve(6)?;
            unit.open = Some(unit.data.len());
            unit.data.put_u32(0);
            unit.data.put_slice(&header.bytes());
        } else if unit.open.is_none() {
            return Err(BROKEN("a fragmented unit without beginning"));
        }
        unit.reserve(fragment.len())?;
        unit.data.put_slice(fragment);
        if fu & FU_END != 0 {
            unit.close();
        }
        Ok(())
    }

    /// The first slice segment of a picture says that it is (else its beginning is lost), and names its
    /// parameter sets (ITU-T H.265 section 7.3.6.1).
    fn look_at_slice(&mut self, unit: &mut Unit, header: NalHeader, payload: &[u8]) -> Result<(), Error> {
        if !header.is_slice() {
            return Ok(());
        }
        if !unit.has_slices {
            // The first bits hold no emulation prevention: that needs two zero bytes before it.
            let mut bits = Bits::new(payload);
            let cut_off = || BROKEN("slice header cut off");
            if !bits.flag().ok_or_else(cut_off)? {
                return Err(BROKEN("the first slice of a picture is missing"));
            }
            if header.is_random_access() {
                // no_output_of_prior_pics_flag
                bits.flag();
            }
            let pps_id = bits.unsigned_exp_golomb().and_then(|id| u8::try_from(id).ok());
            let config = self.parameter_sets.activate(pps_id.ok_or_else(cut_off)?);
            let Some(CodecConfig::H265(config)) = config.map(|config| &**config) else {
                return Err(BROKEN("a picture without parameter sets"));
            };
            unit.reorder_frames = Some(u32::from(config.sequence.reorder_frames));
            // In a lower sub-layer, a higher one may refer to it all the same.
            unit.referenced = header.temporal_id() + 1 < config.sequence.sub_layers;
        }
        unit.has_slices = true;
        unit.keyframe |= header.is_random_access();
        unit.referenced |= !header.is_sub_layer_non_reference();
        Ok(())
    }
}

impl Unit {
    fn reserve(&self, more: usize) -> Result<(), Error> {
        match self.data.len() + more > PICTURE_BYTES_MAX {
            true => Err(BROKEN("an access unit larger than 8 MiB")),
            false => Ok(()),
        }
    }

    /// Ends the unit that came in fragments.
    fn close(&mut self) {
        let Some(at) = self.open.take() else { return };
        let length = self.data.len() - at - 4;
        self.data[at..at + 4].copy_from_slice(&(length as u32).to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
