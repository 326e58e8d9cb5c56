//! Who does something too often: guessing must not be fast, nor what everybody may do without an account.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Those remembered. At the limit those whose window is over are forgotten, then all: an attacker with so many
/// addresses is not stopped by counting them.
const REMEMBERED_MAX: usize = 8192;

/// Attempts that count, failed ones as a rule, by whoever made them.
#[derive(Debug)]
pub struct Attempts<K> {
    most: u32,
    window: Duration,
    by: Mutex<HashMap<K, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    count: u32,
}

impl<K: Hash + Eq> Attempts<K> {
    /// So many in one window.
    pub fn new(most: u32, window: Duration) -> Self {
        Self { most, window, by: Mutex::default() }
    }

    /// How long somebody has to wait who made too many.
    pub fn wait(&self, who: &K, now: Instant) -> Option<Duration> {
        let by = self.lock();
        let window = by.get(who)?;
        let age = now.saturating_duration_since(window.began);
        let left = self.window.checked_sub(age).filter(|left| !left.is_zero());
        left.filter(|_| window.count >= self.most)
    }

    /// Counts one.
    pub fn note(&self, who: K, now: Instant) {
        let mut by = self.lock();
        let over = |window: &Window| now.saturating_duration_since(window.began) >= self.window;
        if by.len() >= REMEMBERED_MAX && !by.contains_key(&who) {
            by.retain(|_, window| !over(window));
            if by.len() >= REMEMBERED_MAX {
                by.clear();
            }
        }
        let window = by.entry(who).or_insert(Window { began: now, count: 0 });
        if over(window) {
            *window = Window { began: now, count: 0 };
        }
        window.count += 1;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Window>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: of IPv6 the /64, which one subscriber has. None for loopback: behind a proxy on this
/// machine it is everybody.
pub fn network_of(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
        v4 => Some(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn who_fails_too_often_waits_for_the_end_of_the_window() {
        let (attempts, begun) = (Attempts::new(3, Duration::from_secs(60)), clock::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(attempts.wait(&address, begun), None);
            attempts.note(address, begun);
        }
        assert_eq!(attempts.wait(&address, begun + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(attempts.wait(&"192.0.2.2".parse().unwrap(), begun), None);
        assert_eq!(attempts.wait(&address, begun + Duration::from_secs(61)), None);
        let known = || attempts.lock().len();
        for i in 0..REMEMBERED_MAX as u32 {
            attempts.note(IpAddr::V4((0x0a00_0000 + i).into()), begun + Duration::from_secs(61));
        }
        attempts.note("10.0.0.1".parse().unwrap(), begun + Duration::from_secs(61));
        assert_eq!(known(), REMEMBERED_MAX, "who is known makes none forgotten");
        for i in 0..20_000u32 {
            attempts.note(IpAddr::V4((0x0a00_0000 + i).into()), begun);
        }
        assert!(known() <= REMEMBERED_MAX, "memory is bounded");
    }

    #[test]
    fn a_network_is_one_and_loopback_nobody() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!((network("127.0.0.1"), network("::1"), network("::ffff:127.0.0.1")), (None, None, None));
    }
}
