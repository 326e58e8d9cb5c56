//! A publisher by another library (str0m) on a network in memory, in virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{ChannelName, Hub, Kind, NtpTime, Publication, StreamState, Track};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::core::challenge::Answer;
use crate::core::demux::Tuple;
use crate::core::ice_lite::Check;
use crate::core::peer::{Local, Peer};
use crate::core::up_track::beginning;
use crate::egress::batch::Transport;
use crate::sdp_publish::PublishOffer;
use crate::{CloseReason, PeerEvent, PeerId};

pub(super) const SERVER: &str = "192.0.2.1:5000";
pub(super) const CLIENT: &str = "198.51.100.7:40000";
/// One way.
pub(super) const LATENCY: Duration = Duration::from_millis(10);

pub(super) type Loss = Box<dyn FnMut(&[u8]) -> bool>;
pub(super) type Wire = VecDeque<(Instant, Vec<u8>)>;

/// Both ends, and what is between them.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) hub: Arc<Hub>,
    pub(super) channel: ChannelName,
    pub(super) client: Rtc,
    pub(super) peer: Peer,
    pub(super) video: Option<Mid>,
    pub(super) audio: Option<Mid>,
    pub(super) upstream: Wire,
    pub(super) to_client: Wire,
    pub(super) client_due: Instant,
    pub(super) client_events: Vec<Event>,
    pub(super) peer_events: Vec<PeerEvent>,
    /// Where the client is, as the server sees it.
    pub(super) seen_at: SocketAddr,
    /// Where the server sent to, and the first byte of what.
    pub(super) sent_to: Vec<(SocketAddr, u8)>,
    /// Decides about each SRTP datagram of the client: true loses it.
    pub(super) lose: Loss,
    /// The same of the server's.
    pub(super) lose_down: Loss,
    /// One way.
    pub(super) latency: Duration,
}

impl World {
    pub(super) fn new(config: impl FnOnce(RtcConfig) -> RtcConfig, audio: bool) -> Self {
        Self::with_layers(config, audio, None)
    }

