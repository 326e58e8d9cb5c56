//! SRTP protection of what we send, and the one owner of its nonces.
//!
//! SRTP breaks completely when two different packets are sealed with the same key, SSRC and index (RFC 7714
//! section 8.1). So the [`Sealer`] of a viewer owns its session keys *and* remembers which indices it has
//! used: whoever wants to send a packet has to pass here, and a second packet under a used index is refused,
//! whatever the caller's bookkeeping says.

use std::fmt;

use aws_lc_rs::aead::Aad;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::keys::{Keys, Purpose, gcm_nonce};

/// SSRCs of a viewer: audio, video, retransmissions.
pub const SLOTS: usize = 3;

/// How far behind the newest index a late packet may still be sealed (they overtake each other on the way
/// from a WebRTC publisher). 2048 packets are some 6 s of 2.5 Mbit/s; older ones are refused and counted by
/// the caller.
const WINDOW: u64 = 2048;

/// How many packets a viewer without RTX can have again. 1024 packets are 3 s of 2.5 Mbit/s; at 8 bytes each
/// they cost 8 KiB per slot, for such viewers only. Older ones are refused.
const REPEATS: u64 = 1024;

/// An index has 48 bits: rollover counter and sequence number (RFC 3711 section 3.3.1).
const INDEX_END: u64 = 1 << 48;

/// An SRTP protection profile that we speak (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Profile {
    /// The cheap one; preferred.
    #[serde(rename = "aead_aes_128_gcm")]
    AeadAes128Gcm,
    /// The one that everybody has.
    #[serde(rename = "aes128_cm_sha1_80")]
    Aes128CmSha1_80,
}

impl Profile {
    /// All of them, the preferred one first.
    pub const ALL: [Self; 2] = [Self::AeadAes128Gcm, Self::Aes128CmSha1_80];

    /// The number that IANA gave it.
    pub(crate) const fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 0x0007,
            Self::Aes128CmSha1_80 => 0x0001,
        }
    }

    /// As IANA spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// Bytes of a master key.
    pub const fn key_len(self) -> usize {
        16
    }

    /// Bytes of a master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes that protection adds to an RTP packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }
}

/// A packet was not sealed, because its index was used, or is too old to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused to seal SSRC {ssrc:08x} index {index}: another packet may have been sealed with it")]
pub struct NonceReuse {
    /// The stream.
    pub ssrc: u32,
    /// Rollover counter and sequence number.
    pub index: u64,
}

/// The SRTP session keys of one viewer's outbound media, and the indices that they were used with.
pub struct Sealer {
    profile: Profile,
    keys: Keys,
    slots: [Slot; SLOTS],
}

impl Sealer {
    /// Derives the session keys from what DTLS exported (RFC 3711 section 4.3, key derivation rate 0).
    ///
    /// # Panics
    /// If the lengths are not those of [`Profile::key_len`] and [`Profile::salt_len`].
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Self {
        assert_eq!(master_key.len(), profile.key_len(), "length of an SRTP master key");
        assert_eq!(master_salt.len(), profile.salt_len(), "length of an SRTP master salt");
        let keys = Keys::derive(profile, Purpose::Media, master_key, master_salt);
        Self { profile, keys, slots: Default::default() }
    }

    /// Which profile it was made for.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes that a sealed packet is longer than the plain one.
    pub fn tag_len(&self) -> usize {
        self.profile.tag_len()
    }

    /// Makes [`Self::reseal`] possible for a slot: for viewers that negotiated NACK without RTX.
    pub fn allow_reseal(&mut self, slot: usize) {
        self.slots[slot]
            .repeats
            .get_or_insert_with(|| vec![Repeat::NONE; REPEATS as usize].into_boxed_slice());
    }

    /// Seals a packet in place. `buf` is header (`header_len` bytes), payload and [`Self::tag_len`] bytes of
    /// room; `index` is rollover counter and sequence number, and the low 16 bits must stand in the header.
    /// The first packet binds `ssrc` to the slot for good.
    ///
    /// # Errors
    /// [`NonceReuse`] if the index was used or lies more than 2048 behind the newest, if the slot has another
    /// SSRC, or if another slot has this one. Nothing was written then.
    pub fn seal(
        &mut self,
        slot: usize,
        ssrc: u32,
        index: u64,
        header_len: usize,
        buf: &mut [u8],
    ) -> Result<(), NonceReuse> {
        let other_slot = self.slots.iter().enumerate().any(|(at, s)| at != slot && s.ssrc == Some(ssrc));
        if other_slot || !self.slots[slot].take(ssrc, index) {
            return Err(NonceReuse { ssrc, index });
        }
        let tag = encrypt(&self.keys, ssrc, index, header_len, buf);
        if let Some(repeats) = &mut self.slots[slot].repeats {
            repeats[(index % REPEATS) as usize] = Repeat { index, tag };
        }
        Ok(())
    }

