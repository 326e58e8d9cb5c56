//! The SFU without I/O: no socket, thread, task or clock.
//!
//! ```text
//!   datagram ──► demux ──► viewer (ice_lite, dtls_guard, secure) ──► rtcp ──► feedback ──┐
//!                  └─────► publisher (peer)                                              ▼
//!   packets ───► feed (history, bursts) ──────► slice ──► down_track ──► rewriter ──► egress::Sealer ──► Batch
//! ```
//! The files of one `impl Core`: this one (the door), `connectivity` (checks, challenges, ways), `publisher` (who sends),
//! `subscribe` (who reads what), `picture` (which Layer a viewer gets), `switch` (from one Layer to another), `feedback`
//! (what viewers report), `slice` (what is sent next), `pace` (what is spread out for thin lines), `probes` (what is sent
//! to see whether a line takes more), `lip_sync` (how long a picture waits for its sound), `calm` (whom no tick need
//! look after), `shedding` (what is left out under overload), `snapshot` (how single Peers are doing).

mod calm;
mod catch_up;
mod challenge;
mod connectivity;
mod control_queue;
mod counters;
mod credentials;
mod demux;
mod down_track;
mod dtls_guard;
mod feed;
mod feedback;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod history;
mod ice_agent;
pub(crate) mod ice_lite;
mod keyframe_pace;
mod lateness;
mod lip_sync;
pub mod overload;
mod pace;
pub mod peer;
mod picture;
mod probes;
mod publisher;
mod rtcp;
mod shedding;
mod slice;
pub(crate) mod slots;
pub mod snapshot;
mod stun;
mod subscribe;
mod switch;
mod turns;
pub(crate) mod up_track;
pub mod viewer;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use media::{Kind, Rid, RtpPacket, Track};
use rustc_hash::FxHashMap;

use crate::egress::batch::Transport;
use crate::egress::seal::Profile;
use crate::forward::selector::Candidates;
use crate::{CloseReason, LayerChoice, PeerEvent, PeerId};
use calm::{Calm, Look, TICK};
use control_queue::ControlQueue;
use counters::Round;
use demux::{Class, Home, Routes, classify};
use dtls_guard::Guard;
use feed::Feed;
use ice_lite::Check;
use overload::{LayerCap, Stage};
use publisher::Publisher;
use slice::Resend;
use slots::Slots;
use turns::Turns;
use up_track::UpCounters;
use viewer::{Failure, Viewer};

pub use counters::Counters;
pub use credentials::{Credentials, Halves};
pub use demux::Tuple;

/// One Layer that a shard reads from the bus.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct FeedId(pub u32);

/// What the shell must do for the core.
#[derive(Debug)]
pub enum Action {
    /// Read this Layer and hand its packets to `handle_packets`.
    OpenFeed {
        /// Under which name.
        feed: FeedId,
        /// The Track.
        track: Arc<Track>,
        /// The Layer.
        rid: Rid,
    },
    /// Nobody here reads it any more.
    CloseFeed(FeedId),
    /// Ask the source for a keyframe.
    RequestKeyframe(FeedId),
    /// Tell the holder of the Peer's handle.
    Event(PeerId, PeerEvent),
    /// That TCP connection is not needed any more, once what was to be sent over it is sent.
    HangUp(Tuple),
}

/// What the handle asks of a Peer's shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End it.
    Close(PeerId),
    /// Stop sending a kind to a viewer.
    Pause(PeerId, Kind),
    /// Send it again.
    Resume(PeerId, Kind),
    /// What a viewer wants to see from now on.
    SetLayer(PeerId, LayerChoice),
    /// Answer checks under these credentials too: an ICE restart.
    RestartIce(PeerId, Box<Halves>),
    /// End all Peers: the node stops.
    Stop,
}

/// A control datagram to send: STUN, DTLS or SRTCP. Its bytes come back by [`Core::reuse`].
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// From which local address: the one that the Peer used.
    pub from: IpAddr,
    /// By what.
    pub transport: Transport,
    /// The datagram.
    pub data: Vec<u8>,
}

