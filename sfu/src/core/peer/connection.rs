//! The whole `rtc` peer connection, and a wall around it: no panic of it gets out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
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
use crate::core::Transmit;
use crate::core::up_track::Feedback;
use crate::sdp_publish::{Extension, PublishOffer, Setup, canonical_offer};

/// SRTP replay window: a retransmission of OBS is the same packet again, up to a second late, and a
/// keyframe of 8 Mbit/s is a thousand packets. The library's default of 64 would throw it away.
const REPLAY_WINDOW_PACKETS: usize = 1024;

/// Addresses that a publisher checks from (several networks, NAT rebinding). Each costs the library a
/// candidate for ever; beyond it new ones are ignored, and a publisher that is still moving ends by silence
/// and comes again.
const REMOTES_MAX: usize = 64;

/// A peer connection of the library.
pub(super) struct Connection {
    /// `None` after a panic, or after the end.
    inner: Option<Box<RTCPeerConnection>>,
    tap: TapHandle,
    candidates: Vec<SocketAddr>,
    /// Which of our addresses each of its addresses sent to: behind a 1:1 NAT that is none that we announce.
    locals: HashMap<SocketAddr, IpAddr>,
    /// Who spoke last.
    remote: Option<SocketAddr>,
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
    pub(super) fn open(
        now: Instant,
        offer: &PublishOffer,
        candidates: &[SocketAddr],
        ufrag: &str,
        pwd: &str,
        feedback_ssrc: u32,
    ) -> Result<Opened, Error> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            open_inner(now, offer, candidates, ufrag, pwd)
                .map_err(|error| Error::Connection(error.to_string()))
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
        let connection = Self {
            inner: Some(Box::new(inner)),
            tap,
            candidates: candidates.to_vec(),
            locals: HashMap::new(),
            remote: None,
            feedback_ssrc,
            panicked: false,
        };
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

    fn discard(&mut self) {
        let inner = self.inner.take();
        // What is left of it may be in any state.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, to: IpAddr, data: &[u8]) {
        if self.locals.len() >= REMOTES_MAX && !self.locals.contains_key(&from) {
            return;
        }
        self.locals.insert(from, to);
        self.remote = Some(from);
        let Some(local_addr) = self.candidate_for(to) else { return };
        let transport = TransportContext {
            local_addr,
            peer_addr: from,
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

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The announced address that stands for `to`.
    fn candidate_for(&self, to: IpAddr) -> Option<SocketAddr> {
        let exact = self.candidates.iter().find(|candidate| candidate.ip() == to);
        exact
            .or_else(|| self.candidates.iter().find(|candidate| candidate.is_ipv4() == to.is_ipv4()))
            .copied()
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

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        let message = self.guarded(|inner| inner.poll_write()).flatten()?;
        let to = message.transport.peer_addr;
        let from = self.locals.get(&to).copied().unwrap_or(message.transport.local_addr.ip());
        Some(Transmit { to, from, data: message.message.to_vec() })
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

    /// True once a candidate pair is selected: before, the library drops what is not STUN.
    pub(super) fn has_path(&mut self) -> bool {
        let path = self.guarded(|inner| {
            let id = inner.get_receivers().next()?;
            let receiver = inner.rtp_receiver(id)?;
            receiver.transport()?.ice_transport().get_selected_candidate_pair().map(|_| ())
        });
        path.flatten().is_some()
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

    /// The last round trip of a check, on the pair that carries the most.
    pub(super) fn round_trip(&mut self, now: Instant) -> Option<Duration> {
        let round_trip = self.guarded(|inner| {
            let report = inner.get_stats(now, StatsSelector::None);
            let measured = report.candidate_pairs().filter(|pair| pair.current_round_trip_time > 0.0);
            measured.max_by_key(|pair| pair.packets_received).map(|pair| pair.current_round_trip_time)
        });
        round_trip.flatten().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Says close_notify; what is left to send goes to `out`.
    pub(super) fn close(&mut self, out: &mut Vec<Transmit>) {
        self.guarded(|inner| {
            if let Err(error) = inner.close() {
                tracing::debug!(%error, "close refused");
            }
        });
        while let Some(transmit) = self.poll_transmit() {
            out.push(transmit);
        }
        self.discard();
    }
}

type Opening = (RTCPeerConnection, TapHandle, String);

fn open_inner(
    now: Instant,
    offer: &PublishOffer,
    candidates: &[SocketAddr],
    ufrag: &str,
    pwd: &str,
) -> Result<Opening, rtc::shared::error::Error> {
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
        .with_ice_credentials(ufrag.to_owned(), pwd.to_owned())
        // The Peer watches for signs of life itself: ffmpeg 8 answers no checks once it sends.
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
    for (index, candidate) in candidates.iter().enumerate() {
        let priority = crate::sdp_publish::priority(index);
        let line = format!(
            "candidate:{} 1 udp {priority} {} {} typ host",
            index + 1,
            candidate.ip(),
            candidate.port()
        );
        inner.add_local_candidate(RTCIceCandidateInit { candidate: line, ..Default::default() })?;
    }
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
