//! A whole SFU core, a Stream and many viewers by other stacks, in memory and virtual time.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use media::{
    ChannelName, Hub, NtpTime, Publication, RtpPacket, Stream, StreamWriter, TrackReader, TrackWriter,
};
use sfu::core::viewer::{Entropy, Identity, Spec};
use sfu::core::{Action, Claim, Core, FeedId, Negotiated, Routed};
use sfu::egress::batch::Batch;
use sfu::sdp::SubscribeOffer;
use sfu::{PeerId, Transport};

use crate::browser::{Abilities, Browser};
use crate::line::{Line, LineState, Random};
use crate::source::{Encoder, Source};
use crate::viewer::{Client, Got, Said, Str0m, Viewer};

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
    /// When each frame was written.
    pub(crate) written: Vec<Instant>,
    pub(crate) wire: Vec<Wire>,
    /// Hash of every sealed packet by viewer, SSRC and number.
    sealed: HashMap<(SocketAddr, u32, u16), u64>,
    pub(crate) sealed_twice: u64,
    pub(crate) keyframe_requests: u64,
    /// What viewers have sent, if somebody listens: index of the viewer, datagram.
    pub(crate) heard: Option<Vec<(usize, Vec<u8>)>>,
    /// What the server sent to where nobody is.
    pub(crate) strays: Vec<(SocketAddr, Vec<u8>)>,
    /// Of the packet path: from the bus to the batch.
    pub(crate) allocations: u64,
    pub(crate) channel: ChannelName,
    pub(crate) audio: Option<TrackWriter>,
    pub(crate) video: Option<TrackWriter>,
    pub(crate) next_frame: Instant,
    pub(crate) next_audio: Instant,
    pub(crate) audio_number: u32,
    pub(crate) encoders: Vec<Encoder>,
    pub(crate) audio_seq: u64,
    identity: Identity,
    /// In an order, so that a seed says everything.
    feeds: BTreeMap<FeedId, TrackReader<RtpPacket>>,
    claims: HashMap<String, Box<Negotiated>>,
    /// Index of the viewer with an address.
    places: HashMap<SocketAddr, usize>,
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
            written: Vec::new(),
            wire: Vec::new(),
            sealed: HashMap::new(),
            sealed_twice: 0,
            keyframe_requests: 0,
            heard: None,
            strays: Vec::new(),
            allocations: 0,
            channel,
            audio: None,
            video: None,
            next_frame: now,
            next_audio: now,
            audio_number: 0,
            encoders: Encoder::of(&source),
            audio_seq: 7,
            identity: Identity::generate(&sfu::egress::seal::Profile::ALL).unwrap(),
            feeds: BTreeMap::new(),
            claims: HashMap::new(),
            places: HashMap::new(),
            net: BinaryHeap::new(),
            order: 0,
            batch: Batch::new(),
        };
        world.open_tracks();
        world
    }

    /// A viewer of another stack comes. `munge` may change its offer.
    pub(crate) fn join(&mut self, line: Line, munge: impl FnOnce(String) -> String) -> usize {
        let address = self.next_address();
        let (client, offer) = Str0m::new(self.now, SERVER.parse().unwrap(), address);
        self.admit(line, Client::Str0m(Box::new(client)), &munge(offer))
    }

    pub(crate) fn join_plain(&mut self, line: Line) -> usize {
        self.join(line, |offer| offer)
    }

    /// A viewer comes that repairs as browsers do.
    pub(crate) fn join_browser(&mut self, line: Line, abilities: Abilities) -> usize {
        let (client, offer) = Browser::new(self.now, SERVER.parse().unwrap(), abilities);
        self.admit(line, Client::Browser(Box::new(client)), &offer)
    }

    fn next_address(&self) -> SocketAddr {
        let at = self.viewers.len();
        format!("198.51.{}.{}:40000", 100 + at / 250, 1 + at % 250).parse().unwrap()
    }

    fn admit(&mut self, line: Line, mut client: Client, offer: &str) -> usize {
        let (at, address) = (self.viewers.len(), self.next_address());
        let offer = SubscribeOffer::parse(offer).unwrap();
        let id = PeerId::from_raw(at as u64 + 1);
        let mut entropy: Entropy = [0; 96];
        entropy.fill_with(|| self.random.next() as u8);
        let candidates = [sfu::Candidate { address: SERVER.parse().unwrap(), transport: Transport::Udp }];
        let (spec, answer) =
            Spec::negotiate(id, Arc::clone(&self.stream), &offer, &self.identity, &candidates, &entropy);
        client.accept(&answer);
        self.claims.insert(spec.ufrag().to_owned(), Box::new(Negotiated::Viewer(spec)));
        self.places.insert(address, at);
        self.viewers.push(Viewer {
            id,
            client,
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
        });
        at
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
                self.input(at, self.now, None);
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.core.poll_transmit() {
            self.post(transmit.to, transmit.data);
        }
    }

    /// From now on what the viewer sends comes from there.
    pub(crate) fn speak_from(&mut self, at: usize, address: SocketAddr) {
        self.viewers[at].address = address;
    }

    /// From now on what is sent to there reaches the viewer; `None`: nobody.
    pub(crate) fn reach(&mut self, address: SocketAddr, viewer: Option<usize>) {
        match viewer {
            Some(at) => self.places.insert(address, at),
            None => self.places.remove(&address),
        };
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
            if datagram.to_server {
                if let Some(heard) = &mut self.heard {
                    heard.push((datagram.viewer, datagram.data.clone()));
                }
                self.inject(self.viewers[datagram.viewer].address, datagram.data);
            } else {
                self.input(datagram.viewer, datagram.at, Some(&datagram.data));
            }
        }
    }

    fn input(&mut self, at: usize, now: Instant, data: Option<&[u8]>) {
        let viewer = &mut self.viewers[at];
        if !viewer.alive {
            return;
        }
        let (said, due) = viewer.client.input(now, data);
        viewer.due = due;
        for said in said {
            let viewer = &mut self.viewers[at];
            match said {
                Said::Send(data) => self.send(at, true, data),
                Said::Connected => viewer.connected = Some(self.now),
                Said::Got(got) => viewer.got.push(Got { at: self.now, ..got }),
                Said::Ended => viewer.alive = false,
            }
        }
    }

    /// The viewer asks for a keyframe.
    pub(crate) fn ask_keyframe(&mut self, at: usize) {
        let viewer = &mut self.viewers[at];
        viewer.client.ask_keyframe();
        viewer.due = self.now;
    }

    /// The viewer, a model of a browser, says that by RTCP.
    pub(crate) fn say(&mut self, at: usize, plain: &[u8]) {
        let viewer = &mut self.viewers[at];
        if let Client::Browser(browser) = &mut viewer.client {
            browser.say(plain);
        }
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
        match self.places.get(&to).copied() {
            Some(at) => self.send(at, false, data),
            None => self.strays.push((to, data)),
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
                Action::RequestKeyframe(feed) => {
                    self.keyframe_requests += 1;
                    self.feeds[&feed].layer().request_keyframe();
                }
                Action::HangUp(_) => {}
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