/// Where a datagram belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// It was handled here.
    Here,
    /// It is of a Peer on that shard.
    Elsewhere(usize),
    /// It is of nobody.
    Dropped,
}

/// A Peer whose offer was answered and whose first STUN check has not come yet.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it waits and travels in a Box")]
pub enum Negotiated {
    /// It will watch.
    Viewer(viewer::Spec),
    /// It will publish.
    Publisher(peer::Peer),
}

impl Negotiated {
    /// Who it is.
    pub fn id(&self) -> PeerId {
        match self {
            Self::Viewer(spec) => spec.id(),
            Self::Publisher(peer) => peer.id(),
        }
    }

    /// Our ICE ufrag for it.
    pub fn ufrag(&self) -> &str {
        match self {
            Self::Viewer(spec) => spec.ufrag(),
            Self::Publisher(peer) => peer.ufrag(),
        }
    }

    /// Another ICE session, before the first has begun.
    pub(crate) fn replace_credentials(&mut self, halves: Halves) {
        match self {
            Self::Viewer(spec) => spec.replace_credentials(halves),
            Self::Publisher(peer) => peer.replace_credentials(halves),
        }
    }
}

/// Whose Peer a ufrag is.
#[derive(Debug)]
pub enum Claim {
    /// Nobody had it: it is this shard's from now on.
    Yours(Box<Negotiated>),
    /// That shard has it.
    Elsewhere(usize),
    /// No such Peer.
    Unknown,
}

/// All Peers of a shard.
#[derive(Debug)]
pub struct Core {
    counters: Counters,
    viewers: Slots<Viewer>,
    publishers: Slots<Publisher>,
    routes: Routes,
    /// By a number of ours that nobody can choose, and looked up for every viewer and look: no keyed hash.
    feeds: FxHashMap<FeedId, Feed>,
    /// By Track (its address: the feed keeps it alive) and Layer.
    feed_ids: HashMap<(usize, Rid), FeedId>,
    next_feed: u32,
    /// Feeds that have bursts to send.
    audio_queue: VecDeque<FeedId>,
    video_queue: VecDeque<FeedId>,
    resends: VecDeque<Resend>,
    /// Viewers in a catch-up burst, and when the first of them may go on.
    catching_up: Vec<u32>,
    catch_up_due: Option<Instant>,
    /// Viewers for whom live pictures wait, because their lines are thin.
    pacing: Turns,
    /// Viewers whose lines are probed.
    probing: Turns,
    /// Viewers whose next Layer has a keyframe, and who still get the rest of a frame of the present one.
    arrivals: Vec<u32>,
    /// What there is to choose from, by Track (its address) that somebody here watches.
    candidates: FxHashMap<usize, Candidates>,
    /// When the next part of a paced keyframe may go.
    paced_due: Option<Instant>,
    control: ControlQueue,
    actions: VecDeque<Action>,
    next_tick: Option<Instant>,
    calm: Calm,
    round: Round,
    /// How far it sheds, and how many viewers there were when they were ranked for it.
    stage: Stage,
    ranked: u64,
}

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}

impl Core {
    /// A core without Peers.
    pub fn new() -> Self {
        Self {
            counters: Counters::default(),
            viewers: Slots::new(),
            publishers: Slots::new(),
            routes: Routes::default(),
            feeds: FxHashMap::default(),
            feed_ids: HashMap::new(),
            next_feed: 0,
            audio_queue: VecDeque::new(),
            video_queue: VecDeque::new(),
            resends: VecDeque::new(),
            catching_up: Vec::new(),
            catch_up_due: None,
            pacing: Turns::default(),
            probing: Turns::default(),
            arrivals: Vec::new(),
            candidates: FxHashMap::default(),
            paced_due: None,
            control: ControlQueue::default(),
            actions: VecDeque::new(),
            next_tick: None,
            calm: Calm::default(),
            round: Round::default(),
            stage: Stage::default(),
            ranked: 0,
        }
    }

