use rtc_crypto::RTCCryptoProvider as _;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder};
use rtc_dtls::crypto::Certificate;

use super::*;
use crate::core::up_track::beginning;
use crate::egress::seal::Profile;

/// A viewer's end of DTLS, with the profiles that it offers.
struct Client {
    endpoint: Endpoint,
    fingerprint: Fingerprint,
}

impl Client {
    fn new(profiles: &[SrtpProtectionProfile], is_client: bool) -> Self {
        let provider = std::sync::Arc::new(rtc_crypto::providers::AwsLcRsProvider::new());
        let certificate =
            Certificate::generate_self_signed(vec!["viewer".to_owned()], provider.crypto()).unwrap();
        let bytes = digest::digest(&digest::SHA256, &certificate.certificate[0]).as_ref().to_vec();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_server_name("swiftwater".to_owned())
            .build(is_client, None)
            .unwrap();
        let config = std::sync::Arc::new(config);
        let protocol = rtc_shared::TransportProtocol::UDP;
        let mut endpoint = Endpoint::new(PSEUDO_REMOTE, protocol, (!is_client).then(|| config.clone()));
        if is_client {
            endpoint.connect(beginning(), PSEUDO_REMOTE, config, None).unwrap();
        }
        Self { endpoint, fingerprint: Fingerprint { hash: Hash::Sha256, bytes } }
    }

    fn material(&self, profile: Profile) -> Vec<u8> {
        let state = self.endpoint.get_connection_state(PSEUDO_REMOTE).unwrap();
        let length = 2 * (profile.key_len() + profile.salt_len());
        state.export_keying_material(EXPORTER_LABEL, &[], length).unwrap().as_ref().to_vec()
    }
}

/// Carries datagrams both ways until nobody has anything to say.
fn shake(client: &mut Client, secure: &mut Secure) -> Result<Option<Box<Sealer>>, Failure> {
    let now = beginning();
    let mut sealer = None;
    secure.start(now)?;
    for _ in 0..20 {
        while let Some(transmit) = client.endpoint.poll_transmit() {
            if let Progress::Connected(connected) = secure.handle_datagram(now, &transmit.message)? {
                sealer = Some(connected);
            }
        }
        while let Some(datagram) = secure.poll_transmit() {
            client.endpoint.read(now, PSEUDO_REMOTE, None, BytesMut::from(&datagram[..])).unwrap();
        }
    }
    Ok(sealer)
}

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

#[test]
fn both_profiles_and_both_roles_give_the_same_keys_on_both_ends() {
    let identity = Identity::generate(&Profile::ALL).unwrap();
    for (offered, chosen) in [
        (&[CM, GCM][..], Profile::AeadAes128Gcm),
        (&[GCM], Profile::AeadAes128Gcm),
        (&[CM], Profile::Aes128CmSha1_80),
    ] {
        for they_begin in [true, false] {
            let mut client = Client::new(offered, they_begin);
            let mut secure = Secure::new(identity.clone(), vec![client.fingerprint.clone()], !they_begin);
            let sealer = shake(&mut client, &mut secure).unwrap().expect("connected");
            assert_eq!(sealer.profile(), chosen, "{offered:?}, they begin: {they_begin}");
            // SRTCP both ways with the keys that the other end derived for itself.
            let material = client.material(chosen);
            let (first, second) = split_material(chosen, &material).unwrap();
            let (theirs, ours) = if they_begin { (first, second) } else { (second, first) };
            let mut other = Srtcp::new(chosen, theirs, ours);
            let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
            let mut sealed = report.to_vec();
            assert!(other.seal(&mut sealed));
            assert_eq!(secure.open_rtcp(&mut sealed.clone()), Some(&report[..]));
            assert_eq!(secure.open_rtcp(&mut sealed), None, "a replay");
            let mut sealed = report.to_vec();
            assert!(secure.seal_rtcp(&mut sealed));
            assert_eq!(other.open(&mut sealed), Some(&report[..]));
        }
    }
}

#[test]
fn another_certificate_than_the_offered_one_is_refused() {
    let identity = Identity::generate(&Profile::ALL).unwrap();
    let mut client = Client::new(&[GCM], true);
    let other = Client::new(&[GCM], true);
    let mut secure = Secure::new(identity, vec![other.fingerprint], false);
    assert_eq!(shake(&mut client, &mut secure).unwrap_err(), Failure::Certificate);
    assert!(!secure.is_connected());
}

#[test]
fn damaged_handshakes_end_their_peer_at_worst() {
    let identity = Identity::generate(&Profile::ALL).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let now = beginning();
    let mut panics = 0;
    for _ in 0..300 {
        let mut client = Client::new(&[CM, GCM], true);
        let mut secure = Secure::new(identity.clone(), vec![client.fingerprint.clone()], false);
        'handshake: for _ in 0..8 {
            while let Some(transmit) = client.endpoint.poll_transmit() {
                let mut datagram = transmit.message.to_vec();
                if random() % 3 == 0 {
                    for _ in 0..1 + random() % 3 {
                        let at = random() % datagram.len();
                        datagram[at] = random() as u8;
                    }
                    datagram.truncate(1 + random() % (2 * datagram.len()));
                }
                match secure.handle_datagram(now, &datagram) {
                    Ok(_) => {}
                    Err(failure) => {
                        panics += u32::from(failure == Failure::Panic);
                        break 'handshake;
                    }
                }
            }
            while let Some(datagram) = secure.poll_transmit() {
                // The client is not what is tested: it may fail as it likes.
                let _ = client.endpoint.read(now, PSEUDO_REMOTE, None, BytesMut::from(&datagram[..]));
            }
        }
    }
    println!("{panics} panics of the library were caught");
}
