//! A publisher by `rtc` itself, with the SRTP profile that it is told to use.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media::{ChannelName, Hub, Kind, NtpTime, Publication, Rid, RtpPacket};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::VP8_KEYFRAME;
use super::world::drain;
use crate::core::demux::Tuple;
use crate::core::ice_lite::Check;
use crate::core::peer::{Local, Peer};
use crate::core::up_track::beginning;
use crate::egress::batch::Transport;
use crate::sdp_publish::PublishOffer;
use crate::{Candidate, PeerEvent, PeerId};

const SERVER: &str = "192.0.2.1:5000";
const CLIENT: &str = "198.51.100.7:40000";
const SSRC: u32 = 0x0102_0304;

fn client(now: Instant, profile: SrtpProtectionProfile) -> RTCPeerConnection {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    };
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: rtp_codec.clone(), payload_type: 96 };
    engine.register_codec(codec, RtpCodecKind::Video).unwrap();
    let settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_srtp_protection_profiles(vec![profile])
        .build();
    let mut client = RTCPeerConnectionBuilder::new()
        .with_setting_engine(settings)
        .with_media_engine(engine)
        .build(now)
        .unwrap();
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
        codec: rtp_codec,
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        "stream".to_owned(),
        "track".to_owned(),
        "label".to_owned(),
        RtpCodecKind::Video,
        vec![encoding],
    );
    client.add_track(track).unwrap();
    let candidate = format!("candidate:1 1 udp 2130706431 {} typ host", CLIENT.replace(':', " "));
    client.add_local_candidate(RTCIceCandidateInit { candidate, ..Default::default() }).unwrap();
    client
}

/// Publishes a packet; says by which profile it came.
fn publish(profile: SrtpProtectionProfile) -> &'static str {
    let start = beginning();
    let (server, address): (SocketAddr, SocketAddr) = (SERVER.parse().unwrap(), CLIENT.parse().unwrap());
    let mut client = client(start, profile);
    let offer = client.create_offer(None).unwrap();
    let parsed = PublishOffer::parse(&offer.sdp).unwrap();
    client.set_local_description(start, offer).unwrap();
    let hub = Hub::new(Duration::from_secs(10));
    let channel = ChannelName::parse("ana").unwrap();
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    let writer = hub.publish(&channel, Publication::default(), start, wall).unwrap();
    let candidates = Candidate::of(&[server], false);
    let local = Local { candidates, start_bitrate_bps: 2_500_000, bitrate_max_bps: None };
    let (mut peer, answer) = Peer::negotiate(start, PeerId(1), writer, &parsed, &local).unwrap();
    client.set_remote_description(start, RTCSessionDescription::answer(answer).unwrap()).unwrap();
    let (mut chosen, mut reader, mut responses) = (None, None, Vec::new());
    for millis in 0..3000 {
        let now = start + Duration::from_millis(millis);
        client.handle_timeout(now).unwrap();
        peer.handle_timeout(now);
        while client.poll_event().is_some() {}
        while let Some(message) = client.poll_write() {
            let mut data = message.message.to_vec();
            let tuple = Tuple { remote: address, local: server.ip(), transport: Transport::Udp };
            match Check::parse(&data) {
                Some(check) => {
                    let mut response = Vec::new();
                    if peer.handle_check(now, tuple, &check, &mut response).is_some() {
                        responses.push(response);
                    }
                }
                None => {
                    peer.handle_datagram(now, tuple, &mut data);
                }
            }
        }
        let sent = std::iter::from_fn(|| peer.poll_transmit().map(|transmit| transmit.data));
        for data in responses.drain(..).chain(sent) {
            let transport = TransportContext {
                local_addr: address,
                peer_addr: server,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let message = BytesMut::from(data.as_slice());
            client.handle_read(TaggedBytesMut { now, transport, message }).unwrap();
        }
        while let Some(event) = peer.poll_event() {
            if let PeerEvent::Connected { srtp_profile, .. } = event {
                chosen = Some(srtp_profile);
                let track = hub.stream(&channel).unwrap().source(Kind::Video).unwrap();
                reader = Some(track.read::<RtpPacket>(&Rid::single()));
            }
        }
        if let Some(reader) = &mut reader {
            let id = client.get_senders().next().unwrap();
            let mut packet = rtc::rtp::Packet::default();
            packet.header.ssrc = SSRC;
            packet.header.payload_type = 96;
            packet.header.version = 2;
            packet.header.sequence_number = millis as u16;
            packet.header.timestamp = millis as u32 * 90;
            packet.payload = Bytes::from_static(VP8_KEYFRAME);
            // Refused until the client is connected too.
            let _early = client.rtp_sender(id).unwrap().write_rtp(now, packet);
            let packets: Vec<RtpPacket> = drain!(reader);
            if packets.first().is_some_and(|packet| packet.payload == VP8_KEYFRAME) {
                return chosen.unwrap();
            }
        }
    }
    panic!("nothing came; profile {chosen:?}");
}

#[test]
fn both_srtp_profiles_carry_media() {
    for (profile, name) in [
        (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, "SRTP_AEAD_AES_128_GCM"),
        (SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, "SRTP_AES128_CM_HMAC_SHA1_80"),
    ] {
        assert_eq!(publish(profile), name);
    }
}
