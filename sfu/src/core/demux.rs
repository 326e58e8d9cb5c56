//! Whose a datagram is: by ufrag for checks, by 4-tuple for everything after (RFC 7983).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::ice_agent::IceAgent;
use crate::PeerId;
use crate::egress::batch::{Dest, Transport};

/// 4-tuples remembered of Peers on other shards: their DTLS and SRTCP must be passed on. When it is full the
/// silent ones go; if none is silent a new one is not remembered, and that Peer's player tries its next pair.
const ELSEWHERE_MAX: usize = 16_384;
/// A browser checks every few seconds; what was silent for so long has another 4-tuple now.
const ELSEWHERE_SILENT: Duration = Duration::from_secs(60);

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
    elsewhere: HashMap<Tuple, (usize, Instant)>,
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
        self.elsewhere.remove(&tuple);
        self.tuples.insert(tuple, home);
    }

    pub(crate) fn forget(&mut self, tuple: Tuple) {
        self.tuples.remove(&tuple);
    }

    /// A check said that a Peer of another shard uses this 4-tuple.
    pub(crate) fn learn_elsewhere(&mut self, now: Instant, tuple: Tuple, shard: usize) {
        if self.elsewhere.len() >= ELSEWHERE_MAX && !self.elsewhere.contains_key(&tuple) {
            self.elsewhere.retain(|_, (_, heard)| now.saturating_duration_since(*heard) < ELSEWHERE_SILENT);
            if self.elsewhere.len() >= ELSEWHERE_MAX {
                return;
            }
        }
        self.elsewhere.insert(tuple, (shard, now));
    }

    pub(crate) fn elsewhere(&mut self, now: Instant, tuple: Tuple) -> Option<usize> {
        let (shard, heard) = self.elsewhere.get_mut(&tuple)?;
        *heard = now;
        Some(*shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

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
    fn the_memory_of_other_shards_is_bounded() {
        let now = beginning();
        let mut routes = Routes::default();
        let tuple = |port: usize| {
            let local = IpAddr::from([10, 0, (port >> 16) as u8, 1]);
            Tuple { remote: SocketAddr::new(local, port as u16), local, transport: Transport::Udp }
        };
        for port in 0..ELSEWHERE_MAX + 10 {
            routes.learn_elsewhere(now, tuple(port), 1);
        }
        assert_eq!(routes.elsewhere.len(), ELSEWHERE_MAX);
        let later = now + ELSEWHERE_SILENT * 2;
        routes.learn_elsewhere(later, tuple(ELSEWHERE_MAX + 1), 2);
        assert_eq!(routes.elsewhere(later, tuple(ELSEWHERE_MAX + 1)), Some(2));
    }
}
