//! DTLS of one viewer, and the keys that come of it: the only file, with `identity`, that names the crates of `rtc` for viewers.
//!
//! Every call into them is guarded by the [`Guard`] before and by `catch_unwind` around: what an
//! unauthenticated sender can reach must not be able to end more than this one Peer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::Identity;
use crate::core::dtls_guard::{Guard, Refusal, Verdict};
use crate::egress::seal::{Profile, Sealer};
use crate::egress::srtcp::Srtcp;
use crate::sdp::{Fingerprint, Hash};

/// The endpoint keys associations by address; a viewer has one, whatever address it uses at the moment.
const PSEUDO_REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// RFC 5764 section 4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Why a viewer's DTLS ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// The library says that the handshake failed.
    Handshake,
    /// It is not the certificate of the offer.
    Certificate,
    /// The library panicked.
    Panic,
}

/// What came of a datagram.
#[derive(Debug)]
pub(crate) enum Progress {
    Nothing,
    /// It was of no use.
    Ignored,
    /// The handshake is done: seal with this.
    Connected(Box<Sealer>),
    /// The viewer said close_notify.
    Closed,
}

/// One viewer's DTLS and SRTCP.
pub(crate) struct Secure {
    identity: Identity,
    fingerprints: Vec<Fingerprint>,
    guard: Guard,
    endpoint: Option<Endpoint>,
    /// Datagrams that came before the ClientHello was whole. Bounded by the guard.
    held: Vec<BytesMut>,
    is_client: bool,
    srtcp: Option<Srtcp>,
}

impl Secure {
    pub(crate) fn new(identity: Identity, fingerprints: Vec<Fingerprint>, is_client: bool) -> Self {
        Self {
            identity,
            fingerprints,
            guard: Guard::new(),
            endpoint: None,
            held: Vec::new(),
            is_client,
            srtcp: None,
        }
    }

