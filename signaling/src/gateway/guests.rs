//! How much the guests of one network write: a guest is a socket, and sockets are free.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use control::{Attempts, network_of};

/// Guests of one network who may write as fast as one may, at the same time, over all rooms of the node. A household has
/// no more; a school has, whose guests seldom write that fast, and whoever signs in does not count.
const AT_FULL_SPEED: usize = 5;

/// Messages of guests by network. Loopback is not counted: behind a proxy on this machine it is everybody.
#[derive(Debug)]
pub(super) struct Guests(Attempts<IpAddr>);

impl Guests {
    /// By what the chat lets one person write.
    pub(super) fn new(chat: &chat::Config) -> Self {
        let most = u32::try_from(chat.messages_max.saturating_mul(AT_FULL_SPEED)).unwrap_or(u32::MAX);
        Self(Attempts::new(most, Duration::from_millis(chat.window_ms)))
    }

    /// How long a guest from there has to wait, if those of the network wrote too much.
    pub(super) fn wait(&self, remote: IpAddr, now: Instant) -> Option<Duration> {
        self.0.wait(&network_of(remote)?, now)
    }

    /// Counts a message that was sent. One that its author's own limit refused is none: it would cost the neighbours
    /// theirs.
    pub(super) fn note(&self, remote: IpAddr, now: Instant) {
        if let Some(network) = network_of(remote) {
            self.0.note(network, now);
        }
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
}