    /// Makes the very bytes of a sealed packet again: a retransmission to a viewer without RTX.
    ///
    /// The same header and payload at the same index give the same ciphertext and the same tag, which tells an
    /// observer nothing new. Anything else would be a second packet under a used nonce, so the tag is compared
    /// with the one that was sent: a caller that changed a byte (another transport-cc number, for instance) is
    /// refused and `buf` wiped.
    ///
    /// # Errors
    /// [`NonceReuse`] if that packet is not known here any more, or is not the same.
    pub fn reseal(
        &mut self,
        slot: usize,
        ssrc: u32,
        index: u64,
        header_len: usize,
        buf: &mut [u8],
    ) -> Result<(), NonceReuse> {
        let refused = Err(NonceReuse { ssrc, index });
        let state = &self.slots[slot];
        let Some(repeats) = &state.repeats else { return refused };
        let sent = repeats[(index % REPEATS) as usize];
        if state.ssrc != Some(ssrc) || sent.index != index {
            return refused;
        }
        if encrypt(&self.keys, ssrc, index, header_len, buf) != sent.tag {
            buf.fill(0);
            return refused;
        }
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// One SSRC: which of its indices were used.
#[derive(Default)]
struct Slot {
    ssrc: Option<u32>,
    /// One more than the newest index used.
    end: u64,
    /// Bit `index % WINDOW`: used. Valid for the WINDOW indices below `end`.
    used: Bits,
    repeats: Option<Box<[Repeat]>>,
}

#[derive(Clone)]
struct Bits([u64; (WINDOW / 64) as usize]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; (WINDOW / 64) as usize])
    }
}

/// The beginning of the tag that a packet was sealed with.
#[derive(Clone, Copy)]
struct Repeat {
    index: u64,
    tag: u64,
}

impl Repeat {
    const NONE: Self = Self { index: u64::MAX, tag: 0 };
}

impl Slot {
    /// Uses an index up. False: it is not to be had.
    fn take(&mut self, ssrc: u32, index: u64) -> bool {
        if index >= INDEX_END || self.ssrc.is_some_and(|bound| bound != ssrc) {
            return false;
        }
        if self.ssrc.is_none() {
            self.ssrc = Some(ssrc);
            self.end = index;
        }
        if index < self.end {
            // Before the first index nothing was sealed, but nobody needs it either.
            if self.end - index > WINDOW || self.used.get(index) {
                return false;
            }
        } else {
            let skipped = index - self.end;
            if skipped >= WINDOW {
                self.used = Bits::default();
            } else {
                (self.end..index).for_each(|unused| self.used.clear(unused));
            }
            self.end = index + 1;
        }
        self.used.set(index);
        true
    }
}

impl Bits {
    const fn at(index: u64) -> (usize, u64) {
        ((index % WINDOW / 64) as usize, 1 << (index % 64))
    }

    fn get(&self, index: u64) -> bool {
        let (word, bit) = Self::at(index);
        self.0[word] & bit != 0
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = Self::at(index);
        self.0[word] |= bit;
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = Self::at(index);
        self.0[word] &= !bit;
    }
}

/// Encrypts in place and returns the first 8 bytes of the tag.
fn encrypt(keys: &Keys, ssrc: u32, index: u64, header_len: usize, buf: &mut [u8]) -> u64 {
    let packet_len = buf.len().checked_sub(keys.tag_len()).expect("the caller left room for the tag");
    let (packet, room) = buf.split_at_mut(packet_len);
    match keys {
        Keys::Gcm { key, salt } => {
            let (header, payload) = packet.split_at_mut(header_len);
            let tag = key
                .seal_in_place_separate_tag(gcm_nonce(salt, ssrc, index), Aad::from(&*header), payload)
                .expect("an RTP packet is far below the limit of AES-GCM");
            room.copy_from_slice(tag.as_ref());
        }
        Keys::Cm(keys) => {
            keys.crypt(ssrc, index, &mut packet[header_len..]);
            let mut context = hmac::Context::with_key(&keys.mac);
            context.update(packet);
            // RFC 3711 section 4.2: the rollover counter is authenticated, though not sent.
            context.update(&((index >> 16) as u32).to_be_bytes());
            room.copy_from_slice(&context.sign().as_ref()[..room.len()]);
        }
    }
    room.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
