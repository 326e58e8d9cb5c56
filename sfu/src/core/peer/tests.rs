//! A publisher by another library (str0m) on a network in memory, in virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use media::{
    ChannelName, Codec, Hub, Kind, NtpTime, Publication, Rid, RtpPacket, StreamState, Track, TrackReader,
};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{Local, Peer};
use crate::core::up_track::beginning;
use crate::sdp_publish::PublishOffer;
use crate::{CloseReason, PeerEvent, PeerId};

const SERVER: &str = "192.0.2.1:5000";
const CLIENT: &str = "198.51.100.7:40000";
/// One way.
const LATENCY: Duration = Duration::from_millis(10);

type Loss = Box<dyn FnMut(&[u8]) -> bool>;
type Wire = VecDeque<(Instant, Vec<u8>)>;

/// Both ends, and what is between them.
struct World {
    now: Instant,
    hub: Arc<Hub>,
    channel: ChannelName,
    client: Rtc,
    peer: Peer,
    video: Option<Mid>,
    audio: Option<Mid>,
    to_server: Wire,
    to_client: Wire,
    client_due: Instant,
    client_events: Vec<Event>,
    peer_events: Vec<PeerEvent>,
    /// Decides about each SRTP datagram of the client: true loses it.
    lose: Loss,
}

impl World {
    fn new(config: impl FnOnce(RtcConfig) -> RtcConfig, audio: bool) -> Self {
        str0m::crypto::from_feature_flags().install_process_default();
        let now = beginning();
        let mut client = config(Rtc::builder().set_rtp_mode(true)).build(now);
        let server: SocketAddr = SERVER.parse().unwrap();
        let address: SocketAddr = CLIENT.parse().unwrap();
        client.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = client.sdp_api();
        let video = Some(api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None));
        let audio = audio.then(|| api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None));
        let (offer, pending) = api.apply().unwrap();
        let hub = Hub::new(Duration::from_secs(10));
        let channel = ChannelName::parse("ana").unwrap();
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let offer = PublishOffer::parse(&offer.to_sdp_string()).unwrap();
        let local = Local { candidates: vec![server], start_bitrate_bps: 2_500_000, bitrate_max_bps: None };
        let (peer, answer) = Peer::negotiate(now, PeerId(1), writer, &offer, &local).unwrap();
        let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
        client.sdp_api().accept_answer(pending, answer).unwrap();
        Self {
            now,
            hub,
            channel,
            client,
            peer,
            video,
            audio,
            to_server: Wire::new(),
            to_client: Wire::new(),
            client_due: now,
            client_events: Vec::new(),
            peer_events: Vec::new(),
            lose: Box::new(|_| false),
        }
    }

    fn addresses() -> (SocketAddr, SocketAddr) {
        (SERVER.parse().unwrap(), CLIENT.parse().unwrap())
    }

    fn pump_client(&mut self) {
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.client_due = at.max(self.now);
                    return;
                }
                Output::Transmit(transmit) => {
                    let data = transmit.contents.to_vec();
                    if !(data[0] >= 128 && (self.lose)(&data)) {
                        self.to_server.push_back((self.now + LATENCY, data));
                    }
                }
                Output::Event(event) => self.client_events.push(event),
            }
        }
    }

    fn pump_peer(&mut self) {
        let (server, client) = Self::addresses();
        while let Some(transmit) = self.peer.poll_transmit() {
            assert_eq!((transmit.to, transmit.from), (client, server.ip()));
            self.to_client.push_back((self.now + LATENCY, transmit.data));
        }
        while let Some(event) = self.peer.poll_event() {
            self.peer_events.push(event);
        }
    }

    /// Lets everything happen until `until`.
    fn run_until(&mut self, until: Instant) {
        let (server, client) = Self::addresses();
        loop {
            self.pump_client();
            self.pump_peer();
            let next = [
                Some(self.client_due),
                self.peer.poll_timeout(),
                self.to_server.front().map(|(at, _)| *at),
                self.to_client.front().map(|(at, _)| *at),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until).max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if self.to_server.front().is_some_and(|(at, _)| *at <= next) {
                let (_, mut data) = self.to_server.pop_front().unwrap();
                self.peer.handle_datagram(next, client, server.ip(), &mut data);
            } else if self.to_client.front().is_some_and(|(at, _)| *at <= next) {
                let (_, data) = self.to_client.pop_front().unwrap();
                if let Ok(contents) = data.as_slice().try_into() {
                    let receive =
                        Receive { proto: Protocol::Udp, source: server, destination: client, contents };
                    self.client.handle_input(Input::Receive(next, receive)).unwrap();
                }
            } else if self.client_due <= next {
                self.client_due = next + Duration::from_millis(1);
                self.client.handle_input(Input::Timeout(next)).unwrap();
            } else {
                self.peer.handle_timeout(next);
            }
        }
    }

    fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + Duration::from_millis(millis));
    }

    fn connect(&mut self) {
        for _ in 0..200 {
            self.run_for(10);
            if self.connected().is_some() && self.client.is_connected() {
                return;
            }
        }
        panic!("not connected: {:?} {:?}", self.peer, self.peer_events);
    }

    fn connected(&self) -> Option<&'static str> {
        self.peer_events.iter().find_map(|event| match event {
            PeerEvent::Connected { srtp_profile, .. } => Some(*srtp_profile),
            _ => None,
        })
    }

    fn closed(&self) -> Option<CloseReason> {
        self.peer_events.iter().find_map(|event| match event {
            PeerEvent::Closed(reason) => Some(*reason),
            _ => None,
        })
    }

    fn payload_type(&self, mid: Mid) -> Pt {
        self.client.media(mid).unwrap().remote_pts()[0]
    }

    fn send(&mut self, mid: Mid, seq: u64, time: u32, marker: bool, payload: &[u8]) {
        let pt = self.payload_type(mid);
        let now = self.now;
        let mut api = self.client.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        stream.write_rtp(
            RtpWrite::new(pt, seq.into(), time, now, payload.to_vec()).marker(marker).nackable(true),
        );
        self.pump_client();
    }

    fn track(&self, kind: Kind) -> Arc<Track> {
        self.hub.stream(&self.channel).unwrap().source(kind).unwrap()
    }

    fn state(&self) -> StreamState {
        self.hub.stream(&self.channel).unwrap().state()
    }
}

