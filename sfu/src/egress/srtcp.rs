//! SRTCP of one viewer, in place: our reports are sealed, its feedback is opened (RFC 3711 section 3.4, RFC 7714
//! section 9).
//!
//! ```text
//!   AEAD_AES_128_GCM    | header, SSRC | encrypted … | tag 16 | E, index |
//!   CM_HMAC_SHA1_80     | header, SSRC | encrypted … | E, index | tag 10 |
//! ```
//! A viewer says something several times per second and hears a report every other second. That is small beside
//! its media, but with a thousand of them every buffer made on the way is one too many.

use std::fmt;

use aws_lc_rs::aead::Aad;
use aws_lc_rs::hmac;

use super::keys::{Keys, Purpose, gcm_nonce};
use super::seal::Profile;

/// First word and SSRC stay readable.
const HEADER_BYTES: usize = 8;
/// E flag and index.
const INDEX_BYTES: usize = 4;
/// The packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// SSRCs of a viewer that report to us: a browser has two. More are refused (`srtcp_refused`).
const REPORTERS_MAX: usize = 8;
/// How far behind the newest index a packet may still come: they overtake each other now and then.
const WINDOW: u32 = 64;

/// The SRTCP session keys of one viewer, both directions.
pub(crate) struct Srtcp {
    ours: Keys,
    theirs: Keys,
    /// One counter for all our SSRCs: none of them uses an index twice.
    sent: u32,
    reporters: Vec<Reporter>,
}

impl Srtcp {
    /// Derives the session keys from what DTLS exported: master key and salt, ours and the viewer's.
    pub(crate) fn new(profile: Profile, ours: (&[u8], &[u8]), theirs: (&[u8], &[u8])) -> Self {
        let keys = |(key, salt)| Keys::derive(profile, Purpose::Reports, key, salt);
        Self { ours: keys(ours), theirs: keys(theirs), sent: 0, reporters: Vec::new() }
    }

    /// Protects a whole compound packet; it grows by tag and index. False: it is none, or the 2^31 indices are
    /// used up (RFC 3711 section 9.2), and it must not be sent.
    pub(crate) fn seal(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(ssrc) = ssrc_of(packet).filter(|_| self.sent + 1 < ENCRYPTED) else { return false };
        self.sent += 1;
        encrypt(&self.ours, ssrc, self.sent, packet);
        true
    }

    /// Opens a packet and returns the compound in it. `None`: it is not authentic, or was here before.
    /// Nothing is remembered of what is not authentic.
    pub(crate) fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let ssrc = ssrc_of(packet)?;
        let index = index_of(&self.theirs, packet)?;
        let reporter = self.reporters.iter().position(|reporter| reporter.ssrc == ssrc);
        match reporter {
            Some(at) if !self.reporters[at].is_new(index) => return None,
            None if self.reporters.len() == REPORTERS_MAX => return None,
            _ => {}
        }
        let end = decrypt(&self.theirs, ssrc, index, packet)?;
        match reporter {
            Some(at) => self.reporters[at].note(index),
            None => self.reporters.push(Reporter { ssrc, newest: index, seen: 1 }),
        }
        Some(&packet[..end])
    }
}

impl fmt::Debug for Srtcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtcp").field("sent", &self.sent).finish_non_exhaustive()
    }
}

fn ssrc_of(packet: &[u8]) -> Option<u32> {
    packet.get(4..HEADER_BYTES)?.try_into().ok().map(u32::from_be_bytes)
}

/// An SSRC of the viewer and which indices came from it (RFC 3711 section 3.3.2).
struct Reporter {
    ssrc: u32,
    newest: u32,
    /// Bit n: `newest - n` was here.
    seen: u64,
}

impl Reporter {
    fn is_new(&self, index: u32) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen & (1 << behind) == 0,
        }
    }

    fn note(&mut self, index: u32) {
        match index.checked_sub(self.newest) {
            Some(ahead) => {
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.newest = index;
            }
            None => self.seen |= 1 << (self.newest - index),
        }
    }
}

/// The index of a protected packet, if it is long enough to have one and says that it is encrypted: all WebRTC
/// clients encrypt.
fn index_of(keys: &Keys, packet: &[u8]) -> Option<u32> {
    let room = packet.len().checked_sub(HEADER_BYTES + INDEX_BYTES + keys.tag_len())?;
    let at = match keys {
        Keys::Gcm { .. } => packet.len() - INDEX_BYTES,
        Keys::Cm(_) => HEADER_BYTES + room,
    };
    let word = u32::from_be_bytes(packet[at..at + INDEX_BYTES].try_into().ok()?);
    (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
}

/// Encrypts in place and appends tag and index.
fn encrypt(keys: &Keys, ssrc: u32, index: u32, packet: &mut Vec<u8>) {
    let word = (ENCRYPTED | index).to_be_bytes();
    match keys {
        Keys::Gcm { key, salt } => {
            let aad = Aad::from(associated(packet, word));
            let nonce = gcm_nonce(salt, ssrc, index.into());
            let tag = key
                .seal_in_place_separate_tag(nonce, aad, &mut packet[HEADER_BYTES..])
                .expect("a report is far below the limit of AES-GCM");
            packet.extend_from_slice(tag.as_ref());
            packet.extend_from_slice(&word);
        }
        Keys::Cm(cm) => {
            cm.crypt(ssrc, index.into(), &mut packet[HEADER_BYTES..]);
            packet.extend_from_slice(&word);
            let tag = hmac::sign(&cm.mac, packet);
            packet.extend_from_slice(&tag.as_ref()[..keys.tag_len()]);
        }
    }
}

/// Opens in place a packet that has an index, and returns where the compound in it ends.
fn decrypt(keys: &Keys, ssrc: u32, index: u32, packet: &mut [u8]) -> Option<usize> {
    let (tag_len, len) = (keys.tag_len(), packet.len());
    let end = len - tag_len - INDEX_BYTES;
    match keys {
        Keys::Gcm { key, salt } => {
            let aad = Aad::from(associated(packet, (ENCRYPTED | index).to_be_bytes()));
            let nonce = gcm_nonce(salt, ssrc, index.into());
            key.open_in_place(nonce, aad, &mut packet[HEADER_BYTES..len - INDEX_BYTES]).ok()?;
        }
        Keys::Cm(cm) => {
            let (signed, tag) = packet.split_at_mut(len - tag_len);
            let expected = hmac::sign(&cm.mac, signed);
            // Constant time, so that the tag cannot be found byte by byte.
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..tag_len], tag).ok()?;
            cm.crypt(ssrc, index.into(), &mut signed[HEADER_BYTES..end]);
        }
    }
    Some(end)
}

/// RFC 7714 section 9.2: what is authenticated and not encrypted.
fn associated(packet: &[u8], word: [u8; INDEX_BYTES]) -> [u8; HEADER_BYTES + INDEX_BYTES] {
    let mut aad = [0; HEADER_BYTES + INDEX_BYTES];
    aad[..HEADER_BYTES].copy_from_slice(&packet[..HEADER_BYTES]);
    aad[HEADER_BYTES..].copy_from_slice(&word);
    aad
}

#[cfg(test)]
mod tests;
