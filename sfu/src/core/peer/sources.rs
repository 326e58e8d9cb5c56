//! Which SSRC is of which Track and Layer.

use bytes::Bytes;

use crate::sdp_publish::{Extension, PublishOffer};

/// SSRCs let in per Peer: three layers, their retransmissions and sound are seven, a restarted encoder brings
/// new ones. Beyond it unknown ones are dropped before decryption, because each costs memory there.
const SSRCS_MAX: usize = 64;

/// The sources of a publisher.
#[derive(Debug)]
pub(super) struct Sources {
    sections: Vec<Section>,
    admitted: Vec<u32>,
    routes: Vec<(u32, Route)>,
}

#[derive(Debug)]
struct Section {
    payload_type: u8,
    rtx: Option<u8>,
    rids: Vec<String>,
    rid_id: Option<u8>,
    repaired_rid_id: Option<u8>,
}

/// Where the packets of a source go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// Number of the Track: of its m-line among those accepted.
    pub(super) track: usize,
    pub(super) layer: usize,
    /// It carries retransmissions of that SSRC.
    pub(super) repairs: Option<u32>,
}

impl Sources {
    pub(super) fn new(offer: &PublishOffer) -> Self {
        let mut sources = Self { sections: Vec::new(), admitted: Vec::new(), routes: Vec::new() };
        for (track, accepted) in offer.accepted().enumerate() {
            sources.sections.push(Section {
                payload_type: accepted.payload_type,
                rtx: accepted.rtx,
                rids: accepted.rids.iter().map(|rid| rid.as_str().to_owned()).collect(),
                rid_id: accepted.extension(Extension::Rid),
                repaired_rid_id: accepted.extension(Extension::RepairedRid),
            });
            // With simulcast the extension says which layer it is; the order of lines says nothing.
            if !accepted.rids.is_empty() {
                continue;
            }
            for (ssrc, repair) in &accepted.ssrcs {
                sources.add(*ssrc, Route { track, layer: 0, repairs: None });
                if let Some(repair) = repair {
                    sources.add(*repair, Route { track, layer: 0, repairs: Some(*ssrc) });
                }
            }
        }
        sources
    }

    fn add(&mut self, ssrc: u32, route: Route) {
        self.admitted.push(ssrc);
        self.routes.push((ssrc, route));
    }

    /// Whether the SSRC of an encrypted packet may be known. RTCP (RFC 5761 section 4) has its own there.
    pub(super) fn admit(&mut self, data: &[u8]) -> bool {
        let at = if matches!(data.get(1), Some(192..=223)) { 4 } else { 8 };
        let Some(bytes) = data.get(at..).and_then(|rest| rest.first_chunk()) else { return false };
        let ssrc = u32::from_be_bytes(*bytes);
        if self.admitted.contains(&ssrc) {
            return true;
        }
        if self.admitted.len() >= SSRCS_MAX {
            return false;
        }
        self.admitted.push(ssrc);
        true
    }

    /// Finds the Layer of a decrypted packet.
    pub(super) fn route(
        &mut self,
        ssrc: u32,
        payload_type: u8,
        extension: impl Fn(u8) -> Option<Bytes>,
    ) -> Option<Route> {
        if let Some((_, route)) = self.routes.iter().find(|(known, _)| *known == ssrc) {
            let section = self.sections.get(route.track)?;
            let expected = if route.repairs.is_some() { section.rtx } else { Some(section.payload_type) };
            return (expected == Some(payload_type)).then_some(*route);
        }
        let route = self.discover(payload_type, extension)?;
        self.routes.push((ssrc, route));
        Some(route)
    }

    fn discover(&self, payload_type: u8, extension: impl Fn(u8) -> Option<Bytes>) -> Option<Route> {
        let is_repair = |section: &Section| section.rtx == Some(payload_type);
        let (track, section) = self
            .sections
            .iter()
            .enumerate()
            .find(|(_, section)| section.payload_type == payload_type || is_repair(section))?;
        let id = if is_repair(section) { section.repaired_rid_id } else { section.rid_id };
        let layer = if section.rids.is_empty() {
            0
        } else {
            let rid = extension(id?)?;
            section.rids.iter().position(|known| known.as_bytes() == rid.as_ref())?
        };
        let repairs = match is_repair(section) {
            true => Some(self.source_of(track, layer)?),
            false => None,
        };
        Some(Route { track, layer, repairs })
    }

    /// The newest SSRC of a Layer.
    fn source_of(&self, track: usize, layer: usize) -> Option<u32> {
        let wanted = Route { track, layer, repairs: None };
        self.routes.iter().rev().find(|(_, route)| *route == wanted).map(|(ssrc, _)| *ssrc)
    }
}