fn drain(reader: &mut TrackReader<RtpPacket>) -> Vec<RtpPacket> {
    let mut packets = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    let _: Poll<()> = reader.poll_drain(&mut context, &mut packets);
    packets
}

const VP8_KEYFRAME: &[u8] = &[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 1, 2, 3];
const VP8_INTERFRAME: &[u8] = &[0x10, 0x11, 0, 0, 9, 9, 9];

fn vp8(config: RtcConfig) -> RtcConfig {
    config.clear_codecs().enable_vp8(true).enable_opus(true, false)
}

#[test]
fn media_of_a_publisher_lands_in_its_tracks() {
    let mut world = World::new(vp8, true);
    world.connect();
    let (video, audio) = (world.video.unwrap(), world.audio.unwrap());
    let (video_track, audio_track) = (world.track(Kind::Video), world.track(Kind::Audio));
    assert_eq!((video_track.codec(), audio_track.codec()), (Codec::Vp8, Codec::Opus));
    let mut pictures = video_track.read::<RtpPacket>(&Rid::single());
    let mut sounds = audio_track.read::<RtpPacket>(&Rid::single());
    let start = world.now;
    for frame in 0..30u32 {
        let payload = if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
        world.send(video, 100 + u64::from(frame), 777_000 + frame * 3000, true, payload);
        world.send(audio, 65_530 + u64::from(frame), 555 + frame * 960, false, &[0xfc, frame as u8]);
        world.run_until(start + Duration::from_micros(33_333) * (frame + 1));
    }
    world.run_for(50);
    let (pictures, sounds) = (drain(&mut pictures), drain(&mut sounds));
    assert_eq!((pictures.len(), sounds.len()), (30, 30));
    assert!(pictures[0].starts_keyframe && !pictures[1].starts_keyframe);
    assert_eq!(pictures[0].payload, VP8_KEYFRAME);
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        let step = pair[1].time.ticks() - pair[0].time.ticks();
        assert!((2900..3100).contains(&step), "{step}");
    }
    for pair in sounds.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
    }
    assert_eq!(world.closed(), None);
}

#[test]
fn both_srtp_profiles_work() {
    // str0m lists GCM first; a ClientHello that has only the other is made by taking it out.
    let mut world = World::new(vp8, true);
    world.connect();
    assert_eq!(world.connected(), Some("SRTP_AEAD_AES_128_GCM"));
}

#[test]
fn lost_packets_are_asked_for_and_come_again() {
    let mut world = World::new(vp8, false);
    world.connect();
    let mut count = 0;
    world.lose = Box::new(move |data| {
        count += u32::from(!matches!(data[1], 192..=223));
        count % 7 == 3
    });
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let mut reader = track.read::<RtpPacket>(&Rid::single());
    for frame in 0..60u32 {
        let payload = if frame == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME };
        world.send(video, u64::from(frame), frame * 3000, true, payload);
        world.run_for(33);
    }
    world.run_for(1000);
    let mut seqs: Vec<u64> = drain(&mut reader).iter().map(|packet| packet.seq).collect();
    let order = seqs.clone();
    seqs.sort_unstable();
    assert_ne!(order, seqs, "a repaired packet comes late");
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert!(seqs.len() >= 59, "{}", seqs.len());
    let (_, _, counters) = world.peer.counters().next().unwrap();
    assert!(counters.nacks > 5 && counters.retransmissions > 5 && counters.lost == 0, "{counters:?}");
}

