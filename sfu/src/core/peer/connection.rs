//! The whole `rtc` peer connection, and a wall around it: no panic of it gets out.
//!
//! Its ICE never sees the network. Real checks are answered by [`crate::core::ice_agent`], as for viewers; the
//! library gets one pair of addresses that stand for all real ways, and is told that it is nominated. So an ICE
//! restart, another port of a NAT or a change to TCP are nothing that it would have to follow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::{Codec, Kind};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::statistics::StatsSelector;

use super::tap::{Inbound, MediaFormat, Tap, TapHandle};
use crate::Error;
use crate::core::credentials::Credentials;
use crate::core::demux::{Class, classify};
use crate::core::ice_lite::{Check, request};
use crate::core::up_track::Feedback;
use crate::sdp_publish::{Extension, PublishOffer, Setup, canonical_offer};

/// SRTP replay window: a retransmission of OBS is the same packet again, up to a second late, and a
/// keyframe of 8 Mbit/s is a thousand packets. The library's default of 64 would throw it away.
const REPLAY_WINDOW_PACKETS: usize = 1024;

/// The two ends as the library knows them (RFC 5737 section 3: addresses of nobody).
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 9);
/// What they say to each other, inside this file, needs no secret.
const LOCAL_UFRAG: &str = "local";
const LOCAL_PWD: &str = "password-of-the-local-end";
/// The same of the other end, for its canonical offer.
pub(crate) const REMOTE_UFRAG: &str = "remote";
pub(crate) const REMOTE_PWD: &str = "password-of-the-remote-end";

/// A peer connection of the library.
pub(super) struct Connection {
    /// `None` after a panic, or after the end.
    inner: Option<Box<RTCPeerConnection>>,
    tap: TapHandle,
    feedback_ssrc: u32,
    panicked: bool,
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Connecting,
    Connected,
    /// DTLS failed.
    Failed,
    /// The peer said close_notify.
    Closed,
    /// The library panicked.
    Panicked,
}

/// A connection, and what the answer must say of it.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) fingerprint: String,
}

impl Connection {
    pub(super) fn open(now: Instant, offer: &PublishOffer, feedback_ssrc: u32) -> Result<Opened, Error> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            open_inner(now, offer).map_err(|error| Error::Connection(error.to_string()))
        }));
        let (inner, tap, answer) = match opened {
            Ok(result) => result?,
            Err(_) => return Err(Error::Connection("the library panicked".to_owned())),
        };
        let fingerprint = answer
            .lines()
            .find_map(|line| line.trim_end().strip_prefix("a=fingerprint:sha-256 "))
            .ok_or_else(|| Error::Connection("the library's answer has no fingerprint".to_owned()))?
            .to_ascii_uppercase();
        let connection = Self { inner: Some(Box::new(inner)), tap, feedback_ssrc, panicked: false };
        Ok(Opened { connection, fingerprint })
    }

    /// Runs `call` on the library. A panic ends this connection and no other (ADR: the library parses what
    /// strangers send).
    fn guarded<R>(&mut self, call: impl FnOnce(&mut RTCPeerConnection) -> R) -> Option<R> {
        let inner = self.inner.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| call(inner))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.panicked = true;
                self.discard();
                None
            }
        }
    }

    /// Ends it without a word.
    pub(super) fn discard(&mut self) {
        let inner = self.inner.take();
        // What is left of it may be in any state.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }

    /// There is a way to the publisher: has the library choose the one pair that it knows. A nominating check it
    /// answers with a check of its own, and takes the nomination when that has succeeded (RFC 8445 section
    /// 7.3.1.5). DTLS begins with it, where that is our part.
    pub(super) fn establish(&mut self, now: Instant) {
        let local = Credentials::new(LOCAL_UFRAG.to_owned(), LOCAL_PWD);
        let remote = Credentials::new(REMOTE_UFRAG.to_owned(), REMOTE_PWD);
        let nomination = request(&format!("{LOCAL_UFRAG}:{REMOTE_UFRAG}"), &local, true);
        for _ in 0..2 {
            self.handle_datagram(now, &nomination);
            while let Some(data) = self.poll_any() {
                if let Some(check) = Check::parse(&data) {
                    let mut response = Vec::new();
                    check.write_response(LOCAL, &remote, &mut response);
                    self.handle_datagram(now, &response);
                }
            }
        }
        self.handle_timeout(now);
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        let transport = TransportContext {
            local_addr: LOCAL,
            peer_addr: REMOTE,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        self.guarded(|inner| {
            let message = TaggedBytesMut { now, transport, message: BytesMut::from(data) };
            if let Err(error) = inner.handle_read(message) {
                tracing::debug!(%error, "datagram refused");
            }
            // Not for their content: keys reach the SRTP stage with the events.
            while inner.poll_event().is_some() {}
            while inner.poll_read().is_some() {}
        });
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.guarded(|inner| {
            if let Err(error) = inner.handle_timeout(now) {
                tracing::debug!(%error, "timeout refused");
            }
            while inner.poll_event().is_some() {}
        });
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        self.guarded(|inner| inner.poll_timeout()).flatten()
    }

    /// The next DTLS or SRTCP datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        loop {
            let data = self.poll_any()?;
            // Keep-alives between the two made-up ends.
            if classify(&data) != Class::Stun {
                return Some(data);
            }
        }
    }

    fn poll_any(&mut self) -> Option<Vec<u8>> {
        self.guarded(|inner| inner.poll_write()).flatten().map(|message| message.message.to_vec())
    }

    /// The next decrypted packet.
    pub(super) fn poll_inbound(&mut self) -> Option<(Instant, Inbound)> {
        self.tap.pop()
    }

    pub(super) fn send_feedback(&mut self, now: Instant, feedback: &Feedback) {
        let sender_ssrc = self.feedback_ssrc;
        let packet: Box<dyn rtc::rtcp::Packet> = match feedback {
            Feedback::Nack { ssrc, missing } => Box::new(TransportLayerNack {
                sender_ssrc,
                media_ssrc: *ssrc,
                nacks: nack_pairs_from_sequence_numbers(missing),
            }),
            Feedback::Pli { ssrc } => Box::new(PictureLossIndication { sender_ssrc, media_ssrc: *ssrc }),
            // RFC 5104 section 4.3.1.2: the source is named in the entry, not in the header.
            Feedback::Fir { ssrc, count } => Box::new(FullIntraRequest {
                sender_ssrc,
                media_ssrc: 0,
                fir: vec![FirEntry { ssrc: *ssrc, sequence_number: *count }],
            }),
        };
        self.tap.push(now, packet);
    }

    pub(super) fn state(&mut self) -> State {
        if self.panicked {
            return State::Panicked;
        }
        let state = self.guarded(|inner| {
            let id = inner.get_receivers().next()?;
            let receiver = inner.rtp_receiver(id)?;
            Some(receiver.transport()?.state())
        });
        match state.flatten() {
            Some(RTCDtlsTransportState::Connected) => State::Connected,
            Some(RTCDtlsTransportState::Failed) => State::Failed,
            Some(RTCDtlsTransportState::Closed) => State::Closed,
            _ if self.panicked => State::Panicked,
            _ => State::Connecting,
        }
    }

    /// As a defect of the library would.
    #[cfg(test)]
    pub(super) fn panic(&mut self) {
        self.guarded(|_| panic!("a defect of the library"));
    }

    /// The negotiated SRTP profile, as IANA spells it.
    pub(super) fn srtp_profile(&mut self, now: Instant) -> &'static str {
        let name = self.guarded(|inner| {
            let report = inner.get_stats(now, StatsSelector::None);
            report.transport().map(|transport| transport.srtp_cipher.clone())
        });
        match name.flatten().as_deref() {
            Some("SRTP_AEAD_AES_128_GCM") => "SRTP_AEAD_AES_128_GCM",
            Some("SRTP_AES128_CM_HMAC_SHA1_80") => "SRTP_AES128_CM_HMAC_SHA1_80",
            _ => "unknown",
        }
    }

    /// Says close_notify: one datagram more to send.
    pub(super) fn close(&mut self) {
        self.guarded(|inner| {
            if let Err(error) = inner.close() {
                tracing::debug!(%error, "close refused");
            }
        });
    }
}

