//! Parameter sets as they come in band: the newest of each id.

use std::sync::Arc;

use bytes::Bytes;

use crate::CodecConfig;
use crate::bits::Bits;
use crate::h264::{unescape, without_trailing_zeros};

use super::{Config, NalHeader, PARAMETER_SET_BYTES_MAX, Sps, unit_type};

/// VPS and SPS ids are 0 to 15, PPS ids 0 to 63 (sections 7.4.3.1 to 7.4.3.3): so the memory is bounded by
/// (16 + 16 + 64) × [`PARAMETER_SET_BYTES_MAX`]; an id outside is refused by [`ParameterSets::insert`].
const VPS_ID_MAX: u32 = 15;
const PPS_ID_MAX: u32 = 63;

/// The newest parameter set of each id, and the [`Config`] that follows from them.
#[derive(Debug, Default)]
pub struct ParameterSets {
    sets: Vec<Set>,
    /// The configuration handed out last; shared until something changes.
    config: Option<Arc<CodecConfig>>,
    changed: bool,
}

#[derive(Debug)]
struct Set {
    unit_type: u8,
    id: u8,
    /// The set that it refers to: of an SPS its VPS, of a PPS its SPS.
    refers_to: u8,
    nal: Bytes,
}

impl ParameterSets {
    /// Takes a NAL unit; true if it is a parameter set (even a malformed one, which is not kept).
    pub fn insert(&mut self, nal: &[u8]) -> bool {
        let Some((header, _)) = NalHeader::split(nal) else { return false };
        if !matches!(header.unit_type(), unit_type::VPS | unit_type::SPS | unit_type::PPS) {
            return false;
        }
        let nal = without_trailing_zeros(nal);
        // Sets of enhancement layers have ids of their own, and nobody here decodes those layers.
        if nal.len() <= PARAMETER_SET_BYTES_MAX && header.layer_id() == 0 {
            self.changed |= self.keep(header.unit_type(), nal).is_some();
        }
        true
    }

    /// `Some` if it is new.
    fn keep(&mut self, unit_type: u8, nal: &[u8]) -> Option<()> {
        let (id, refers_to) = ids(unit_type, nal)?;
        let same = |set: &&mut Set| set.unit_type == unit_type && set.id == id;
        match self.sets.iter_mut().find(same) {
            Some(known) if known.nal == nal => return None,
            Some(known) => (known.refers_to, known.nal) = (refers_to, Bytes::copy_from_slice(nal)),
            None => self.sets.push(Set { unit_type, id, refers_to, nal: Bytes::copy_from_slice(nal) }),
        }
        Some(())
    }

    /// The configuration handed out last.
    pub fn config(&self) -> Option<&Arc<CodecConfig>> {
        self.config.as_ref()
    }

    /// The configuration for a picture whose slices name `pps_id`. `None` if its sets did not come or are
    /// malformed. The same `Arc` until something changes.
    pub fn activate(&mut self, pps_id: u8) -> Option<&Arc<CodecConfig>> {
        let find =
            |unit_type, id| self.sets.iter().find(move |set| set.unit_type == unit_type && set.id == id);
        let sps = find(unit_type::SPS, find(unit_type::PPS, pps_id)?.refers_to)?;
        let same = self.config.as_deref().is_some_and(
            |config| matches!(config, CodecConfig::H265(config) if config.sps.first() == Some(&sps.nal)),
        );
        if self.changed || !same {
            let vps = find(unit_type::VPS, sps.refers_to).map(|vps| vps.nal.clone());
            let of_sps = |set: &&Set| set.unit_type == unit_type::PPS && set.refers_to == sps.id;
            let pps = self.sets.iter().filter(of_sps).map(|set| set.nal.clone()).collect();
            let config = Config::from_parameter_sets(vps.into_iter().collect(), vec![sps.nal.clone()], pps);
            let config = CodecConfig::H265(config.ok()?);
            self.changed = false;
            if self.config.as_deref() != Some(&config) {
                self.config = Some(Arc::new(config));
            }
        }
        self.config.as_ref()
    }
}

/// The id of a set, and that of the one which it refers to.
fn ids(unit_type: u8, nal: &[u8]) -> Option<(u8, u8)> {
    let (_, payload) = NalHeader::split(nal)?;
    if unit_type == unit_type::SPS {
        return Sps::parse(nal).ok().map(|sps| (sps.id, sps.vps_id));
    }
    let mut space = [0; 16];
    let length = unescape(payload, &mut space);
    let mut bits = Bits::new(&space[..length]);
    match unit_type {
        unit_type::VPS => Some((bits.take(4)? as u8, 0)),
        _ => {
            let id = bits.unsigned_exp_golomb().filter(|id| *id <= PPS_ID_MAX)?;
            let sps_id = bits.unsigned_exp_golomb().filter(|id| *id <= VPS_ID_MAX)?;
            Some((id as u8, sps_id as u8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::tests::unhex;
    use crate::h265::sps_for_tests::MAIN;

    const VPS: &str = "40010c01ffff01600000030090000003000003003cba0240";
    const PPS: &str = "4401c073c189";
    const OTHER_PPS: &str = "440170";

    #[test]
    fn the_config_is_shared_until_something_changes() {
        let mut sets = ParameterSets::default();
        assert!(sets.insert(&unhex(MAIN)) && sets.insert(&unhex(PPS)));
        assert!(!sets.insert(&[0x26, 0x01, 0xaf]) && !sets.insert(&[0x40]));
        let first = Arc::clone(sets.activate(0).expect("config"));
        assert_eq!(first.size(), Some((320, 180)));
        sets.insert(&unhex(PPS));
        assert!(Arc::ptr_eq(&first, sets.activate(0).expect("config")));
        sets.insert(&unhex(VPS));
        let with_vps = Arc::clone(sets.activate(0).expect("config"));
        let CodecConfig::H265(config) = &*with_vps else { unreachable!("H.265 makes H.265") };
        assert_eq!((config.vps.len(), config.sps.len(), config.pps.len()), (1, 1, 1));
        assert!(sets.activate(2).is_none());
        // PPS 2 of SPS 0.
        sets.insert(&unhex(OTHER_PPS));
        assert!(sets.activate(2).is_some());
    }
}