#[test]
fn a_demand_becomes_one_pli() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(100);
    let track = world.track(Kind::Video);
    assert!(track.spec().keyframes_on_request);
    for _ in 0..5 {
        track.layer(&Rid::single()).unwrap().request_keyframe();
        world.run_for(20);
    }
    world.run_for(100);
    let requests = || -> usize {
        world.client_events.iter().filter(|event| matches!(event, Event::KeyframeRequest(_))).count()
    };
    assert_eq!(requests(), 1);
}

#[test]
fn a_source_that_begins_in_the_middle_is_asked_for_a_keyframe() {
    let mut world = World::new(vp8, false);
    world.connect();
    let video = world.video.unwrap();
    world.send(video, 1, 0, true, VP8_INTERFRAME);
    world.run_for(100);
    assert!(world.client_events.iter().any(|event| matches!(event, Event::KeyframeRequest(_))));
}

#[test]
fn closing_says_close_notify_and_begins_the_grace_window() {
    let mut world = World::new(vp8, false);
    world.connect();
    assert_eq!(world.state(), StreamState::Live);
    world.peer.close(world.now, CloseReason::Local);
    world.run_for(50);
    assert_eq!(world.closed(), Some(CloseReason::Local));
    assert_eq!(world.state(), StreamState::Reconnecting);
    assert!(!world.client.is_alive());
}

#[test]
fn a_publisher_that_says_goodbye_is_gone_at_once() {
    let mut world = World::new(vp8, false);
    world.connect();
    world.client.close().unwrap();
    world.run_for(200);
    assert_eq!(world.closed(), Some(CloseReason::Remote));
    assert_eq!(world.state(), StreamState::Reconnecting);
}

#[test]
fn a_silent_publisher_is_gone_within_30_seconds() {
    let mut world = World::new(vp8, false);
    world.connect();
    let last = world.now;
    world.client.disconnect();
    while world.closed().is_none() && world.now < last + Duration::from_secs(60) {
        world.run_for(100);
    }
    assert_eq!(world.closed(), Some(CloseReason::ConsentExpired));
    assert!(world.now < last + Duration::from_secs(30), "{:?}", world.now - last);
}

#[test]
fn a_take_over_ends_the_old_publication() {
    let mut world = World::new(vp8, false);
    world.connect();
    let wall = NtpTime::from_unix_micros(1_795_327_201_000_000);
    let writer = world.hub.take_over(&world.channel, Publication::default(), world.now, wall);
    world.run_for(100);
    assert_eq!(world.closed(), Some(CloseReason::Replaced));
    assert_eq!(world.state(), StreamState::Live);
    drop(writer);
}

#[test]
fn every_real_offer_gets_an_answer() {
    let hub = Hub::new(Duration::from_secs(10));
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    for (name, text) in crate::sdp_publish::tests::OFFERS {
        let now = beginning();
        let channel = ChannelName::parse(name).unwrap();
        let writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let offer = PublishOffer::parse(text).unwrap();
        let local = Local {
            candidates: vec![SERVER.parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap()],
            start_bitrate_bps: 2_500_000,
            bitrate_max_bps: None,
        };
        let (peer, answer) = match Peer::negotiate(now, PeerId(1), writer, &offer, &local) {
            Ok(done) => done,
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(answer.contains(&format!("a=ice-ufrag:{}\r\n", peer.ufrag())), "{name}");
        assert!(answer.contains(&format!("a=ice-pwd:{}\r\n", peer.pwd())), "{name}");
        SdpAnswer::from_sdp_string(&answer).unwrap_or_else(|error| panic!("{name}: {error}\n{answer}"));
    }
}

/// Datagrams that a stranger could send from a believed 4-tuple.
#[test]
fn garbage_does_no_harm() {
    let mut world = World::new(vp8, true);
    let (server, client) = World::addresses();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut garble = |world: &mut World, count: usize| {
        for _ in 0..count {
            let mut data: Vec<u8> = (0..next(200)).map(|_| next(256) as u8).collect();
            if let Some(first) = data.first_mut() {
                *first = [0, 1, 22, 23, 128, 144, 255][next(7)];
            }
            if data.len() > 3 && next(2) == 0 {
                data[1] = [96, 200, 205, 254, 253][next(5)];
            }
            let now = world.now;
            world.peer.handle_datagram(now, client, server.ip(), &mut data);
            world.pump_peer();
        }
    };
    garble(&mut world, 200);
    world.connect();
    garble(&mut world, 5000);
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    let mut reader = track.read::<RtpPacket>(&Rid::single());
    world.send(video, 1, 0, true, VP8_KEYFRAME);
    world.run_for(100);
    assert_eq!(drain(&mut reader).len(), 1);
    assert_eq!(world.closed(), None);
}
