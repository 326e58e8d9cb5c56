//! How many Peers come from one network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network that an address counts for: a household or a server has one address of IPv4, and a /64 of IPv6.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts them, and lets no more in than may be. It has an entry per network of a Peer, so it is as bounded as
/// the Peers are.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: usize,
    networks: Mutex<HashMap<IpAddr, usize>>,
}

/// One of a crowd; leaves with its end.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    network: IpAddr,
}

impl Crowd {
    /// At most so many per network.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, networks: Mutex::default() })
    }

    /// `Err`: that network has as many as may be. `Ok(None)`: it does not count, for it is loopback: a proxy on
    /// this machine is everybody.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Option<Place>, Full> {
        if address.to_canonical().is_loopback() {
            return Ok(None);
        }
        let network = network_of(address);
        let mut networks = self.lock();
        let count = networks.entry(network).or_insert(0);
        if *count >= self.max {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(Place { crowd: Arc::clone(self), network }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Drop for Place {
    fn drop(&mut self) {
        let mut networks = self.crowd.lock();
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_a_64_of_ipv6() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network_of(ip(address)), ip(network));
        }
    }

    #[test]
    fn a_network_has_so_many_places_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let first = crowd.enter(ip("2001:db8::1")).unwrap();
        let _second = crowd.enter(ip("2001:db8::2")).unwrap();
        assert!(crowd.enter(ip("2001:db8::3")).is_err());
        assert!(crowd.enter(ip("2001:db8:0:1::3")).is_ok());
        drop(first);
        assert!(crowd.enter(ip("2001:db8::3")).is_ok());
    }

    #[test]
    fn loopback_does_not_count_and_nothing_is_left_behind() {
        let crowd = Crowd::new(1);
        let places: Vec<_> = (0..5).map(|_| crowd.enter(ip("127.0.0.1")).unwrap()).collect();
        assert!(places.iter().all(Option::is_none));
        let place = crowd.enter(ip("192.0.2.1")).unwrap();
        drop(place);
        assert!(crowd.lock().is_empty());
    }
}