    pub(super) fn with_layers(
        config: impl FnOnce(RtcConfig) -> RtcConfig,
        audio: bool,
        layers: Option<Simulcast>,
    ) -> Self {
        str0m::crypto::from_feature_flags().install_process_default();
        let now = beginning();
        let mut client = config(Rtc::builder().set_rtp_mode(true)).build(now);
        let server: SocketAddr = SERVER.parse().unwrap();
        let address: SocketAddr = CLIENT.parse().unwrap();
        client.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = client.sdp_api();
        let video = Some(api.add_media(MediaKind::Video, Direction::SendOnly, None, None, layers));
        let audio = audio.then(|| api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None));
        let (offer, pending) = api.apply().unwrap();
        let hub = Hub::new(Duration::from_secs(10));
        let channel = ChannelName::parse("ana").unwrap();
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let offer = PublishOffer::parse(&offer.to_sdp_string()).unwrap();
        let candidates = crate::Candidate::of(&[server], false);
        let local = Local { candidates, start_bitrate_bps: 2_500_000, bitrate_max_bps: None };
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
            upstream: Wire::new(),
            to_client: Wire::new(),
            client_due: now,
            client_events: Vec::new(),
            peer_events: Vec::new(),
            seen_at: address,
            sent_to: Vec::new(),
            lose: Box::new(|_| false),
            lose_down: Box::new(|_| false),
            latency: LATENCY,
        }
    }

    pub(super) fn addresses() -> (SocketAddr, SocketAddr) {
        (SERVER.parse().unwrap(), CLIENT.parse().unwrap())
    }

    pub(super) fn pump_client(&mut self) {
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.client_due = at.max(self.now);
                    return;
                }
                Output::Transmit(transmit) => {
                    let data = transmit.contents.to_vec();
                    if !(data[0] >= 128 && (self.lose)(&data)) {
                        self.upstream.push_back((self.now + self.latency, data));
                    }
                }
                Output::Event(event) => self.client_events.push(event),
            }
        }
    }

    pub(super) fn pump_peer(&mut self) {
        let (server, _) = Self::addresses();
        while let Some(transmit) = self.peer.poll_transmit() {
            assert_eq!(transmit.from, server.ip());
            self.sent_to.push((transmit.to, transmit.data[0]));
            if !(transmit.data[0] >= 128 && (self.lose_down)(&transmit.data)) {
                self.to_client.push_back((self.now + self.latency, transmit.data));
            }
        }
        while let Some(challenge) = self.peer.ice_mut().poll_challenge() {
            self.sent_to.push((challenge.to.remote, challenge.data[0]));
            self.to_client.push_back((self.now + self.latency, challenge.data));
        }
        while let Some(event) = self.peer.poll_event() {
            self.peer_events.push(event);
        }
    }

    /// A datagram reaches the server from where the client is. False: it was refused.
    pub(super) fn reach_server(&mut self, data: &mut [u8]) -> bool {
        let (server, _) = Self::addresses();
        let tuple = Tuple { remote: self.seen_at, local: server.ip(), transport: Transport::Udp };
        let Some(check) = Check::parse(data) else {
            if let Some(answer) = Answer::parse(data) {
                return self.peer.ice_mut().handle_answer(self.now, tuple, &answer);
            }
            return self.peer.handle_datagram(self.now, tuple, data);
        };
        let mut response = Vec::new();
        let believed = self.peer.handle_check(self.now, tuple, &check, &mut response).is_some();
        if believed {
            self.to_client.push_back((self.now + self.latency, response));
        }
        believed
    }

    /// Lets everything happen until `until`.
    pub(super) fn run_until(&mut self, until: Instant) {
        let (server, client) = Self::addresses();
        loop {
            self.pump_client();
            self.pump_peer();
            let next = [
                Some(self.client_due),
                self.peer.poll_timeout(),
                self.upstream.front().map(|(at, _)| *at),
                self.to_client.front().map(|(at, _)| *at),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until).max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if self.upstream.front().is_some_and(|(at, _)| *at <= next) {
                let (_, mut data) = self.upstream.pop_front().unwrap();
                self.reach_server(&mut data);
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

    pub(super) fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + Duration::from_millis(millis));
    }

    pub(super) fn connect(&mut self) -> Duration {
        let start = self.now;
        for _ in 0..2000 {
            self.run_for(1);
            if self.connected().is_some() && self.client.is_connected() {
                return self.now - start;
            }
        }
        panic!("not connected: {:?} {:?}", self.peer, self.peer_events);
    }

    pub(super) fn connected(&self) -> Option<&'static str> {
        self.peer_events.iter().find_map(|event| match event {
            PeerEvent::Connected { srtp_profile, .. } => Some(*srtp_profile),
            _ => None,
        })
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.peer_events.iter().find_map(|event| match event {
            PeerEvent::Closed(reason) => Some(*reason),
            _ => None,
        })
    }

    pub(super) fn payload_type(&self, mid: Mid) -> Pt {
        self.client.media(mid).unwrap().remote_pts()[0]
    }

    pub(super) fn send(&mut self, mid: Mid, seq: u64, time: u32, marker: bool, payload: &[u8]) {
        self.send_captured(mid, None, self.now, seq, time, marker, payload);
    }

    /// Sends a packet of a layer, whose content is from `captured`.
    #[expect(clippy::too_many_arguments, reason = "a packet has that many fields")]
    pub(super) fn send_captured(
        &mut self,
        mid: Mid,
        rid: Option<Rid>,
        captured: Instant,
        seq: u64,
        time: u32,
        marker: bool,
        payload: &[u8],
    ) {
        let pt = self.payload_type(mid);
        let mut api = self.client.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).unwrap();
        let packet = RtpWrite::new(pt, seq.into(), time, captured, payload.to_vec());
        stream.write_rtp(packet.marker(marker).nackable(true));
        self.pump_client();
    }

    pub(super) fn track(&self, kind: Kind) -> Arc<Track> {
        self.hub.stream(&self.channel).unwrap().source(kind).unwrap()
    }

    pub(super) fn state(&self) -> StreamState {
        self.hub.stream(&self.channel).unwrap().state()
    }
}

/// What a reader of either face has to read now.
macro_rules! drain {
    ($reader:expr) => {{
        let mut items = Vec::new();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _: std::task::Poll<()> = $reader.poll_drain(&mut context, &mut items);
        items
    }};
}
pub(super) use drain;
