//! A whole SFU core, a Stream and many viewers by another stack (str0m), in memory and virtual time.

use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use media::{
    ChannelName, Hub, NtpTime, Publication, RtpPacket, Stream, StreamWriter, TrackReader, TrackWriter,
};
use sfu::PeerId;
use sfu::core::viewer::{Entropy, Identity, Spec};
use sfu::core::{Action, Claim, Core, FeedId, Negotiated, Routed};
use sfu::egress::batch::Batch;
use sfu::sdp::SubscribeOffer;
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::line::{Line, LineState, Random};
use crate::source::Source;
use crate::viewer::{Got, Viewer};

pub(crate) const SERVER: &str = "192.0.2.1:8189";
pub(crate) const STEP: Duration = Duration::from_millis(1);

/// A video packet of our own on the wire, as the header says in clear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) to: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    pub(crate) number: u16,
    pub(crate) at: Instant,
}

struct Datagram {
    at: Instant,
    order: u64,
    /// Index of the viewer whose line it is on.
    viewer: usize,
    to_server: bool,
    data: Vec<u8>,
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Datagram {}
impl PartialOrd for Datagram {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Datagram {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) core: Core,
    pub(crate) viewers: Vec<Viewer>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) writer: Option<StreamWriter>,
    pub(crate) source: Source,
    pub(crate) frame: u32,
    pub(crate) wire: Vec<Wire>,
    /// Hash of every sealed packet by viewer, SSRC and number.
    sealed: HashMap<(SocketAddr, u32, u16), u64>,
    pub(crate) sealed_twice: u64,
    pub(crate) keyframe_requests: u64,
    /// Of the packet path: from the bus to the batch.
    pub(crate) allocations: u64,
    pub(crate) channel: ChannelName,
    pub(crate) audio: Option<TrackWriter>,
    pub(crate) video: Option<TrackWriter>,
    pub(crate) next_frame: Instant,
    pub(crate) next_audio: Instant,
    pub(crate) audio_number: u32,
    pub(crate) since_keyframe: u32,
    pub(crate) video_seq: u64,
    pub(crate) audio_seq: u64,
    identity: Identity,
    feeds: HashMap<FeedId, TrackReader<RtpPacket>>,
    claims: HashMap<String, Box<Negotiated>>,
    net: BinaryHeap<Datagram>,
    order: u64,
    batch: Batch,
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a beginning")]
fn beginning() -> Instant {
    Instant::now()
}

impl World {
    pub(crate) fn new(seed: u64, source: Source) -> Self {
        str0m::crypto::from_feature_flags().install_process_default();
        println!("seed {seed}");
        let now = beginning();
        let hub = Hub::new(Duration::from_secs(10));
        let channel = ChannelName::parse("ana").unwrap();
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let stream = Arc::clone(writer.stream());
        let mut world = Self {
            now,
            random: Random(seed),
            core: Core::new(),
            viewers: Vec::new(),
            hub,
            stream,
            writer: Some(writer),
            source,
            frame: 0,
            wire: Vec::new(),
            sealed: HashMap::new(),
            sealed_twice: 0,
            keyframe_requests: 0,
            allocations: 0,
            channel,
            audio: None,
            video: None,
            next_frame: now,
            next_audio: now,
            audio_number: 0,
            since_keyframe: 0,
            video_seq: 1000,
            audio_seq: 7,
            identity: Identity::generate(&sfu::egress::seal::Profile::ALL).unwrap(),
            feeds: HashMap::new(),
            claims: HashMap::new(),
            net: BinaryHeap::new(),
            order: 0,
            batch: Batch::new(),
        };
        world.open_tracks();
        world
    }

    /// A viewer comes. `munge` may change its offer.
    pub(crate) fn join(&mut self, line: Line, munge: impl FnOnce(String) -> String) -> usize {
        let at = self.viewers.len();
        let address: SocketAddr =
            format!("198.51.{}.{}:40000", 100 + at / 250, 1 + at % 250).parse().unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(self.now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let video = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let offer = SubscribeOffer::parse(&munge(offer.to_sdp_string())).unwrap();
        let id = PeerId::from_raw(at as u64 + 1);
        let mut entropy: Entropy = [0; 96];
        entropy.fill_with(|| self.random.next() as u8);
        let candidates = [SERVER.parse().unwrap()];
        let (spec, answer) =
            Spec::negotiate(id, Arc::clone(&self.stream), &offer, &self.identity, &candidates, &entropy);
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()).unwrap();
        self.claims.insert(spec.ufrag().to_owned(), Box::new(Negotiated::Viewer(spec)));
        self.viewers.push(Viewer {
            id,
            rtc,
            address,
            line,
            line_state: LineState::default(),
            connected: None,
            joined: self.now,
            got: Vec::new(),
            events: Vec::new(),
            due: self.now,
            alive: true,
            silent: false,
            answer,
            video,
        });
        at
    }

