//! What a lite agent says (RFC 8445 section 2.5): answers to valid checks, and nothing to anything else.

use std::net::SocketAddr;

use super::credentials::Credentials;
use super::stun::{self, BINDING_REQUEST, BINDING_SUCCESS, Message, USE_CANDIDATE, USERNAME};

/// A binding request that is well-formed; nothing is believed before [`Check::is_authentic`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check<'a> {
    message: Message<'a>,
    username: &'a str,
    /// The controlling side wants this pair.
    pub(crate) nominates: bool,
}

impl<'a> Check<'a> {
    /// Reads a datagram; `None` if it is no binding request with the attributes that a check must have.
    ///
    /// PRIORITY and ICE-CONTROLLING are not asked for: real encoders omit them, and a lite agent has no use
    /// for either.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let message = Message::parse(BINDING_REQUEST, datagram)?;
        Some(Self { message, username: message.username?, nominates: message.use_candidate })
    }

    /// The ufrag of the side that was asked: ours (RFC 8445 section 7.2.2).
    pub(crate) fn local_ufrag(&self) -> &'a str {
        self.username.split(':').next().unwrap_or("")
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> usize {
        self.message.bytes().len()
    }

    /// Whether the sender knows our password.
    pub(crate) fn is_authentic(&self, ours: &Credentials) -> bool {
        self.message.is_signed_with(ours.key())
    }

    /// Writes the success response to an authentic check into `out`, which is empty.
    pub(crate) fn write_response(&self, from: SocketAddr, ours: &Credentials, out: &mut Vec<u8>) {
        stun::begin(out, BINDING_SUCCESS, self.message.transaction_id());
        stun::push_xor_address(out, from);
        stun::end(out, ours.key());
    }
}

/// A check as the other side would send it. `credentials`: of the side that is asked.
pub(crate) fn request(username: &str, credentials: &Credentials, nominates: bool) -> Vec<u8> {
    let mut out = Vec::new();
    stun::begin(&mut out, BINDING_REQUEST, [7; 12]);
    stun::push_attribute(&mut out, USERNAME, username.as_bytes());
    if nominates {
        stun::push_attribute(&mut out, USE_CANDIDATE, &[]);
    }
    stun::end(&mut out, credentials.key());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stun::{HEADER_BYTES, push_attribute, set_length};

    fn request(username: &str, pwd: &str, nominates: bool, fingerprint: bool) -> Vec<u8> {
        let mut out = super::request(username, &Credentials::new(String::new(), pwd), nominates);
        if !fingerprint {
            out.truncate(out.len() - 8);
            set_length(&mut out, 0);
        }
        out
    }

    #[test]
    fn only_who_knows_the_password_is_believed() {
        let ours = Credentials::new("ours".to_owned(), "secret");
        for (pwd, authentic) in [("secret", true), ("guess", false), ("", false)] {
            for fingerprint in [true, false] {
                let datagram = request("ours:theirs", pwd, true, fingerprint);
                let check = Check::parse(&datagram).expect("well-formed");
                assert_eq!(check.local_ufrag(), "ours");
                assert!(check.nominates);
                assert_eq!(check.is_authentic(&ours), authentic, "{pwd}");
            }
        }
    }

    #[test]
    fn a_nomination_behind_the_integrity_does_not_count() {
        let mut datagram = request("ours:theirs", "secret", false, false);
        push_attribute(&mut datagram, USE_CANDIDATE, &[]);
        set_length(&mut datagram, 0);
        assert!(!Check::parse(&datagram).expect("well-formed").nominates);
    }

    #[test]
    fn broken_messages_are_nothing() {
        let whole = request("ours:theirs", "secret", true, true);
        assert!(Check::parse(&whole).is_some());
        for cut in 0..whole.len() {
            assert!(Check::parse(&whole[..cut]).is_none(), "{cut}");
        }
        // What follows the integrity is not covered by it; the fingerprint is a checksum, no proof.
        for at in 0..whole.len() - 8 {
            let mut broken = whole.clone();
            broken[at] ^= 0x55;
            let believed = Check::parse(&broken)
                .is_some_and(|check| check.is_authentic(&Credentials::new(String::new(), "secret")));
            assert!(!believed, "{at}");
        }
    }

    #[test]
    fn the_response_says_where_the_check_came_from() {
        let ours = Credentials::new("ours".to_owned(), "secret");
        let datagram = request("ours:theirs", "secret", true, true);
        let check = Check::parse(&datagram).expect("well-formed");
        for from in ["198.51.100.7:4242", "[2001:db8::7]:4242"] {
            let from: SocketAddr = from.parse().expect("an address");
            let mut response = Vec::new();
            check.write_response(from, &ours, &mut response);
            assert_eq!(
                response.len(),
                HEADER_BYTES + usize::from(u16::from_be_bytes([response[2], response[3]]))
            );
            assert_eq!(&response[8..20], &[7; 12]);
            let port = u16::from_be_bytes([response[26], response[27]]) ^ 0x2112;
            assert_eq!(port, 4242);
            assert_eq!(response[28] ^ 0x21, if from.is_ipv4() { 198 } else { 0x20 });
        }
    }
}
