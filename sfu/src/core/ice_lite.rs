//! True ICE-lite (RFC 8445 section 2.5): answers valid checks, sends none, and answers nothing else.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

/// RFC 8489 section 5.
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const HEADER_BYTES: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;

/// RFC 8489 section 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Longest username read: two ufrags of 256 characters and a colon (RFC 8839 section 5.4).
const USERNAME_BYTES_MAX: usize = 513;

/// Our half of the credentials of an ICE session of a Peer.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) ufrag: String,
    key: hmac::Key,
}

impl Credentials {
    /// Of a session with this ufrag and password (RFC 8839 section 5.4).
    pub fn new(ufrag: String, pwd: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        Self { ufrag, key }
    }

    /// Our ufrag.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }
}

/// A ufrag is made once, with its password.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.ufrag == other.ufrag
    }
}

impl Eq for Credentials {}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// A binding request that is well-formed; nothing is believed before [`Check::is_authentic`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check<'a> {
    message: &'a [u8],
    username: &'a str,
    /// Where MESSAGE-INTEGRITY begins.
    integrity: usize,
    /// The controlling side wants this pair.
    pub(crate) nominates: bool,
}

impl<'a> Check<'a> {
    /// Reads a datagram; `None` if it is no binding request with the attributes that a check must have.
    ///
    /// PRIORITY and ICE-CONTROLLING are not asked for: real encoders omit them, and a lite agent has no use
    /// for either. FINGERPRINT is checked if it is there.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.get(..HEADER_BYTES)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[..2] != BINDING_REQUEST
            || header[4..8] != MAGIC_COOKIE
            || length % 4 != 0
            || datagram.len() != HEADER_BYTES + length
        {
            return None;
        }
        let (mut at, mut username, mut integrity, mut nominates) = (HEADER_BYTES, None, None, false);
        while at + 4 <= datagram.len() {
            let kind = u16::from_be_bytes([datagram[at], datagram[at + 1]]);
            let length = usize::from(u16::from_be_bytes([datagram[at + 2], datagram[at + 3]]));
            let value = datagram.get(at + 4..at + 4 + length)?;
            match kind {
                FINGERPRINT => {
                    let expected = (crc32(&datagram[..at]) ^ FINGERPRINT_XOR).to_be_bytes();
                    if value != expected || at + 8 != datagram.len() {
                        return None;
                    }
                }
                // RFC 8489 section 14.5: what follows the integrity is not covered by it and is ignored.
                _ if integrity.is_some() => {}
                USERNAME if length <= USERNAME_BYTES_MAX => username = std::str::from_utf8(value).ok(),
                USE_CANDIDATE => nominates = true,
                MESSAGE_INTEGRITY if length == 20 => integrity = Some(at),
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        Some(Self { message: datagram, username: username?, integrity: integrity?, nominates })
    }

    /// The ufrag of the side that was asked: ours (RFC 8445 section 7.2.2).
    pub(crate) fn local_ufrag(&self) -> &'a str {
        self.username.split(':').next().unwrap_or("")
    }

    /// Whether the sender knows our password.
    pub(crate) fn is_authentic(&self, credentials: &Credentials) -> bool {
        // RFC 8489 section 14.5: hashed as if the message ended with this attribute.
        let length = (self.integrity + 24 - HEADER_BYTES) as u16;
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.message[..HEADER_BYTES]);
        header[2..4].copy_from_slice(&length.to_be_bytes());
        let mut context = hmac::Context::with_key(&credentials.key);
        context.update(&header);
        context.update(&self.message[HEADER_BYTES..self.integrity]);
        let told = &self.message[self.integrity + 4..self.integrity + 24];
        // Constant time, so that the tag cannot be found byte by byte.
        aws_lc_rs::constant_time::verify_slices_are_equal(context.sign().as_ref(), told).is_ok()
    }

    /// Writes the success response to an authentic check into `out`, which is empty.
    pub(crate) fn write_response(&self, from: SocketAddr, credentials: &Credentials, out: &mut Vec<u8>) {
        out.extend_from_slice(&BINDING_SUCCESS);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.message[4..HEADER_BYTES]);
        push_xor_address(out, from);
        set_length(out, 24);
        let tag = hmac::sign(&credentials.key, out);
        push_attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
        push_fingerprint(out);
    }
}

/// A check as the other side would send it. `credentials`: of the side that is asked.
pub(crate) fn request(username: &str, credentials: &Credentials, nominates: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&BINDING_REQUEST);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(&[7; 12]);
    push_attribute(&mut out, USERNAME, username.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
    if nominates {
        push_attribute(&mut out, USE_CANDIDATE, &[]);
    }
    set_length(&mut out, 24);
    let tag = hmac::sign(&credentials.key, &out);
    push_attribute(&mut out, MESSAGE_INTEGRITY, tag.as_ref());
    push_fingerprint(&mut out);
    out
}

fn push_fingerprint(out: &mut Vec<u8>) {
    set_length(out, 8);
    let crc = crc32(out) ^ FINGERPRINT_XOR;
    push_attribute(out, FINGERPRINT, &crc.to_be_bytes());
}

fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// Sets the header's length to what is there and `coming` bytes more.
fn set_length(out: &mut [u8], coming: usize) {
    let length = (out.len() - HEADER_BYTES + coming) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
}

/// RFC 8489 section 14.2.
fn push_xor_address(out: &mut Vec<u8>, address: SocketAddr) {
    let mut mask = [0; 16];
    mask.copy_from_slice(&out[4..HEADER_BYTES]);
    let port = address.port() ^ 0x2112;
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&port.to_be_bytes());
    let xor = |target: &mut [u8], ip: &[u8]| {
        for ((out, byte), mask) in target.iter_mut().zip(ip).zip(mask) {
            *out = byte ^ mask;
        }
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[1] = 1;
            xor(&mut value[4..8], &ip.octets());
            push_attribute(out, XOR_MAPPED_ADDRESS, &value[..8]);
        }
        IpAddr::V6(ip) => {
            value[1] = 2;
            xor(&mut value[4..20], &ip.octets());
            push_attribute(out, XOR_MAPPED_ADDRESS, &value);
        }
    }
}

/// CRC-32 of ISO 3309, as FINGERPRINT wants it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| CRC_TABLE[((crc ^ u32::from(*byte)) & 255) as usize] ^ (crc >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

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
