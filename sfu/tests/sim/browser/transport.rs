//! ICE, DTLS and SRTP of a browser, made of the libraries' parts: cheap enough for hundreds in one test.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, hmac};
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use sfu::egress::seal::Profile;

/// As they stand in the offer.
pub(super) const UFRAG: &str = "brow";
pub(super) const PWD: &str = "aPasswordOfTheBrowsers00";
/// Browsers repeat their checks so often (consent, RFC 7675).
const CHECK_INTERVAL: Duration = Duration::from_millis(2500);
/// Until one is answered.
const FIRST_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// All browsers of a test have one certificate: keys take long to make.
struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: String,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificate =
            Certificate::generate_self_signed(vec!["viewer".to_owned()], provider.crypto()).unwrap();
        let hash = digest::digest(&digest::SHA256, &certificate.certificate[0]);
        let hex: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Identity { provider, certificate, fingerprint: hex.join(":") }
    })
}

/// The browser's end of the transport.
pub(super) struct Transport {
    server: SocketAddr,
    profile: Profile,
    endpoint: Endpoint,
    config: Arc<HandshakeConfig>,
    check: Vec<u8>,
    /// Answers to challenges.
    answers: Vec<Vec<u8>>,
    /// It answers them.
    pub(super) answers_challenges: bool,
    next_check: Instant,
    answered: bool,
    srtp: Option<(Context, Context)>,
    server_ufrag: String,
}

impl Transport {
    pub(super) fn new(now: Instant, server: SocketAddr, profile: Profile) -> Self {
        let identity = identity();
        let offered = match profile {
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&identity.provider))
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![offered])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_server_name("swiftwater".to_owned())
            .build(true, None)
            .unwrap();
        Self {
            server,
            profile,
            endpoint: Endpoint::new(server, rtc_shared::TransportProtocol::UDP, None),
            config: Arc::new(config),
            check: Vec::new(),
            answers: Vec::new(),
            answers_challenges: true,
            next_check: now,
            answered: false,
            srtp: None,
            server_ufrag: String::new(),
        }
    }

    /// As it stands in the offer.
    pub(super) fn fingerprint() -> &'static str {
        &identity().fingerprint
    }

    /// Takes the credentials of the answer.
    pub(super) fn accept(&mut self, answer: &str) {
        let value = |key| answer.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, value("a=ice-pwd:").as_bytes());
        self.server_ufrag = value("a=ice-ufrag:").to_owned();
        let name = format!("{}:{UFRAG}", self.server_ufrag);
        // RFC 8489 section 5: binding request, USERNAME, USE-CANDIDATE, MESSAGE-INTEGRITY.
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend_from_slice(b"transaction!");
        message.extend_from_slice(&[0, 6, 0, name.len() as u8]);
        message.extend_from_slice(name.as_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        message.extend_from_slice(&[0, 0x25, 0, 0]);
        // PRIORITY and ICE-CONTROLLING, as every browser sends them.
        message.extend_from_slice(&[0, 0x24, 0, 4, 110, 0, 0, 255]);
        message.extend_from_slice(&[0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        let length = (message.len() - 20 + 24) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let tag = hmac::sign(&key, &message);
        message.extend_from_slice(&[0, 8, 0, 20]);
        message.extend_from_slice(tag.as_ref());
        self.check = message;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// Takes a STUN or DTLS datagram.
    pub(super) fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        match data[0] {
            0 => self.answer(data),
            1..=3 if !self.answered => {
                self.answered = true;
                self.endpoint.connect(now, self.server, Arc::clone(&self.config), None).unwrap();
            }
            20..=63 => {
                let events = self.endpoint.read(now, self.server, None, BytesMut::from(data)).unwrap();
                if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
                    self.derive_keys();
                }
            }
            _ => {}
        }
    }

    /// A challenge (RFC 8445 section 7.3): the server asks whether this is where the browser is.
    fn answer(&mut self, request: &[u8]) {
        assert_eq!(request[..2], [0, 1], "a binding request");
        let name = format!("{UFRAG}:{}", self.server_ufrag);
        assert!(
            request[20..].starts_with(&[&[0, 6, 0, name.len() as u8], name.as_bytes()].concat()),
            "{request:?}"
        );
        if !self.answers_challenges {
            return;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PWD.as_bytes());
        let mut message = [&[1, 1, 0, 24][..], &request[4..20]].concat();
        let tag = hmac::sign(&key, &message);
        message.extend_from_slice(&[0, 8, 0, 20]);
        message.extend_from_slice(tag.as_ref());
        self.answers.push(message);
    }

    fn derive_keys(&mut self) {
        let (key, salt) = (self.profile.key_len(), self.profile.salt_len());
        let state = self.endpoint.get_connection_state(self.server).unwrap();
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt)).unwrap();
        let material: &[u8] = material.as_ref();
        let (keys, salts) = material.split_at(2 * key);
        let profile = match self.profile {
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, identity().provider.crypto()).unwrap()
        };
        let ours = context(&keys[..key], &salts[..salt]);
        self.srtp = Some((context(&keys[key..], &salts[salt..]), ours));
    }

    /// Opens SRTP: header and payload in clear.
    pub(super) fn open_rtp(&mut self, data: &[u8]) -> Option<BytesMut> {
        Some(self.srtp.as_mut()?.0.decrypt_rtp(data).expect("what the server sends is authentic"))
    }

    /// Opens SRTCP.
    pub(super) fn open_rtcp(&mut self, data: &[u8]) -> Option<BytesMut> {
        Some(self.srtp.as_mut()?.0.decrypt_rtcp(data).expect("what the server sends is authentic"))
    }

    /// Protects RTCP.
    pub(super) fn seal_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(self.srtp.as_mut()?.1.encrypt_rtcp(plain).unwrap().to_vec())
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if now >= self.next_check && !self.check.is_empty() {
            self.next_check = now + if self.answered { CHECK_INTERVAL } else { FIRST_CHECK_INTERVAL };
            out.push(self.check.clone());
        }
        out.append(&mut self.answers);
        if self.endpoint.poll_timeout(&self.server).is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(self.server, now).unwrap();
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            out.push(transmit.message.to_vec());
        }
    }
}