type Opening = (RTCPeerConnection, TapHandle, String);

fn open_inner(now: Instant, offer: &PublishOffer) -> Result<Opening, rtc::shared::error::Error> {
    let mut media_engine = MediaEngine::default();
    let mut formats = Vec::new();
    let mut transport_cc_id = None;
    for accepted in offer.accepted() {
        let (codec, kind) = canonical_codec(accepted.codec, accepted.payload_type);
        formats.push(MediaFormat {
            payload_type: accepted.payload_type,
            clock_rate: codec.rtp_codec.clock_rate,
        });
        media_engine.register_codec(codec, kind)?;
        if accepted.has_feedback("transport-cc") {
            transport_cc_id = transport_cc_id.or(accepted.extension(Extension::TransportCc));
        }
    }
    let tap = TapHandle::default();
    let registry =
        Registry::new().with(Slot::ReceiverReport, Tap::new(tap.clone(), formats, transport_cc_id));
    let role = match offer.setup {
        Setup::Passive => RTCDtlsRole::Client,
        Setup::Active | Setup::ActPass => RTCDtlsRole::Server,
    };
    let settings = SettingEngineBuilder::new()
        .with_answering_dtls_role(role)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_credentials(LOCAL_UFRAG.to_owned(), LOCAL_PWD.to_owned())
        // The Peer watches for signs of life itself.
        .with_ice_timeouts(Some(Duration::ZERO), Some(Duration::ZERO), Some(Duration::from_secs(2)))
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ])
        .with_srtp_replay_protection_window(REPLAY_WINDOW_PACKETS)
        .build();
    let mut inner = RTCPeerConnectionBuilder::new()
        .with_setting_engine(settings)
        .with_media_engine(media_engine)
        .with_interceptor_registry(registry)
        .build(now)?;
    inner.set_remote_description(now, RTCSessionDescription::offer(canonical_offer(offer))?)?;
    let candidate = format!("candidate:1 1 udp 2130706431 {} {} typ host", LOCAL.ip(), LOCAL.port());
    inner.add_local_candidate(RTCIceCandidateInit { candidate, ..Default::default() })?;
    let answer = inner.create_answer(None)?;
    let text = answer.sdp.clone();
    inner.set_local_description(now, answer)?;
    Ok((inner, tap, text))
}

/// See [`canonical_offer`].
fn canonical_codec(codec: Codec, payload_type: u8) -> (RTCRtpCodecParameters, RtpCodecKind) {
    let (mime_type, clock_rate, channels, kind) = match codec.kind() {
        Kind::Audio => (MIME_TYPE_OPUS, 48_000, 2, RtpCodecKind::Audio),
        Kind::Video => (MIME_TYPE_VP8, 90_000, 0, RtpCodecKind::Video),
    };
    let rtp_codec = RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    };
    (RTCRtpCodecParameters { rtp_codec, payload_type }, kind)
}
