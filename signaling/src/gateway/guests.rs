//! How much the guests of one network write: a guest is a socket, and sockets are free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sfu::network_of;

/// Guests of one network who may write as fast as one may, at the same time, over all rooms of the node. A household has
/// no more; a school has, whose guests seldom write that fast, and whoever signs in does not count.
const AT_FULL_SPEED: usize = 5;

/// Networks remembered. At the limit those whose window is over are forgotten, then all: an attacker with so many
/// networks is not stopped by counting them.
const NETWORKS_MAX: usize = 8192;

/// Messages of guests by network. Loopback is not counted: behind a proxy on this machine it is everybody.
#[derive(Debug)]
pub(super) struct Guests {
    messages_max: usize,
    window: Duration,
    by_network: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    messages: usize,
}

impl Guests {
    /// By what the chat lets one person write.
    pub(super) fn new(chat: &chat::Config) -> Self {
        Self {
            messages_max: chat.messages_max.saturating_mul(AT_FULL_SPEED),
            window: Duration::from_millis(chat.window_ms),
            by_network: Mutex::default(),
        }
    }

    /// How long a guest from there has to wait, if those of the network wrote too much.
    pub(super) fn wait(&self, remote: IpAddr, now: Instant) -> Option<Duration> {
        let by_network = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        let window = by_network.get(&network_of(remote))?;
        let left = self.window.checked_sub(now.saturating_duration_since(window.began));
        left.filter(|left| window.messages >= self.messages_max && !left.is_zero())
    }

    /// Counts a message that was sent. One that its author's own limit refused is none: it would cost the neighbours
    /// theirs.
    pub(super) fn note(&self, remote: IpAddr, now: Instant) {
        if remote.to_canonical().is_loopback() {
            return;
        }
        let mut by_network = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |window: &Window| now.saturating_duration_since(window.began) >= self.window;
        let network = network_of(remote);
        if by_network.len() >= NETWORKS_MAX && !by_network.contains_key(&network) {
            by_network.retain(|_, window| !over(window));
            if by_network.len() >= NETWORKS_MAX {
                by_network.clear();
            }
        }
        let window = by_network.entry(network).or_insert(Window { began: now, messages: 0 });
        if over(window) {
            *window = Window { began: now, messages: 0 };
        }
        window.messages += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn guests() -> (Guests, Instant) {
        (Guests::new(&chat::Config::default()), crate::gateway::now())
    }

    #[test]
    fn the_guests_of_a_network_share_what_five_may_write() {
        let (guests, begun) = guests();
        for n in 0..100 {
            let one = address(&format!("2001:db8::{n:x}"));
            assert_eq!(guests.wait(one, begun), None, "{n}");
            guests.note(one, begun);
        }
        let (another, elsewhere) = (address("2001:db8::ffff"), address("2001:db8:0:1::1"));
        let after = |ms| begun + Duration::from_millis(ms);
        assert_eq!(guests.wait(another, after(2000)), Some(Duration::from_secs(3)));
        assert_eq!(guests.wait(elsewhere, after(2000)), None, "others need not wait");
        assert_eq!(guests.wait(another, after(4999)), Some(Duration::from_millis(1)));
        assert_eq!(guests.wait(another, after(5000)), None);
        guests.note(another, after(5000));
        assert_eq!(guests.wait(another, after(5000)), None, "a new window");
    }

    #[test]
    fn loopback_is_everybody_behind_a_proxy() {
        let (guests, begun) = guests();
        for _ in 0..200 {
            guests.note(address("127.0.0.1"), begun);
            guests.note(address("::ffff:127.0.0.1"), begun);
            guests.note(address("::1"), begun);
        }
        assert_eq!(guests.wait(address("127.0.0.1"), begun), None);
        assert_eq!(guests.wait(address("::1"), begun), None);
    }

    #[test]
    fn memory_is_bounded_and_a_known_network_forgets_no_other() {
        let (guests, begun) = guests();
        let from = |n: u32| IpAddr::V4((0x0a00_0000 + n).into());
        let known = || guests.by_network.lock().expect("not poisoned").len();
        for n in 0..NETWORKS_MAX as u32 {
            guests.note(from(n), begun);
        }
        guests.note(from(1), begun);
        assert_eq!(known(), NETWORKS_MAX);
        for n in 0..20_000 {
            guests.note(from(n), begun);
            assert!(known() <= NETWORKS_MAX);
        }
    }
}
