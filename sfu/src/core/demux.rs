//! Whose a datagram is: by ufrag for checks, by 4-tuple for everything after (RFC 7983).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::ice_agent::IceAgent;
use crate::PeerId;
use crate::egress::batch::{Dest, Transport};

/// 4-tuples remembered of Peers on other shards: their DTLS and SRTCP must be passed on. Twice so many: those that spoke
/// since the newer half was empty, and those before. When the newer half is full, the older one is forgotten and the
/// newer one takes its place. Anybody may claim to be on another shard, so a flood of claims must push out who is silent,
/// not who is there, and must cost no search. Who was forgotten is known again by its next check.
const ELSEWHERE_MAX: usize = 8192;

/// What a datagram is by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Stun,
    Dtls,
    Rtcp,
    Rtp,
    Unknown,
}

/// RFC 7983 section 7, RFC 5761 section 4.
pub(crate) fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [0..=3, ..] => Class::Stun,
        [20..=63, ..] => Class::Dtls,
        [128..=191, 192..=223, ..] => Class::Rtcp,
        [128..=191, _, ..] => Class::Rtp,
        _ => Class::Unknown,
    }
}

/// The two ends of a way to a Peer, without our port: it is always the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// The Peer, as we see it.
    pub remote: SocketAddr,
    /// Our address that it uses.
    pub local: IpAddr,
    /// By what.
    pub transport: Transport,
}

impl Dest {
    pub(crate) const fn of(tuple: Tuple) -> Self {
        Self { to: tuple.remote, from: tuple.local, transport: tuple.transport, gso: true }
    }

    pub(crate) const fn tuple(&self) -> Tuple {
        Tuple { remote: self.to, local: self.from, transport: self.transport }
    }
}

/// Where a Peer of this shard is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Viewer(u32),
    Publisher(u32),
}

/// All names under which the Peers of this shard are found.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    ids: HashMap<PeerId, Home>,
    ufrags: HashMap<String, Home>,
    tuples: HashMap<Tuple, Home>,
    /// By 4-tuple the shard: newer half, older half.
    elsewhere: [HashMap<Tuple, usize>; 2],
}

impl Routes {
    pub(crate) fn add(&mut self, id: PeerId, ufrag: &str, home: Home) {
        self.ids.insert(id, home);
        self.ufrags.insert(ufrag.to_owned(), home);
    }

    pub(crate) fn remove(&mut self, id: PeerId, agent: &IceAgent) {
        let home = self.ids.remove(&id);
        for ufrag in agent.ufrags() {
            self.ufrags.remove(ufrag);
        }
        for tuple in agent.tuples() {
            if self.tuples.get(&tuple).copied() == home {
                self.tuples.remove(&tuple);
            }
        }
    }

    /// An ICE restart gave a Peer another ufrag besides.
    pub(crate) fn add_ufrag(&mut self, ufrag: &str, home: Home) {
        self.ufrags.insert(ufrag.to_owned(), home);
    }

    /// An ICE session is over.
    pub(crate) fn retire(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }

    pub(crate) fn by_id(&self, id: PeerId) -> Option<Home> {
        self.ids.get(&id).copied()
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<Home> {
        self.ufrags.get(ufrag).copied()
    }

    pub(crate) fn by_tuple(&self, tuple: Tuple) -> Option<Home> {
        self.tuples.get(&tuple).copied()
    }

    /// A 4-tuple has proven itself to be that Peer's.
    pub(crate) fn learn(&mut self, tuple: Tuple, home: Home) {
        for half in &mut self.elsewhere {
            half.remove(&tuple);
        }
        self.tuples.insert(tuple, home);
    }

    pub(crate) fn forget(&mut self, tuple: Tuple) {
        self.tuples.remove(&tuple);
    }

    /// A check said that a Peer of another shard uses this 4-tuple.
    pub(crate) fn learn_elsewhere(&mut self, tuple: Tuple, shard: usize) {
        let [newer, older] = &mut self.elsewhere;
        if newer.len() >= ELSEWHERE_MAX && !newer.contains_key(&tuple) {
            *older = std::mem::take(newer);
        }
        newer.insert(tuple, shard);
    }

    /// Which shard has the Peer of this 4-tuple, which has just spoken.
    pub(crate) fn elsewhere(&mut self, tuple: Tuple) -> Option<usize> {
        let [newer, older] = &mut self.elsewhere;
        if let Some(shard) = newer.get(&tuple) {
            return Some(*shard);
        }
        let shard = older.remove(&tuple)?;
        self.learn_elsewhere(tuple, shard);
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_it_is() {
        for (bytes, class) in [
            (&[][..], Class::Unknown),
            (&[0, 1], Class::Stun),
            (&[22, 0xfe], Class::Dtls),
            (&[0x80, 200], Class::Rtcp),
            (&[0x80, 96], Class::Rtp),
            (&[0x80], Class::Unknown),
            (&[64, 0], Class::Unknown),
        ] {
            assert_eq!(classify(bytes), class, "{bytes:?}");
        }
    }

    #[test]
    fn a_flood_of_claims_pushes_out_who_is_silent_and_not_who_is_there() {
        let mut routes = Routes::default();
        let tuple = |port: usize| {
            let local = IpAddr::from([10, 0, (port >> 16) as u8, 1]);
            Tuple { remote: SocketAddr::new(local, port as u16), local, transport: Transport::Udp }
        };
        let (there, silent) = (tuple(0), tuple(1));
        routes.learn_elsewhere(there, 1);
        routes.learn_elsewhere(silent, 2);
        for port in 2..5 * ELSEWHERE_MAX {
            routes.learn_elsewhere(tuple(port), 3);
            // It says something now and then: far less often than the flood.
            if port % 1000 == 0 {
                assert_eq!(routes.elsewhere(there), Some(1), "{port}");
            }
            assert!(routes.elsewhere.iter().all(|half| half.len() <= ELSEWHERE_MAX));
        }
        assert_eq!(routes.elsewhere(silent), None);
        // What has come here is not elsewhere.
        routes.learn(there, Home::Viewer(7));
        assert_eq!((routes.elsewhere(there), routes.by_tuple(there)), (None, Some(Home::Viewer(7))));
    }
}
