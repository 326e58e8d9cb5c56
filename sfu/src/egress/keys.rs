//! SRTP session keys: how they are derived and what they encrypt with. Used by `seal` for media and by `srtcp` for
//! reports, which own the indices.

use aws_lc_rs::aead::{AES_128_GCM, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::seal::Profile;

/// What session keys are for: the first of its three labels (RFC 3711 section 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Media = 0,
    Reports = 3,
}

/// The session keys of one direction.
pub(super) enum Keys {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm(Box<CounterMode>),
}

/// AES-CM-128 with HMAC-SHA1: its keys are large.
pub(super) struct CounterMode {
    pub(super) key: EncryptingKey,
    pub(super) salt: [u8; 14],
    pub(super) mac: hmac::Key,
}

impl Keys {
    /// From master key and salt, with the lengths of the profile (RFC 3711 section 4.3, key derivation rate 0).
    pub(super) fn derive(profile: Profile, purpose: Purpose, master_key: &[u8], master_salt: &[u8]) -> Self {
        let [cipher, auth, salt] = [0, 1, 2].map(|label| purpose as u8 + label);
        let key = derive::<16>(master_key, master_salt, cipher);
        match profile {
            Profile::AeadAes128Gcm => {
                let key = UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes are an AES-128 key");
                Self::Gcm { key: LessSafeKey::new(key), salt: derive::<12>(master_key, master_salt, salt) }
            }
            Profile::Aes128CmSha1_80 => {
                let auth = derive::<20>(master_key, master_salt, auth);
                Self::Cm(Box::new(CounterMode {
                    key: counter_mode(&key),
                    salt: derive::<14>(master_key, master_salt, salt),
                    mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth),
                }))
            }
        }
    }

    /// Bytes of a tag.
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Gcm { .. } => Profile::AeadAes128Gcm.tag_len(),
            Self::Cm(_) => Profile::Aes128CmSha1_80.tag_len(),
        }
    }
}

impl CounterMode {
    /// Encrypts or decrypts in place: counter mode is its own inverse.
    pub(super) fn crypt(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let iv = FixedLength::from(cm_iv(&self.salt, ssrc, index));
        self.key
            .less_safe_encrypt(bytes, EncryptionContext::Iv128(iv))
            .expect("counter mode takes any length");
    }
}

/// RFC 7714 sections 8.1 and 9.1: the index of a packet of media has 48 bits, that of a report 31.
pub(super) fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 3711 section 4.1.1.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// RFC 3711 section 4.3: the keystream of AES in counter mode, from an IV made of salt and label. A 12-byte
/// salt counts as 14 bytes with zeros at the end (RFC 7714 section 11).
fn derive<const N: usize>(master_key: &[u8], master_salt: &[u8], label: u8) -> [u8; N] {
    let mut iv = [0; 16];
    iv[..master_salt.len()].copy_from_slice(master_salt);
    iv[7] ^= label;
    let mut out = [0; N];
    counter_mode(master_key)
        .less_safe_encrypt(&mut out, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("counter mode takes any length");
    out
}

fn counter_mode(key: &[u8]) -> EncryptingKey {
    let key = UnboundCipherKey::new(&AES_128, key).expect("16 bytes are an AES-128 key");
    EncryptingKey::ctr(key).expect("AES-128 has a counter mode")
}

#[cfg(test)]
pub(super) mod tests;
