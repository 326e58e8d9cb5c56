//! Who fails too often: guessing keys and sessions must not be fast.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sfu::network_of;

/// Failed requests of one address in one [`WINDOW`]. A person who mistypes a key needs a handful; an encoder
/// that retries a wrong key every few seconds stays below it.
const FAILURES_MAX: u32 = 30;

/// Counted anew after this long.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses remembered. At the limit those whose window is over are forgotten, then all: an attacker with
/// so many addresses is not stopped by counting them.
const ADDRESSES_MAX: usize = 8192;

/// Failed requests by address. Loopback is not counted: behind a proxy on this machine it is everybody.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    failures: u32,
}

impl Failures {
    /// How long this address has to wait, if it failed too often.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let window = by_address.get(&network_of(address))?;
        let age = now.saturating_duration_since(window.began);
        (window.failures >= FAILURES_MAX).then(|| WINDOW.checked_sub(age)).flatten()
    }

    /// Counts a failure.
    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        if address.to_canonical().is_loopback() {
            return;
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if by_address.len() >= ADDRESSES_MAX {
            by_address.retain(|_, window| !over(window));
            if by_address.len() >= ADDRESSES_MAX {
                by_address.clear();
            }
        }
        let window = by_address.entry(network_of(address)).or_insert(Window { began: now, failures: 0 });
        if over(window) {
            *window = Window { began: now, failures: 0 };
        }
        window.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        crate::clock::now()
    }

    #[test]
    fn too_many_failures_have_to_wait_for_the_window() {
        let (failures, begun) = (Failures::default(), start());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait(address, begun), None);
            failures.note(address, begun);
        }
        assert_eq!(failures.wait(address, begun + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(failures.wait("192.0.2.2".parse().unwrap(), begun), None);
        assert_eq!(failures.wait(address, begun + WINDOW + Duration::from_millis(1)), None);
        failures.note(address, begun + WINDOW);
        assert_eq!(failures.wait(address, begun + WINDOW), None);
    }

    #[test]
    fn a_network_counts_as_one_and_loopback_not_at_all() {
        let (failures, begun) = (Failures::default(), start());
        for i in 0..FAILURES_MAX {
            failures.note(format!("2001:db8::{i:x}").parse().unwrap(), begun);
            failures.note("127.0.0.1".parse().unwrap(), begun);
            failures.note("::ffff:127.0.0.1".parse().unwrap(), begun);
        }
        assert!(failures.wait("2001:db8::ffff".parse().unwrap(), begun).is_some());
        assert!(failures.wait("127.0.0.1".parse().unwrap(), begun).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let (failures, begun) = (Failures::default(), start());
        for i in 0..20_000u32 {
            failures.note(IpAddr::V4((0x0a00_0000 + i).into()), begun);
        }
        assert!(failures.by_address.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