    /// Takes a datagram that came by UDP. `to`: our address that it came to. `claim` is asked for a ufrag that
    /// no Peer here has.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: IpAddr,
        data: &mut [u8],
        claim: &mut dyn FnMut(&str) -> Claim,
    ) -> Routed {
        self.handle_input(now, Tuple { remote: from, local: to, transport: Transport::Udp }, data, claim)
    }

    /// Takes a datagram, whatever carried it.
    pub fn handle_input(
        &mut self,
        now: Instant,
        tuple: Tuple,
        data: &mut [u8],
        claim: &mut dyn FnMut(&str) -> Claim,
    ) -> Routed {
        match classify(data) {
            Class::Stun => {
                if let Some(check) = Check::parse(data) {
                    return self.handle_check(now, tuple, &check, claim);
                }
            }
            Class::Dtls | Class::Rtcp | Class::Rtp => {}
            Class::Unknown => {
                self.counters.datagrams_unknown += 1;
                return Routed::Dropped;
            }
        }
        match self.routes.by_tuple(tuple) {
            Some(home) if classify(data) == Class::Stun => self.handle_answer(now, home, tuple, data),
            Some(Home::Viewer(slot)) => self.handle_viewer_datagram(now, slot, tuple, data),
            Some(Home::Publisher(slot)) => self.hand_to_publisher(now, slot, tuple, data),
            None => match self.routes.elsewhere(tuple) {
                Some(shard) => return Routed::Elsewhere(shard),
                None => {
                    self.counters.datagrams_of_nobody += 1;
                    return Routed::Dropped;
                }
            },
        }
        Routed::Here
    }

    /// A negotiated Peer is this shard's from now on.
    fn admit(&mut self, now: Instant, negotiated: Negotiated) -> Home {
        let (id, ufrag) = (negotiated.id(), negotiated.ufrag().to_owned());
        let home = match negotiated {
            Negotiated::Viewer(spec) => {
                self.counters.viewers += 1;
                let slot = self.viewers.insert(Viewer::new(now, spec));
                self.calm.disturb(slot);
                Home::Viewer(slot)
            }
            Negotiated::Publisher(mut peer) => {
                self.counters.publishers += 1;
                peer.begin_connecting(now);
                let publisher = Publisher { peer, guard: Guard::new(), counted: UpCounters::default() };
                Home::Publisher(self.publishers.insert(publisher))
            }
        };
        self.routes.add(id, &ufrag, home);
        self.next_tick.get_or_insert(now + TICK);
        home
    }

    fn handle_viewer_datagram(&mut self, now: Instant, slot: u32, tuple: Tuple, data: &mut [u8]) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        match classify(data) {
            Class::Dtls => {
                let result = viewer.handle_dtls(now, data, &mut self.counters);
                self.after_dtls(now, slot, result);
            }
            Class::Rtcp => match viewer.open_rtcp(now, tuple, data) {
                Some(compound) => {
                    rtcp::read(compound, |said| self.handle_feedback(now, slot, said));
                    self.challenge(Home::Viewer(slot));
                }
                None => self.counters.srtcp_refused += 1,
            },
            Class::Rtp => self.counters.rtp_from_viewers += 1,
            // The door has looked at it.
            Class::Stun | Class::Unknown => {}
        }
    }

    /// Sends what DTLS has to say, and does what came of it.
    fn after_dtls(&mut self, now: Instant, slot: u32, result: Result<Option<CloseReason>, Failure>) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        while let Some(transmit) = viewer.poll_transmit() {
            self.counters.control_dropped += u64::from(!self.control.push(transmit));
        }
        match result {
            Err(failure) => self.fail(now, slot, failure),
            Ok(Some(reason)) => self.end_viewer(now, slot, reason),
            Ok(None) => {
                let Some(connected) = viewer.announce() else { return };
                self.counters.viewers_connected += 1;
                match connected.profile {
                    Profile::AeadAes128Gcm => self.counters.connected_gcm += 1,
                    Profile::Aes128CmSha1_80 => self.counters.connected_cm_sha1 += 1,
                }
                self.counters.connected_tcp += u64::from(connected.transport == Transport::Tcp);
                let event = PeerEvent::Connected {
                    srtp_profile: connected.profile.name(),
                    remote: connected.remote,
                    transport: connected.transport,
                };
                self.actions.push_back(Action::Event(viewer.id, event));
                self.resolve(now, slot);
            }
        }
    }

    fn fail(&mut self, now: Instant, slot: u32, failure: Failure) {
        let reason = match failure {
            Failure::Panic => {
                self.counters.panics_caught += 1;
                CloseReason::Internal
            }
            Failure::Refused(_) | Failure::Handshake | Failure::Certificate => {
                self.counters.dtls_refused += 1;
                CloseReason::Dtls
            }
        };
        if let Some(viewer) = self.viewers.get(slot) {
            tracing::debug!(peer = %viewer.id, ?failure, "viewer refused");
        }
        self.end_viewer(now, slot, reason);
    }

    /// Ends a viewer: everything that knows it forgets it.
    fn end_viewer(&mut self, now: Instant, slot: u32, reason: CloseReason) {
        for kind in [Kind::Audio, Kind::Video] {
            self.detach(slot, kind);
        }
        self.pacing.remove(slot);
        self.probing.remove(slot);
        self.calm.forget(slot);
        let Some(mut viewer) = self.viewers.remove(slot) else { return };
        viewer.close(now);
        while let Some(transmit) = viewer.poll_transmit() {
            self.counters.control_dropped += u64::from(!self.control.push(transmit));
        }
        self.forget_ways(viewer.id, &viewer.ice);
        self.counters.viewers -= 1;
        self.counters.viewers_connected -= u64::from(viewer.is_announced());
        self.counters.viewers_audio_only -= u64::from(viewer.cap == LayerCap::AudioOnly);
        match reason {
            CloseReason::NeverConnected => self.counters.never_connected += 1,
            CloseReason::ConsentExpired => self.counters.consent_expired += 1,
            _ => {}
        }
        self.actions.push_back(Action::Event(viewer.id, PeerEvent::Closed(reason)));
    }

    /// Takes packets of a feed from the bus, in the order in which they were written. Empties `packets`.
    pub fn handle_packets(&mut self, now: Instant, feed: FeedId, packets: &mut Vec<RtpPacket>) {
        self.counters.packets_in += packets.len() as u64;
        let Some(source) = self.feeds.get_mut(&feed) else { return packets.clear() };
        let taken = source.take(now, packets);
        self.counters.packets_useless += taken.useless;
        self.counters.histories_cut += taken.cut;
        let viewers = source.viewers.len() as u64;
        self.counters.stale_frames += taken.dropped_bursts * viewers;
        self.counters.stale_packets += taken.dropped_packets * viewers;
        let (kind, queued) = (source.kind, source.queued || source.bursts.is_empty());
        source.queued |= !source.bursts.is_empty();
        if !queued {
            match kind {
                Kind::Audio => self.audio_queue.push_back(feed),
                Kind::Video => self.video_queue.push_back(feed),
            }
        }
        if taken.may_start && kind == Kind::Video {
            self.start_waiting(now, feed);
        }
    }

    /// The Track of that feed ended.
    pub fn handle_feed_end(&mut self, now: Instant, feed: FeedId) {
        let Some(source) = self.feeds.get(&feed) else { return };
        let (kind, viewers) = (source.kind, source.viewers.clone());
        for slot in viewers {
            self.detach(slot, kind);
            if let Some(viewer) = self.viewers.get_mut(slot) {
                viewer.tracks_version = None;
            }
            self.resolve(now, slot);
        }
    }

    /// Does what the handle asked.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Close(id) => self.close(now, id, CloseReason::Local),
            Command::Pause(id, kind) => self.set_paused(now, id, kind, true),
            Command::Resume(id, kind) => self.set_paused(now, id, kind, false),
            Command::SetLayer(id, choice) => self.set_layer(now, id, choice),
            Command::RestartIce(id, halves) => self.restart_ice(id, *halves),
            Command::Stop => {
                for slot in 0..self.viewers.end() {
                    self.end_viewer(now, slot, CloseReason::Stopping);
                }
                for slot in 0..self.publishers.end() {
                    if let Some(publisher) = self.publishers.get_mut(slot) {
                        publisher.peer.close(now, CloseReason::Stopping);
                    }
                    self.drain_publisher(slot);
                }
            }
        }
    }

    fn close(&mut self, now: Instant, id: PeerId, reason: CloseReason) {
        match self.routes.by_id(id) {
            Some(Home::Viewer(slot)) => self.end_viewer(now, slot, reason),
            Some(Home::Publisher(slot)) => {
                if let Some(publisher) = self.publishers.get_mut(slot) {
                    publisher.peer.close(now, reason);
                }
                self.drain_publisher(slot);
            }
            None => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.publishers.end() {
            let Some(publisher) = self.publishers.get_mut(slot) else { continue };
            if publisher.peer.poll_timeout().is_some_and(|due| due <= now) {
                publisher.peer.handle_timeout(now);
                let totals = publisher.peer.totals();
                self.counters.add_published(&totals, &publisher.counted);
                publisher.counted = totals;
                self.drain_publisher(slot);
            }
        }
        if self.next_tick.is_some_and(|due| due <= now) {
            if self.calm.advance() {
                self.round.end(&mut self.counters);
            }
            for slot in 0..self.viewers.end() {
                if let Some(look) = self.calm.look(slot) {
                    viewer::prefetch_looks(&self.viewers, slot);
                    self.tick_viewer(now, slot, look);
                }
            }
            picture::forget_ended(&mut self.candidates);
            self.follow_ranks(now);
            let busy = !self.viewers.is_empty() || !self.publishers.is_empty();
            if !busy {
                self.round = Round::default();
                self.round.end(&mut self.counters);
            }
            self.next_tick = busy.then(|| now + TICK);
        }
    }

    fn tick_viewer(&mut self, now: Instant, slot: u32, look: Look) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        if viewer.stream.state() == media::StreamState::Ended {
            return self.end_viewer(now, slot, CloseReason::StreamEnded);
        }
        let result = viewer.handle_timeout(now);
        self.after_dtls(now, slot, result);
        self.look_after_tracks(now, slot);
        self.tick_congestion(now, slot, look);
        self.keep_in_step(slot);
        self.see_whether_calm(now, slot);
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        if viewer.must_report(now) {
            let mut data = self.control.buffer();
            if !viewer.report(now, &mut data) {
                return self.reuse(data);
            }
            if let Some(transmit) = viewer.transmit(data) {
                self.counters.control_dropped += u64::from(!self.control.push(transmit));
            }
        }
    }

    /// When [`Self::handle_timeout`] and [`Self::next_slice`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let publishers = (0..self.publishers.end())
            .filter_map(|slot| self.publishers.get(slot)?.peer.poll_timeout())
            .min();
        let turns = [self.pacing.due(), self.probing.due(), self.catch_up_due, self.paced_due];
        let tick = self.next_tick.map(|due| due + self.calm.slack());
        turns.into_iter().chain([tick, publishers]).flatten().min()
    }

    /// The next control datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.control.pop()
    }

    /// Takes back the bytes of a [`Transmit`] that was sent, to write the next one into.
    pub fn reuse(&mut self, data: Vec<u8>) {
        self.control.reuse(data);
    }

    /// The next thing that the shell must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the line of that viewer takes, in bits per second. `None`: it is no viewer of this shard, or gives nothing
    /// to judge by.
    pub fn estimate_bps(&self, peer: PeerId) -> Option<u64> {
        match self.routes.by_id(peer)? {
            Home::Viewer(slot) => self.viewers.get(slot)?.estimate_bps(),
            Home::Publisher(_) => None,
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
