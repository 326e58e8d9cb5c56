//! Messages of STUN (RFC 8489): what a check, a challenge and the answers to them have in common.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

/// RFC 8489 section 5.
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
pub(super) const HEADER_BYTES: usize = 20;
pub(super) const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
pub(super) const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];

pub(super) const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;

/// MESSAGE-INTEGRITY and FINGERPRINT, with which a message ends.
pub(super) const END_BYTES: usize = 24 + 8;

/// RFC 8489 section 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Longest username read: two ufrags of 256 characters and a colon (RFC 8839 section 5.4).
const USERNAME_BYTES_MAX: usize = 513;

/// Chosen by who asks, repeated by who answers.
pub(crate) type TransactionId = [u8; 12];

/// A message that is well-formed; nothing is believed before [`Message::is_signed_with`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    pub(super) username: Option<&'a str>,
    /// Where MESSAGE-INTEGRITY begins.
    integrity: usize,
    pub(super) use_candidate: bool,
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` if it is no message of that `kind` with MESSAGE-INTEGRITY. FINGERPRINT is checked if it is
    /// there.
    pub(super) fn parse(kind: [u8; 2], datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.get(..HEADER_BYTES)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[..2] != kind
            || header[4..8] != MAGIC_COOKIE
            || length % 4 != 0
            || datagram.len() != HEADER_BYTES + length
        {
            return None;
        }
        let (mut at, mut username, mut integrity, mut use_candidate) = (HEADER_BYTES, None, None, false);
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
                USE_CANDIDATE => use_candidate = true,
                MESSAGE_INTEGRITY if length == 20 => integrity = Some(at),
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        Some(Self { bytes: datagram, username, integrity: integrity?, use_candidate })
    }

    /// All of it, as it came.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_BYTES]);
        id
    }

    /// Whether its sender knows the password of that key.
    pub(super) fn is_signed_with(&self, key: &hmac::Key) -> bool {
        // RFC 8489 section 14.5: hashed as if the message ended with this attribute.
        let length = (self.integrity + 24 - HEADER_BYTES) as u16;
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.bytes[..HEADER_BYTES]);
        header[2..4].copy_from_slice(&length.to_be_bytes());
        let mut context = hmac::Context::with_key(key);
        context.update(&header);
        context.update(&self.bytes[HEADER_BYTES..self.integrity]);
        let told = &self.bytes[self.integrity + 4..self.integrity + 24];
        // Constant time, so that the tag cannot be found byte by byte.
        constant_time::verify_slices_are_equal(context.sign().as_ref(), told).is_ok()
    }
}

/// Begins a message in `out`, which is empty.
pub(super) fn begin(out: &mut Vec<u8>, kind: [u8; 2], id: TransactionId) {
    out.extend_from_slice(&kind);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(&id);
}

/// Ends it: MESSAGE-INTEGRITY by that key, and FINGERPRINT.
pub(super) fn end(out: &mut Vec<u8>, key: &hmac::Key) {
    set_length(out, 24);
    let tag = hmac::sign(key, out);
    push_attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
    set_length(out, 8);
    let crc = crc32(out) ^ FINGERPRINT_XOR;
    push_attribute(out, FINGERPRINT, &crc.to_be_bytes());
}

pub(super) fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sets the header's length to what is there and `coming` bytes more.
pub(super) fn set_length(out: &mut [u8], coming: usize) {
    let length = (out.len() - HEADER_BYTES + coming) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
}

/// RFC 8489 section 14.2.
pub(super) fn push_xor_address(out: &mut Vec<u8>, address: SocketAddr) {
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
