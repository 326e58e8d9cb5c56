//! How many connections there may be, in all and of one address. Sans-I/O.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sfu::network_of;

/// Connections over the limit of their address that are kept until they want to publish, to tell them why not: a
/// closed socket tells an encoder nothing. Each lives ten seconds at most; one more is closed at once.
const REFUSALS_MAX: usize = 16;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    refusals: usize,
    /// Bounded by the connections: a network without one has no entry.
    networks: HashMap<IpAddr, usize>,
}

/// What a new connection gets.
#[derive(Debug)]
pub(super) enum Entry {
    /// A place.
    Place(Place),
    /// Its address has all its places: a place to hear that.
    Refusal(Place),
    /// Nothing, because its address has all its places.
    AddressFull,
    /// Nothing: the node has no more.
    Full,
}

impl Places {
    /// At most `max`, and `per_address_max` of one address (IPv6: of one /64). Loopback is this machine: a proxy, a
    /// relay, the demo.
    pub(super) fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, taken: Mutex::default() })
    }

    /// A connection has come.
    pub(super) fn enter(self: &Arc<Self>, remote: IpAddr) -> Entry {
        let network = network_of(remote);
        let mut taken = self.lock();
        if taken.all >= self.max {
            return Entry::Full;
        }
        let theirs = taken.networks.get(&network).copied().unwrap_or(0);
        let network = if theirs < self.per_address_max || remote.to_canonical().is_loopback() {
            taken.networks.insert(network, theirs + 1);
            Some(network)
        } else if taken.refusals < REFUSALS_MAX {
            taken.refusals += 1;
            None
        } else {
            return Entry::AddressFull;
        };
        taken.all += 1;
        drop(taken);
        let place = Place { places: Arc::clone(self), network };
        if place.network.is_some() { Entry::Place(place) } else { Entry::Refusal(place) }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// `None`: a refusal.
    network: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        let Some(network) = self.network else {
            taken.refusals -= 1;
            return;
        };
        if let Some(count) = taken.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                taken.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(places: &Arc<Places>, address: &str) -> Entry {
        places.enter(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_has_its_share_and_hears_when_it_is_used_up() {
        let places = Places::new(100, 2);
        let mut kept = Vec::new();
        for (address, place) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::ffff:2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
        ] {
            let entry = enter(&places, address);
            assert_eq!(matches!(entry, Entry::Place(_)), place, "{address}");
            assert_eq!(matches!(entry, Entry::Refusal(_)), !place, "{address}");
            kept.push(entry);
        }
        kept.remove(0);
        assert!(matches!(enter(&places, "192.0.2.1"), Entry::Place(_)), "a place that was given up");
        kept.clear();
        let taken = places.lock();
        assert_eq!((taken.all, taken.refusals, taken.networks.len()), (0, 0, 0));
    }

    #[test]
    fn refusals_are_few_and_all_count() {
        let places = Places::new(20, 1);
        let mut kept: Vec<Entry> = (0..17).map(|_| enter(&places, "192.0.2.1")).collect();
        assert!(matches!(kept.pop(), Some(Entry::Refusal(_))));
        kept.push(enter(&places, "192.0.2.1"));
        assert!(matches!(enter(&places, "192.0.2.1"), Entry::AddressFull));
        kept.extend((2..5).map(|last| enter(&places, &format!("192.0.2.{last}"))));
        assert!(matches!(enter(&places, "192.0.2.9"), Entry::Full));
    }
}