    pub(crate) fn join_plain(&mut self, line: Line) -> usize {
        self.join(line, |offer| offer)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        self.write_media();
        self.core.handle_timeout(self.now);
        self.deliver();
        self.drain_bus();
        self.act();
        // The end of a handshake goes before what only it lets the viewer read.
        self.transmit();
        loop {
            let (core, batch, now, mut more) = (&mut self.core, &mut self.batch, self.now, false);
            let measured = allocation_counter::measure(|| more = core.next_slice(now, batch));
            self.allocations += measured.count_total;
            self.flush();
            if !more {
                break;
            }
        }
        self.act();
        self.transmit();
        for at in 0..self.viewers.len() {
            if self.viewers[at].due <= self.now {
                self.input(at, Input::Timeout(self.now));
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.core.poll_transmit() {
            self.post(transmit.to, transmit.data);
        }
    }

    /// A datagram on its way to the server, from where it is told.
    pub(crate) fn inject(&mut self, from: SocketAddr, mut data: Vec<u8>) -> Routed {
        let claims = &mut self.claims;
        let mut claim = |ufrag: &str| claims.remove(ufrag).map_or(Claim::Unknown, Claim::Yours);
        let to: SocketAddr = SERVER.parse().unwrap();
        self.core.handle_datagram(self.now, from, to.ip(), &mut data, &mut claim)
    }

    fn deliver(&mut self) {
        while self.net.peek().is_some_and(|datagram| datagram.at <= self.now) {
            let datagram = self.net.pop().unwrap();
            let address = self.viewers[datagram.viewer].address;
            if datagram.to_server {
                self.inject(address, datagram.data);
            } else {
                let server: SocketAddr = SERVER.parse().unwrap();
                let viewer = &mut self.viewers[datagram.viewer];
                if !viewer.alive {
                    continue;
                }
                let contents = datagram.data.as_slice().try_into().expect("str0m knows what this is");
                let receive =
                    Receive { proto: Protocol::Udp, source: server, destination: address, contents };
                self.input(datagram.viewer, Input::Receive(datagram.at, receive));
            }
        }
    }

    fn input(&mut self, at: usize, input: Input<'_>) {
        let viewer = &mut self.viewers[at];
        if !viewer.alive {
            return;
        }
        if let Err(error) = viewer.rtc.handle_input(input) {
            panic!("viewer {at}: {error}");
        }
        loop {
            let viewer = &mut self.viewers[at];
            match viewer.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    viewer.due = due;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    let data = transmit.contents.to_vec();
                    self.send(at, true, data);
                }
                Ok(Output::Event(event)) => self.note(at, event),
                Err(error) => {
                    println!("viewer {at} ended: {error}");
                    viewer.alive = false;
                    return;
                }
            }
        }
    }

    fn note(&mut self, at: usize, event: Event) {
        let now = self.now;
        let viewer = &mut self.viewers[at];
        match event {
            Event::Connected => viewer.connected = Some(now),
            Event::RtpPacket(packet) => {
                let payload = &packet.payload;
                let u32_at = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                let u16_at = |at: usize| u16::from_be_bytes(payload[at..at + 2].try_into().unwrap());
                assert!(payload[8..].iter().all(|byte| *byte == payload[3]), "a payload was damaged");
                let video = packet.time.frequency().get() == 90_000;
                let got = Got {
                    video,
                    frame: u32_at(0),
                    part: u16_at(4),
                    parts: u16_at(6),
                    timestamp: packet.header.timestamp,
                    at: now,
                };
                viewer.got.push(got);
            }
            _ => {}
        }
    }

    /// The viewer asks for a keyframe.
    pub(crate) fn ask_keyframe(&mut self, at: usize) {
        let viewer = &mut self.viewers[at];
        let mid = viewer.video;
        let mut api = viewer.rtc.direct_api();
        let stream = api.stream_rx_by_mid(mid, None).expect("a stream");
        stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
        viewer.due = self.now;
    }

    fn send(&mut self, viewer: usize, to_server: bool, data: Vec<u8>) {
        let line = self.viewers[viewer].line;
        if self.viewers[viewer].silent && to_server {
            return;
        }
        // Handshakes are let through: what is tested is media.
        let media = data.first().is_some_and(|byte| (128..192).contains(byte));
        let state = &mut self.viewers[viewer].line_state;
        let arrivals = state.pass(self.now, &line, &mut self.random, to_server, media, data.len());
        for at in arrivals.into_iter().flatten() {
            self.order += 1;
            self.net.push(Datagram { at, order: self.order, viewer, to_server, data: data.clone() });
        }
    }

    fn post(&mut self, to: SocketAddr, data: Vec<u8>) {
        if let Some(at) = self.viewers.iter().position(|viewer| viewer.address == to) {
            self.send(at, false, data);
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        for run in batch.runs() {
            for data in batch.bytes(run).chunks(run.segment) {
                self.tap(run.dest.to, data);
                self.post(run.dest.to, data.to_vec());
            }
        }
        self.batch = batch;
        self.batch.clear();
    }

    fn tap(&mut self, to: SocketAddr, data: &[u8]) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        let u32_at = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        let (number, ssrc) = (u16::from_be_bytes([data[2], data[3]]), u32_at(8));
        let hash = hasher.finish();
        let known = *self.sealed.entry((to, ssrc, number)).or_insert(hash);
        self.sealed_twice += u64::from(known != hash);
        self.wire.push(Wire { to, ssrc, timestamp: u32_at(4), number, at: self.now });
    }

    fn drain_bus(&mut self) {
        let mut packets = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut ended = Vec::new();
        for (feed, reader) in &mut self.feeds {
            let poll = reader.poll_drain(&mut cx, &mut packets);
            let (core, now) = (&mut self.core, self.now);
            let measured = allocation_counter::measure(|| core.handle_packets(now, *feed, &mut packets));
            self.allocations += measured.count_total;
            if poll == Poll::Ready(()) {
                ended.push(*feed);
            }
        }
        for feed in ended {
            self.core.handle_feed_end(self.now, feed);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::OpenFeed { feed, track, rid } => drop(self.feeds.insert(feed, track.read(&rid))),
                Action::CloseFeed(feed) => drop(self.feeds.remove(&feed)),
                Action::RequestKeyframe(_) => {
                    self.keyframe_requests += 1;
                    self.since_keyframe = 0;
                }
                Action::Event(id, event) => {
                    let viewer = self.viewers.iter_mut().find(|viewer| viewer.id == id).unwrap();
                    viewer.events.push(event);
                }
            }
        }
        // What was opened is read at once, as the shell does at its next turn.
        self.drain_bus();
    }
}
