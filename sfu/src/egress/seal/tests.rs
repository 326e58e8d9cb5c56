use rtc_crypto::RTCCryptoProvider as _;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::egress::keys::tests::{given, hex};

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80];
const KEY: [u8; 16] = [7; 16];
const SALT: [u8; 14] = [9; 14];

fn sealer(profile: Profile) -> Sealer {
    Sealer::new(profile, &KEY, &SALT[..profile.salt_len()])
}

/// A packet with room for the tag.
fn packet(ssrc: u32, index: u64, payload: &[u8], room: usize) -> Vec<u8> {
    let mut out = vec![0x80, 96];
    out.extend_from_slice(&(index as u16).to_be_bytes());
    out.extend_from_slice(&(index as u32).to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len() + room, 0);
    out
}

#[test]
fn rfc_3711_b2_counter_mode() {
    let keys =
        given(Profile::Aes128CmSha1_80, "2B7E151628AED2A6ABF7158809CF4F3C", "F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let mut buf = [0; 48 + 10];
    encrypt(&keys, 0, 0, 0, &mut buf);
    let keystream = hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
        41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_eq!(buf[..48], keystream);
}

#[test]
fn rfc_7714_16_1_1_gcm() {
    let keys =
        given(Profile::AeadAes128Gcm, "000102030405060708090a0b0c0d0e0f", "51756964 2070726f 2071756f");
    let mut buf = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120
        696e2070 61727465 73207472 6573");
    buf.extend([0; 16]);
    encrypt(&keys, 0x5501_a0b2, 0xf17b, 12, &mut buf);
    let sealed = hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
        42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce");
    assert_eq!(buf, sealed);
}

#[test]
fn an_independent_receiver_opens_every_packet_across_a_rollover() {
    let provider = rtc_crypto::providers::AwsLcRsProvider::new();
    for profile in PROFILES {
        let theirs = match profile {
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let salt = &SALT[..profile.salt_len()];
        let mut receiver = Context::new(&KEY, salt, theirs, None, None, provider.crypto()).unwrap();
        let mut sealer = sealer(profile);
        for index in 65_500..65_600_u64 {
            let payload = vec![index as u8; 3 + index as usize % 1200];
            let plain = packet(77, index, &payload, 0);
            let mut buf = packet(77, index, &payload, profile.tag_len());
            sealer.seal(1, 77, index, 12, &mut buf).unwrap();
            assert_ne!(buf[12..plain.len()], plain[12..]);
            let opened = receiver.decrypt_rtp(&buf).unwrap();
            assert_eq!(opened[..], plain[..], "{profile:?} {index}");
        }
    }
}

#[test]
fn no_index_is_sealed_twice() {
    for profile in PROFILES {
        let mut sealer = sealer(profile);
        let mut try_index = |slot: usize, ssrc: u32, index: u64| {
            let mut buf = packet(ssrc, index, &[1; 20], profile.tag_len());
            let plain = buf.clone();
            let result = sealer.seal(slot, ssrc, index, 12, &mut buf);
            assert_eq!(result.is_err(), buf == plain, "a refused packet is left alone");
            result.is_ok()
        };
        // (slot, ssrc, index, allowed)
        let table = [
            (0, 10, 100, true),
            (0, 10, 100, false),
            (0, 10, 99, true), // overtaken by 100, never sealed
            (0, 10, 99, false),
            (0, 10, 103, true),
            (0, 10, 101, true),
            (0, 10, 103, false),
            (0, 10, 101, false),
            (0, 11, 104, false), // the slot is bound to another SSRC
            (1, 10, 104, false), // the SSRC is bound to another slot
            (1, 11, 100, true),
            (0, 10, 103 + WINDOW, true),
            (0, 10, 104, true), // the oldest in the window
            (0, 10, 103, false),
            (0, 10, 102, false), // never sealed, but nobody can know any more
            (0, 10, 103 + 10 * WINDOW, true),
            (0, 10, 103 + WINDOW, false),
            (0, 10, INDEX_END, false),
        ];
        for (slot, ssrc, index, allowed) in table {
            assert_eq!(try_index(slot, ssrc, index), allowed, "{profile:?} slot {slot} {ssrc} {index}");
        }
    }
}

#[test]
fn a_repeat_must_be_the_same_bytes() {
    for profile in PROFILES {
        let mut sealer = sealer(profile);
        let make = |payload: &[u8]| packet(10, 5, payload, profile.tag_len());
        let mut first = make(&[1; 50]);
        sealer.seal(0, 10, 5, 12, &mut first).unwrap();
        assert!(sealer.reseal(0, 10, 5, 12, &mut make(&[1; 50])).is_err(), "nobody allowed it");

        sealer.allow_reseal(0);
        let mut first = packet(10, 6, &[1; 50], profile.tag_len());
        sealer.seal(0, 10, 6, 12, &mut first).unwrap();
        let mut again = packet(10, 6, &[1; 50], profile.tag_len());
        sealer.reseal(0, 10, 6, 12, &mut again).unwrap();
        assert_eq!(again, first, "{profile:?}");

        let mut other = packet(10, 6, &[2; 50], profile.tag_len());
        assert!(sealer.reseal(0, 10, 6, 12, &mut other).is_err());
        assert!(other.iter().all(|byte| *byte == 0), "what must not be sent is wiped");
        let mut other_header = packet(10, 6, &[1; 50], profile.tag_len());
        other_header[1] ^= 0x80;
        assert!(sealer.reseal(0, 10, 6, 12, &mut other_header).is_err());

        assert!(sealer.reseal(0, 10, 7, 12, &mut again).is_err(), "never sealed");
        let mut newer = packet(10, 6 + REPEATS, &[1; 50], profile.tag_len());
        sealer.seal(0, 10, 6 + REPEATS, 12, &mut newer).unwrap();
        assert!(sealer.reseal(0, 10, 6, 12, &mut again).is_err(), "forgotten");
        assert!(sealer.reseal(1, 10, 6, 12, &mut again).is_err(), "other slot");
    }
}
