//! A core with connected viewers, in memory and virtual time: handshakes by another stack (str0m), datagrams passed
//! by hand, media from nowhere to nowhere.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::AllocationInfo;
use bytes::Bytes;
use media::{
    ChannelName, Codec, Hub, Kind, NtpTime, Publication, Rid, RtpPacket, Stream, StreamWriter, Timescale,
    TrackSpec, TrackWriter,
};
use sfu::core::viewer::{Entropy, Identity, Spec};
use sfu::core::{Action, Claim, Core, FeedId, Negotiated};
use sfu::egress::batch::Batch;
use sfu::egress::seal::Profile;
use sfu::sdp::SubscribeOffer;
use sfu::{PeerId, Transport};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

const SERVER: &str = "192.0.2.1:8189";
/// From one look at the clients to the next.
const STEP: Duration = Duration::from_millis(10);
const FRAME: Duration = Duration::from_nanos(33_333_333);
const SOUND: Duration = Duration::from_millis(20);
/// 2.5 Mbit/s at 30 frames per second; a keyframe has four times as many.
const PACKETS_PER_FRAME: u64 = 9;
const PAYLOAD_BYTES: usize = 1172;
const SOUND_BYTES: usize = 160;
const FRAMES_PER_GROUP: u64 = 60;
/// One viewer in so many decrypts what it gets, and feeds back.
const FULL_EVERY: usize = 20;
const CONNECT_STEPS_MAX: u32 = 1000;

/// The handshakes are over, the measurement runs.
pub(crate) static MEASURING: AtomicBool = AtomicBool::new(false);

/// What the core used up.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) allocations: u64,
    /// Of the heap, more than before.
    pub(crate) bytes_held: i64,
}

impl std::ops::Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            time: self.time - other.time,
            allocations: self.allocations - other.allocations,
            bytes_held: self.bytes_held - other.bytes_held,
        }
    }
}

/// What calls into the core cost, by what they are about.
#[derive(Clone, Copy, Default)]
pub(crate) struct Costs {
    /// Datagrams of viewers.
    pub(crate) datagrams: Cost,
    /// The clock.
    pub(crate) timers: Cost,
    /// Packets of sources.
    pub(crate) packets: Cost,
    /// Sealing.
    pub(crate) slices: Cost,
    /// What is written for viewers, media only.
    pub(crate) sent: u64,
    /// Messages that it would be for the kernel.
    pub(crate) runs: u64,
}

impl Costs {
    pub(crate) fn all(&self) -> [(&'static str, Cost); 4] {
        [
            ("datagrams", self.datagrams),
            ("timers", self.timers),
            ("packets", self.packets),
            ("slices", self.slices),
        ]
    }
}

impl std::ops::Sub for Costs {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams - other.datagrams,
            timers: self.timers - other.timers,
            packets: self.packets - other.packets,
            slices: self.slices - other.slices,
            sent: self.sent - other.sent,
            runs: self.runs - other.runs,
        }
    }
}

/// Callgrind collects what is under the function of this name.
pub(crate) const MEASURED_FUNCTION: &str = "*world*measured*";

#[inline(never)]
fn measured<T>(call: impl FnOnce() -> T) -> T {
    call()
}

/// Calls into the core, and counts.
fn collected<T>(cost: &mut Cost, call: impl FnOnce() -> T) -> T {
    let mut result = None;
    let mut time = Duration::ZERO;
    let AllocationInfo { count_total, bytes_current, .. } = allocation_counter::measure(|| {
        let start = Instant::now();
        result = Some(if MEASURING.load(Ordering::Relaxed) { measured(call) } else { call() });
        time = start.elapsed();
    });
    cost.time += time;
    cost.allocations += count_total;
    cost.bytes_held += bytes_current;
    result.expect("it was called")
}

struct Source {
    stream: Arc<Stream>,
    _writer: StreamWriter,
    _tracks: [TrackWriter; 2],
    /// Sound, picture.
    feeds: [Option<FeedId>; 2],
    numbers: [u64; 2],
    frames: u64,
}

struct Client {
    rtc: Rtc,
    address: SocketAddr,
    due: Instant,
    full: bool,
    connected: bool,
}

/// Everything.
pub(crate) struct World {
    now: Instant,
    core: Core,
    batch: Batch,
    identity: Identity,
    _hub: Arc<Hub>,
    sources: Vec<Source>,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    claims: HashMap<String, Box<Negotiated>>,
    next_frame: Instant,
    next_sound: Instant,
    payload: Bytes,
    packets: Vec<RtpPacket>,
    pub(crate) costs: Costs,
}

