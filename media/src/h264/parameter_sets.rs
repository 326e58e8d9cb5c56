//! Parameter sets as they come in band: the newest of each id.

use std::sync::Arc;

use bytes::Bytes;

use crate::CodecConfig;
use crate::bits::Bits;

use super::Config;
use super::nal::{NalHeader, unit_type, without_trailing_zeros};
use super::slice::unescape;
use super::sps::PARAMETER_SET_BYTES_MAX;

/// SPS ids are 0 to 31 (section 7.4.2.1.1), PPS ids 0 to 255 (7.4.2.2): so the memory is bounded by
/// (32 + 256) × [`PARAMETER_SET_BYTES_MAX`]; an id outside is refused by [`ParameterSets::insert`].
const SPS_ID_MAX: u32 = 31;
const PPS_ID_MAX: u32 = 255;

/// The newest parameter set of each id, and the [`Config`] that follows from them.
#[derive(Debug, Default)]
pub struct ParameterSets {
    sps: Vec<(u8, Bytes)>,
    pps: Vec<PictureSet>,
    /// The configuration handed out last; shared until something changes.
    config: Option<Arc<CodecConfig>>,
    changed: bool,
}

#[derive(Debug)]
struct PictureSet {
    id: u8,
    sps_id: u8,
    nal: Bytes,
}

impl ParameterSets {
    /// Takes a NAL unit; true if it is a parameter set (even a malformed one, which is not kept).
    pub fn insert(&mut self, nal: &[u8]) -> bool {
        let unit = NalHeader::of(nal).map(NalHeader::unit_type);
        if !matches!(unit, Some(unit_type::SPS | unit_type::PPS)) {
            return false;
        }
        let nal = without_trailing_zeros(nal);
        if nal.len() > PARAMETER_SET_BYTES_MAX {
            return true;
        }
        let kept = if unit == Some(unit_type::SPS) { self.insert_sps(nal) } else { self.insert_pps(nal) };
        self.changed |= kept.is_some();
        true
    }

    /// `Some` if it is new.
    fn insert_sps(&mut self, nal: &[u8]) -> Option<()> {
        // Profile, constraints and level come before the id.
        let id = Bits::new(front(nal.get(4..)?, &mut [0; 8])).unsigned_exp_golomb()?;
        let id = u8::try_from(id).ok().filter(|&id| u32::from(id) <= SPS_ID_MAX)?;
        match self.sps.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) if known == nal => return None,
            Some((_, known)) => *known = Bytes::copy_from_slice(nal),
            None => self.sps.push((id, Bytes::copy_from_slice(nal))),
        }
        Some(())
    }

    fn insert_pps(&mut self, nal: &[u8]) -> Option<()> {
        let mut space = [0; 16];
        let mut bits = Bits::new(front(nal.get(1..)?, &mut space));
        let id = bits.unsigned_exp_golomb().filter(|&id| id <= PPS_ID_MAX)?;
        let sps_id = bits.unsigned_exp_golomb().filter(|&id| id <= SPS_ID_MAX)?;
        let (id, sps_id) = (u8::try_from(id).ok()?, u8::try_from(sps_id).ok()?);
        match self.pps.iter_mut().find(|known| known.id == id) {
            Some(known) if known.nal == nal => return None,
            Some(known) => *known = PictureSet { id, sps_id, nal: Bytes::copy_from_slice(nal) },
            None => self.pps.push(PictureSet { id, sps_id, nal: Bytes::copy_from_slice(nal) }),
        }
        Some(())
    }

    /// The configuration handed out last.
    pub fn config(&self) -> Option<&Arc<CodecConfig>> {
        self.config.as_ref()
    }

    /// The configuration for a picture whose slices name `pps_id` ([`super::SliceHeader`]): its SPS and that
    /// one's picture parameter sets. `None` if they did not come or are malformed. The same `Arc` until
    /// something changes.
    pub fn activate(&mut self, pps_id: u8) -> Option<&Arc<CodecConfig>> {
        let sps_id = self.pps.iter().find(|pps| pps.id == pps_id)?.sps_id;
        let (_, sps) = self.sps.iter().find(|(id, _)| *id == sps_id)?;
        let same = self.config.as_deref().is_some_and(
            |config| matches!(config, CodecConfig::H264(config) if config.sps.first() == Some(sps)),
        );
        if self.changed || !same {
            let pps = self.pps.iter().filter(|pps| pps.sps_id == sps_id).map(|pps| pps.nal.clone()).collect();
            let config = CodecConfig::H264(Config::from_parameter_sets(vec![sps.clone()], pps).ok()?);
            self.changed = false;
            if self.config.as_deref() != Some(&config) {
                self.config = Some(Arc::new(config));
            }
        }
        self.config.as_ref()
    }

    /// Starts from what was announced out of band (avcC, `sprop-parameter-sets`).
    pub fn seed(&mut self, config: &Config) {
        for nal in config.sps.iter().chain(&config.pps) {
            self.insert(nal);
        }
    }
}

fn front<'a>(payload: &[u8], space: &'a mut [u8]) -> &'a [u8] {
    let length = unescape(payload, space);
    &space[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::tests::unhex;
    use crate::h264::sps::tests::{BASELINE, HIGH_720P};

    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
    const IDR: &[u8] = &[0x65, 0b1000_1000, 0b1000_0000];

    #[test]
    fn the_config_is_shared_until_something_changes() {
        let mut sets = ParameterSets::default();
        assert!(sets.activate(0).is_none());
        assert!(sets.insert(&unhex(BASELINE)) && sets.insert(PPS) && !sets.insert(IDR));
        let first = Arc::clone(sets.activate(0).expect("config"));
        assert_eq!(first.size(), Some((64, 64)));
        sets.insert(&unhex(BASELINE));
        assert!(Arc::ptr_eq(&first, sets.activate(0).expect("config")));
        sets.insert(&unhex(HIGH_720P));
        assert_eq!(sets.activate(0).expect("config").size(), Some((1280, 720)));
    }
}