    /// As after a handshake that agreed on these keys.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn key(&mut self, profile: Profile, ours: KeyAndSalt<'_>, theirs: KeyAndSalt<'_>) -> Sealer {
        self.srtcp = Some(Srtcp::new(profile, ours, theirs));
        self.guard.finish();
        Sealer::new(profile, ours.0, ours.1)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.srtcp.is_some()
    }

    /// There is a path: begins the handshake if that is our part.
    pub(crate) fn start(&mut self, now: Instant) -> Result<(), Failure> {
        if !self.is_client || self.endpoint.is_some() {
            return Ok(());
        }
        self.guard.begin(now);
        let mut endpoint = Endpoint::new(PSEUDO_REMOTE, rtc_shared::TransportProtocol::UDP, None);
        let config = self.identity.client();
        caught(|| endpoint.connect(now, PSEUDO_REMOTE, config, None))?.map_err(|_| Failure::Handshake)?;
        self.endpoint = Some(endpoint);
        Ok(())
    }

    /// Takes a DTLS datagram from a 4-tuple that has proven itself.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<Progress, Failure> {
        match self.guard.inspect(now, datagram).map_err(Failure::Refused)? {
            Verdict::Pass => {}
            Verdict::Ignore => return Ok(Progress::Ignored),
        }
        let datagram = BytesMut::from(datagram);
        if self.endpoint.is_some() {
            return self.read(now, datagram);
        }
        self.held.push(datagram);
        let Some(profile) = self.guard.profile(self.identity.profiles()).map_err(Failure::Refused)? else {
            return Ok(Progress::Nothing);
        };
        let config = self.identity.server(profile);
        self.endpoint = Some(Endpoint::new(PSEUDO_REMOTE, rtc_shared::TransportProtocol::UDP, Some(config)));
        for datagram in std::mem::take(&mut self.held) {
            match self.read(now, datagram)? {
                Progress::Nothing | Progress::Ignored => {}
                progress => return Ok(progress),
            }
        }
        Ok(Progress::Nothing)
    }

    fn read(&mut self, now: Instant, datagram: BytesMut) -> Result<Progress, Failure> {
        let Some(endpoint) = &mut self.endpoint else { return Ok(Progress::Nothing) };
        let connected = self.srtcp.is_some();
        let events = match caught(|| endpoint.read(now, PSEUDO_REMOTE, None, datagram))? {
            Ok(events) => events,
            // After the handshake a broken record ends nothing (RFC 6347 section 4.1.2.7).
            Err(_) if connected => return Ok(Progress::Ignored),
            Err(_) => return Err(Failure::Handshake),
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => return self.complete(),
                EndpointEvent::PeerClosed => return Ok(Progress::Closed),
                // Nobody negotiated data.
                _ => {}
            }
        }
        Ok(Progress::Nothing)
    }

    fn complete(&mut self) -> Result<Progress, Failure> {
        let endpoint = self.endpoint.as_ref().ok_or(Failure::Handshake)?;
        let state = endpoint.get_connection_state(PSEUDO_REMOTE).ok_or(Failure::Handshake)?;
        let certificate = state.peer_certificates.first().ok_or(Failure::Certificate)?;
        if !self.fingerprints.iter().any(|fingerprint| matches(fingerprint, certificate)) {
            return Err(Failure::Certificate);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1_80,
            _ => return Err(Failure::Refused(Refusal::NoProfile)),
        };
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = caught(|| state.export_keying_material(EXPORTER_LABEL, &[], length))?
            .map_err(|_| Failure::Handshake)?;
        let (client, server) = split_material(profile, material.as_ref()).ok_or(Failure::Handshake)?;
        let (ours, theirs) = if self.is_client { (client, server) } else { (server, client) };
        self.srtcp = Some(Srtcp::new(profile, ours, theirs));
        self.guard.finish();
        Ok(Progress::Connected(Box::new(Sealer::new(profile, ours.0, ours.1))))
    }

    /// Time has passed: repeats a flight, or finds that the handshake takes too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        if self.srtcp.is_some() {
            return Ok(());
        }
        self.guard.check_deadline(now).map_err(Failure::Refused)?;
        let Some(endpoint) = &mut self.endpoint else { return Ok(()) };
        if endpoint.poll_timeout(&PSEUDO_REMOTE).is_some_and(|due| due <= now) {
            caught(|| endpoint.handle_timeout(PSEUDO_REMOTE, now))?.map_err(|_| Failure::Handshake)?;
        }
        Ok(())
    }

    /// The next DTLS datagram to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let endpoint = self.endpoint.as_mut()?;
        Some(endpoint.poll_transmit()?.message.to_vec())
    }

    /// Says close_notify, if there is anything to close.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint {
            let _ = caught(|| endpoint.stop(now, PSEUDO_REMOTE).is_some());
        }
    }

    /// Opens an SRTCP packet in place. `None`: it is not authentic, or a replay.
    pub(crate) fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        self.srtcp.as_mut()?.open(packet)
    }

    /// Protects an RTCP packet in place. False: it must not be sent.
    pub(crate) fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        self.srtcp.as_mut().is_some_and(|srtcp| srtcp.seal(packet))
    }
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("connected", &self.is_connected()).finish_non_exhaustive()
    }
}

/// RFC 5764 section 4.2: client key, server key, client salt, server salt.
pub(crate) type KeyAndSalt<'a> = (&'a [u8], &'a [u8]);

fn split_material(profile: Profile, material: &[u8]) -> Option<(KeyAndSalt<'_>, KeyAndSalt<'_>)> {
    let (key, salt) = (profile.key_len(), profile.salt_len());
    let (keys, salts) = material.split_at_checked(2 * key)?;
    let client = (&keys[..key], salts.get(..salt)?);
    let server = (&keys[key..], salts.get(salt..2 * salt)?);
    Some((client, server))
}

fn matches(fingerprint: &Fingerprint, certificate: &[u8]) -> bool {
    let algorithm = match fingerprint.hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, certificate).as_ref() == fingerprint.bytes
}

/// A panic in a library under a Peer ends that Peer and nothing else.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Failure::Panic)
}

#[cfg(test)]
mod tests;
