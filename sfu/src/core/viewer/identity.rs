//! The DTLS certificate of this node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::Error;
use crate::egress::seal::Profile;

/// From one flight to its repetition: a lost datagram costs a viewer this long.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(100);

/// The DTLS certificate of this node and the SRTP profiles that it speaks, shared by all its viewers.
#[derive(Clone)]
pub struct Identity {
    fingerprint: Arc<str>,
    profiles: Arc<[Profile]>,
    server_gcm: Arc<HandshakeConfig>,
    server_cm: Arc<HandshakeConfig>,
    client: Arc<HandshakeConfig>,
}

impl Identity {
    /// Makes a fresh one that speaks these profiles, the preferred one first.
    ///
    /// # Errors
    /// [`Error::Identity`] if the cryptography fails.
    pub fn generate(profiles: &[Profile]) -> Result<Self, Error> {
        let failed = |error: rtc_shared::error::Error| Error::Identity(error.to_string());
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["swiftwater".to_owned()], provider.crypto())
            .map_err(failed)?;
        let fingerprint = match certificate.certificate.first() {
            Some(der) => hex(digest::digest(&digest::SHA256, der).as_ref()),
            None => return Err(Error::Identity("the library made no certificate".to_owned())),
        };
        let config = |is_client: bool, profiles: &[SrtpProtectionProfile]| {
            ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(profiles.to_vec())
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                // WebRTC has no certificate authority: the fingerprint in the offer is compared by us.
                .with_insecure_skip_verify(true)
                .with_flight_interval(FLIGHT_INTERVAL)
                .with_server_name("swiftwater".to_owned())
                .build(is_client, None)
                .map(Arc::new)
                .map_err(failed)
        };
        let gcm = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        let cm = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let library = |profile: &Profile| match profile {
            Profile::AeadAes128Gcm => gcm,
            Profile::Aes128CmSha1_80 => cm,
        };
        let protection: Vec<SrtpProtectionProfile> = profiles.iter().map(library).collect();
        Ok(Self {
            fingerprint: fingerprint.into(),
            profiles: profiles.into(),
            server_gcm: config(false, &[gcm])?,
            server_cm: config(false, &[cm])?,
            client: config(true, &protection)?,
        })
    }

    /// SHA-256 of the certificate as it stands in SDP: `AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What it speaks, the preferred one first.
    pub(super) fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The configuration that speaks only this profile.
    pub(super) fn server(&self, profile: Profile) -> Arc<HandshakeConfig> {
        Arc::clone(match profile {
            Profile::AeadAes128Gcm => &self.server_gcm,
            Profile::Aes128CmSha1_80 => &self.server_cm,
        })
    }

    pub(super) fn client(&self) -> Arc<HandshakeConfig> {
        Arc::clone(&self.client)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
