//! Our ICE candidates as they stand in answers: all are hosts, all on the one port.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::egress::batch::Transport;

/// TCP candidates in an answer, the best addresses. A browser opens a connection for each before it knows
/// whether UDP works; who needs TCP at all needs one that is reachable.
const TCP_MAX: usize = 4;

/// Where we can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Address and port.
    pub address: SocketAddr,
    /// By what. TCP: we listen, the other side opens the connection (RFC 6544 section 4.1, passive).
    pub transport: Transport,
}

impl Candidate {
    /// Those of these addresses, which stand in order of preference: UDP for all of them, then TCP if we listen.
    pub(crate) fn of(addresses: &[SocketAddr], tcp: bool) -> Vec<Self> {
        let by = |transport| move |address: &SocketAddr| Self { address: *address, transport };
        let tcp = addresses.iter().filter(|_| tcp).take(TCP_MAX);
        addresses.iter().map(by(Transport::Udp)).chain(tcp.map(by(Transport::Tcp))).collect()
    }

    /// RFC 8445 section 5.1.2.1 and RFC 6544 section 4.2: component 1, the preference falling in our order. A
    /// TCP candidate is below every UDP one.
    fn priority(&self, place: u32) -> u32 {
        let (kind, preference) = match self.transport {
            Transport::Udp => (126, 65_535 - place.min(65_535)),
            // Direction preference 4 (passive), then our order.
            Transport::Tcp => (90, (4 << 13) | (8191 - place.min(8191))),
        };
        (kind << 24) | (preference << 8) | 255
    }
}

/// Appends the lines, and says that there are no more.
pub(crate) fn write_candidates(text: &mut String, candidates: &[Candidate]) {
    for (place, candidate) in (0u32..).zip(candidates) {
        let (number, priority) = (place + 1, candidate.priority(place));
        let (ip, port) = (candidate.address.ip(), candidate.address.port());
        // Writing to a String cannot fail.
        let _ = match candidate.transport {
            Transport::Udp => {
                write!(text, "a=candidate:{number} 1 udp {priority} {ip} {port} typ host\r\n")
            }
            // RFC 6544 section 4.5.
            Transport::Tcp => {
                write!(text, "a=candidate:{number} 1 tcp {priority} {ip} {port} typ host tcptype passive\r\n")
            }
        };
    }
    text.push_str("a=end-of-candidates\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|last| ([192, 0, 2, last], 8189).into()).collect()
    }

    #[test]
    fn udp_comes_first_and_tcp_is_passive() {
        let mut text = String::new();
        write_candidates(&mut text, &Candidate::of(&addresses(2), true));
        assert_eq!(
            text,
            "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n\
             a=candidate:2 1 udp 2130706175 192.0.2.2 8189 typ host\r\n\
             a=candidate:3 1 tcp 1520434687 192.0.2.1 8189 typ host tcptype passive\r\n\
             a=candidate:4 1 tcp 1520434431 192.0.2.2 8189 typ host tcptype passive\r\n\
             a=end-of-candidates\r\n"
        );
    }

    #[test]
    fn tcp_is_for_the_best_addresses_and_only_if_we_listen() {
        assert_eq!(Candidate::of(&addresses(9), true).len(), 9 + TCP_MAX);
        assert_eq!(Candidate::of(&addresses(9), false).len(), 9);
    }

    #[test]
    fn priorities_fall() {
        let all = Candidate::of(&addresses(12), true);
        let priorities: Vec<u32> =
            (0..).zip(&all).map(|(place, candidate)| candidate.priority(place)).collect();
        assert!(priorities.windows(2).all(|pair| pair[0] > pair[1]), "{priorities:?}");
    }
}
