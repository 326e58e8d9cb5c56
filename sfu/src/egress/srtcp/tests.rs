use rtc_crypto::RTCCryptoProvider as _;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

const OURS: ([u8; 16], [u8; 14]) = ([7; 16], [9; 14]);
const THEIRS: ([u8; 16], [u8; 14]) = ([1; 16], [2; 14]);

fn pair(profile: Profile) -> (Srtcp, Srtcp) {
    let half = |keys: &'static ([u8; 16], [u8; 14])| (&keys.0[..], &keys.1[..profile.salt_len()]);
    (Srtcp::new(profile, half(&OURS), half(&THEIRS)), Srtcp::new(profile, half(&THEIRS), half(&OURS)))
}

fn report(ssrc: u32, length: usize) -> Vec<u8> {
    let mut out = vec![0x80, 201, 0, (length / 4 - 1) as u8];
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.resize(length, ssrc as u8);
    out
}

#[test]
fn another_implementation_opens_ours_and_we_open_its() {
    let provider = rtc_crypto::providers::AwsLcRsProvider::new();
    for profile in Profile::ALL {
        let theirs = match profile {
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let context = |keys: &([u8; 16], [u8; 14])| {
            let salt = &keys.1[..profile.salt_len()];
            Context::new(&keys.0, salt, theirs, None, None, provider.crypto()).unwrap()
        };
        let (mut receiver, mut sender) = (context(&OURS), context(&THEIRS));
        let (mut ours, _) = pair(profile);
        for round in 0..50 {
            let plain = report(7 + round as u32 % 2, 8 + 4 * round);
            let mut sealed = plain.clone();
            assert!(ours.seal(&mut sealed));
            assert_eq!(sealed.len(), plain.len() + profile.tag_len() + INDEX_BYTES);
            assert_eq!(receiver.decrypt_rtcp(&sealed).unwrap()[..], plain[..], "{profile:?} {round}");
            let mut sealed = sender.encrypt_rtcp(&plain).unwrap();
            assert_eq!(ours.open(&mut sealed), Some(&plain[..]), "{profile:?} {round}");
        }
    }
}

#[test]
fn a_packet_is_opened_once_and_in_any_order_within_the_window() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<Vec<u8>> = (0..WINDOW + 2)
            .map(|_| {
                let mut packet = report(7, 16);
                assert!(sender.seal(&mut packet));
                packet
            })
            .collect();
        // (which, opened)
        let table = [(5, true), (5, false), (3, true), (3, false), (4, true), (65, true), (64, true)];
        for (at, opened) in table.into_iter().chain([(2, true), (1, false), (65, false), (5, false)]) {
            let mut packet = sealed[at].clone();
            assert_eq!(receiver.open(&mut packet).is_some(), opened, "{profile:?} {at}");
        }
    }
}

#[test]
fn what_is_damaged_or_short_is_refused_and_leaves_nothing_behind() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let mut whole = report(7, 24);
        assert!(sender.seal(&mut whole));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            assert_eq!(receiver.open(&mut damaged), None, "{profile:?} {at}");
            assert_eq!(receiver.open(&mut whole[..at].to_vec()), None, "{profile:?} {at}");
        }
        for ssrc in 0..10_000 {
            let mut forged = report(ssrc, 60);
            forged[38..].fill(0xff);
            assert_eq!(receiver.open(&mut forged), None);
        }
        assert!(receiver.reporters.is_empty());
        assert_eq!(receiver.open(&mut whole), Some(&report(7, 24)[..]), "the real one still opens");
    }
}

#[test]
fn more_reporters_than_a_viewer_has_are_refused() {
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..REPORTERS_MAX as u32 + 3 {
        let mut packet = report(ssrc, 8);
        assert!(sender.seal(&mut packet));
        assert_eq!(receiver.open(&mut packet).is_some(), ssrc < REPORTERS_MAX as u32, "{ssrc}");
    }
}

#[test]
fn indices_end() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm);
    sender.sent = ENCRYPTED - 2;
    assert!(sender.seal(&mut report(7, 8)), "the last one");
    assert!(!sender.seal(&mut report(7, 8)));
    assert!(!sender.seal(&mut vec![0x80, 201, 0, 0]), "no SSRC");
}

#[test]
fn nothing_is_allocated() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = Vec::with_capacity(256);
        let mut turn = |sender: &mut Srtcp| {
            packet.clear();
            packet.extend_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 7, 1, 2, 3, 4]);
            assert!(sender.seal(&mut packet));
            receiver.open(&mut packet).is_some()
        };
        assert!(turn(&mut sender), "the first one makes the reporter");
        let counted = allocation_counter::measure(|| assert!((0..100).all(|_| turn(&mut sender))));
        assert_eq!(counted.count_total, 0, "{profile:?}: {counted:?}");
    }
}