impl World {
    /// `viewers` that are connected, evenly spread over so many Streams.
    pub(crate) fn connected(viewers: usize, streams: usize, profile: Profile) -> Self {
        let now = Instant::now();
        let hub = Hub::new(Duration::from_secs(10));
        let sources = (0..streams).map(|at| source(&hub, at, now)).collect();
        let mut world = Self {
            now,
            core: Core::new(),
            batch: Batch::new(),
            identity: Identity::generate(&[profile]).expect("a certificate"),
            _hub: hub,
            sources,
            clients: Vec::new(),
            by_address: HashMap::new(),
            claims: HashMap::new(),
            next_frame: now,
            next_sound: now,
            payload: vec![0x5a; PAYLOAD_BYTES].into(),
            packets: Vec::new(),
            costs: Costs::default(),
        };
        (0..viewers).for_each(|at| world.join(at));
        for _ in 0..CONNECT_STEPS_MAX {
            if world.clients.iter().all(|client| client.connected) {
                return world;
            }
            world.step(false);
        }
        panic!("not all viewers connected");
    }

    /// So much media, in virtual time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        (self.next_frame, self.next_sound) = (self.now, self.now);
        while self.now < end {
            self.step(true);
        }
    }

    fn join(&mut self, at: usize) {
        let address: SocketAddr = ([198, 51, (100 + at / 250) as u8, (1 + at % 250) as u8], 40_000).into();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(self.now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().expect("an offer");
        let offer = SubscribeOffer::parse(&offer.to_sdp_string()).expect("an offer that we read");
        let mut entropy: Entropy = [0; size_of::<Entropy>()];
        let mut state = at as u64 + 1;
        entropy.fill_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        let stream = Arc::clone(&self.sources[at % self.sources.len()].stream);
        let server = SERVER.parse().expect("an address");
        let candidates = [sfu::Candidate { address: server, transport: Transport::Udp }];
        let id = PeerId::from_raw(at as u64 + 1);
        let (spec, answer) = Spec::negotiate(id, stream, &offer, &self.identity, &candidates, &entropy);
        let answer = SdpAnswer::from_sdp_string(&answer).expect("an answer");
        rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        self.claims.insert(spec.ufrag().to_owned(), Box::new(Negotiated::Viewer(spec)));
        self.by_address.insert(address, at);
        let full = at.is_multiple_of(FULL_EVERY);
        self.clients.push(Client { rtc, address, due: self.now, full, connected: false });
    }

    fn step(&mut self, media: bool) {
        self.now += STEP;
        let (core, now) = (&mut self.core, self.now);
        collected(&mut self.costs.timers, || core.handle_timeout(now));
        for at in 0..self.clients.len() {
            if self.clients[at].due <= self.now {
                self.tell(at, Input::Timeout(self.now));
            }
        }
        self.act();
        while media && self.next_sound <= self.now {
            self.write(Kind::Audio);
            self.next_sound += SOUND;
        }
        while media && self.next_frame <= self.now {
            self.write(Kind::Video);
            self.next_frame += FRAME;
        }
        self.say();
        loop {
            let (core, batch) = (&mut self.core, &mut self.batch);
            let more = collected(&mut self.costs.slices, || core.next_slice(now, batch));
            self.deliver();
            if !more {
                break;
            }
        }
        self.act();
    }

    /// Each source writes a frame, and the core takes it.
    fn write(&mut self, kind: Kind) {
        for at in 0..self.sources.len() {
            let source = &mut self.sources[at];
            let clock = source.stream.clock();
            let (track, scale) = match kind {
                Kind::Audio => (0, Timescale::OPUS),
                Kind::Video => (1, Timescale::VIDEO),
            };
            let keyframe = kind == Kind::Audio || source.frames.is_multiple_of(FRAMES_PER_GROUP);
            let parts = match kind {
                Kind::Audio => 1,
                Kind::Video if keyframe => 4 * PACKETS_PER_FRAME,
                Kind::Video => PACKETS_PER_FRAME,
            };
            let bytes = if kind == Kind::Audio { SOUND_BYTES } else { PAYLOAD_BYTES };
            source.frames += u64::from(kind == Kind::Video);
            for part in 0..parts {
                self.packets.push(RtpPacket {
                    seq: source.numbers[track],
                    time: clock.media_time(self.now, scale),
                    lag_micros: 0,
                    payload: self.payload.slice(..bytes),
                    marker: part + 1 == parts,
                    frame_start: part == 0,
                    starts_keyframe: part == 0 && keyframe,
                    discardable: false,
                    reorders: false,
                    temporal_id: 0,
                    epoch: 0,
                    arrival: self.now,
                });
                source.numbers[track] += 1;
            }
            let feed = source.feeds[track];
            let (core, packets, now) = (&mut self.core, &mut self.packets, self.now);
            if let Some(feed) = feed {
                collected(&mut self.costs.packets, || core.handle_packets(now, feed, packets));
            }
            self.packets.clear();
        }
    }

    /// Control datagrams of the core go to their clients.
    fn say(&mut self) {
        while let Some(transmit) = self.core.poll_transmit() {
            if let Some(at) = self.by_address.get(&transmit.to).copied() {
                self.hand(at, &transmit.data);
            }
            self.core.reuse(transmit.data);
        }
    }

    /// Media goes to the full clients, and is forgotten for the others.
    fn deliver(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        for run in batch.runs() {
            self.costs.runs += 1;
            self.costs.sent += run.datagrams() as u64;
            if let Some(at) = self.by_address.get(&run.dest.to).copied().filter(|at| self.clients[*at].full) {
                batch.bytes(run).chunks(run.segment).for_each(|datagram| self.hand(at, datagram));
            }
        }
        self.batch = batch;
        self.batch.clear();
    }

    fn hand(&mut self, at: usize, datagram: &[u8]) {
        let Ok(contents) = datagram.try_into() else { return };
        let destination = self.clients[at].address;
        let source = SERVER.parse().expect("an address");
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        self.tell(at, Input::Receive(self.now, receive));
    }

    /// A client hears something, and says what it has to say.
    fn tell(&mut self, at: usize, input: Input<'_>) {
        let client = &mut self.clients[at];
        client.rtc.handle_input(input).expect("a client goes on");
        loop {
            let client = &mut self.clients[at];
            match client.rtc.poll_output().expect("a client goes on") {
                Output::Timeout(due) => {
                    client.due = due;
                    return;
                }
                Output::Event(event) => client.connected |= matches!(event, Event::Connected),
                Output::Transmit(transmit) => {
                    let (from, mut data) = (client.address, transmit.contents.to_vec());
                    let to: SocketAddr = SERVER.parse().expect("an address");
                    let (core, claims, now) = (&mut self.core, &mut self.claims, self.now);
                    let mut claim = |ufrag: &str| claims.remove(ufrag).map_or(Claim::Unknown, Claim::Yours);
                    collected(&mut self.costs.datagrams, || {
                        core.handle_datagram(now, from, to.ip(), &mut data, &mut claim)
                    });
                    self.say();
                }
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            if let Action::OpenFeed { feed, track, .. } = action {
                let of = self
                    .sources
                    .iter_mut()
                    .find(|source| {
                        source.stream.source(track.kind()).is_some_and(|it| Arc::ptr_eq(&it, &track))
                    })
                    .expect("a Track of ours");
                of.feeds[usize::from(track.kind() == Kind::Video)] = Some(feed);
            }
        }
    }
}

fn source(hub: &Arc<Hub>, at: usize, now: Instant) -> Source {
    let channel = ChannelName::parse(&format!("bench{at}")).expect("a name");
    let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
    let mut writer = hub.publish(&channel, Publication::default(), now, wall).expect("a free channel");
    let mut track = |codec, timescale| {
        let spec = TrackSpec { codec, timescale, keyframes_on_request: false, derived: false };
        let mut track = writer.track(spec);
        // A Layer is there once something was written to it.
        track.write_rtp(
            &Rid::single(),
            RtpPacket {
                seq: 0,
                time: media::MediaTime::new(0, timescale),
                lag_micros: 0,
                payload: Bytes::from_static(&[0; 8]),
                marker: true,
                frame_start: true,
                starts_keyframe: true,
                discardable: false,
                reorders: false,
                temporal_id: 0,
                epoch: 0,
                arrival: now,
            },
        );
        track
    };
    let tracks = [track(Codec::Opus, Timescale::OPUS), track(Codec::H264, Timescale::VIDEO)];
    let stream = Arc::clone(writer.stream());
    Source { stream, _writer: writer, _tracks: tracks, feeds: [None; 2], numbers: [100; 2], frames: 0 }
}
