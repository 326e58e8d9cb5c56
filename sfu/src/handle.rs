//! The SFU as the rest of the server sees it.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use media::{Kind, Stream, StreamId, StreamWriter};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

use crate::audience::{Audience, Seat};
use crate::capacity::{Capacity, Limit};
use crate::core::peer::{Local, Peer, ice_text};
use crate::core::snapshot::Who;
use crate::core::viewer::{Entropy, Identity, Spec};
use crate::core::{Command, Credentials, Halves, Negotiated};
use crate::crowd::{self, Crowd, Place};
use crate::event::EventSender;
use crate::peer_stats::PeerStats;
use crate::sdp::SubscribeOffer;
use crate::sdp_publish::PublishOffer;
use crate::shard::claims::{Claims, Full, Whereabouts};
use crate::shard::mailbox::Question;
use crate::shard::socket::EventFd;
use crate::shard::tcp::connections::Connections;
use crate::shard::tcp::doorman::{Bell, Doorman};
use crate::shard::{Door, Shard, clock, port};
use crate::stats::{ShardStats, Stats};
use crate::{
    Candidate, CloseReason, Config, Error, IceServer, IceServerConfig, IceSession, LayerChoice, PeerEvent,
    PeerId, announce,
};

/// How long a shard may take to answer a question. It answers between packets: later than this, it has other worries.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The SFU of this node. Cheap to clone; when the last clone is dropped, it stops.
#[derive(Clone)]
pub struct Sfu {
    node: Arc<Node>,
}

/// A viewer that was let in.
#[derive(Debug)]
pub struct Subscription {
    /// The SDP answer.
    pub answer: String,
    /// What happens to it; `Closed` is the last event.
    pub events: mpsc::Receiver<PeerEvent>,
    /// Keeps it alive.
    pub peer: PeerHandle,
}

/// A publisher that was let in.
#[derive(Debug)]
pub struct Ingestion {
    /// The SDP answer.
    pub answer: String,
    /// What happens to it; `Closed` is the last event.
    pub events: mpsc::Receiver<PeerEvent>,
    /// Keeps it alive.
    pub peer: PeerHandle,
}

impl Sfu {
    /// Binds the port and starts the shards.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Bind`] with advice, [`Error::Identity`] or [`Error::System`].
    pub fn start(config: Config) -> Result<Self, Error> {
        config.validate().map_err(Error::Config)?;
        let count = config.shard_count();
        let port::Port { number: port, sockets, listeners } =
            port::bind(&config.bind, config.port, config.tcp, count, config.socket_buffer_bytes)?;
        let addresses = announce::candidates(&config.announce, &config.bind, port);
        let candidates = Candidate::of(&addresses, config.tcp);
        let identity = Identity::generate(&config.srtp_profiles)?;
        let capacity = Arc::new(Capacity::new(&config));
        let doors = sockets
            .iter()
            .map(|_| EventFd::new().map(Door::new))
            .collect::<Result<Arc<[Door]>, _>>()
            .map_err(|source| Error::System { attempt: "make an eventfd", source })?;
        let registry = Arc::new(Registry {
            claims: Arc::new(Claims::new(config.peers_max)),
            doors,
            stopping: AtomicBool::new(false),
            unanswered: AtomicU64::new(0),
            candidates: candidates.clone().into(),
        });
        let (doorman, bell) =
            Doorman::new(listeners, Arc::clone(&registry.claims), Arc::clone(&registry.doors))?;
        let node = Node {
            port,
            local: Local {
                candidates,
                start_bitrate_bps: config.start_bitrate_bps,
                bitrate_max_bps: config.publish_bitrate_max_bps,
            },
            identity,
            playout_delay_max: config.playout_delay_max_ms.map(Duration::from_millis),
            ice_servers: config.ice_servers,
            audience: Arc::default(),
            capacity: Arc::clone(&capacity),
            publish_layers_max: config.publish_layers_max,
            crowd: Crowd::new(config.peers_per_address_max),
            next_peer: AtomicU64::new(1),
            registry,
            bell,
            threads: Mutex::default(),
        };
        // On an error, `node` stops those that run already.
        if config.tcp {
            node.start("sfu-tcp".to_owned(), move || doorman.run())?;
        }
        for (index, sockets) in sockets.into_iter().enumerate() {
            let connections = Connections::new()
                .map_err(|source| Error::System { attempt: "watch TCP connections", source })?;
            let shard = Shard {
                index,
                sockets,
                connections,
                doors: Arc::clone(&node.registry.doors),
                claims: Arc::clone(&node.registry.claims),
                capacity: Arc::clone(&capacity),
                overload_busy_percent: config.overload_busy_percent,
            };
            node.start(format!("sfu-{index}"), move || shard.run())?;
        }
        info!(port, tcp = config.tcp, shards = count, announced = ?addresses, "WebRTC listens");
        Ok(Self { node: Arc::new(node) })
    }

    /// The one port, of UDP and TCP.
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// Answers the offer of a viewer of `stream`. Whoever calls this let it in.
    ///
    /// # Errors
    /// [`Error::Capacity`] or [`Error::Stopping`].
    pub async fn subscribe(&self, stream: Arc<Stream>, offer: SubscribeOffer) -> Result<Subscription, Error> {
        self.node.registry.refuse_if_stopping()?;
        let place = self.node.place(offer.remote())?;
        let channel = stream.channel().clone();
        let seat = self.seat(&stream)?;
        let candidates = &self.node.local.candidates;
        let offer = offer.with_playout_delay_max(self.node.playout_delay_max);
        let (spec, answer) = Spec::negotiate(
            self.next_id(),
            Arc::clone(&stream),
            &offer,
            &self.node.identity,
            candidates,
            &entropy(),
        );
        let (mut peer, events) = self.admit(Negotiated::Viewer(spec), Some(seat), place)?;
        peer.stream = Some(stream);
        debug!(%channel, peer = %peer.id, "a viewer negotiated");
        Ok(Subscription { answer, events, peer })
    }

    /// Whether the offer of a publisher is one that this node takes: asked before somebody else is replaced by it.
    ///
    /// # Errors
    /// [`Error::Layers`] or [`Error::Stopping`].
    pub fn check_offer(&self, offer: &PublishOffer) -> Result<(), Error> {
        self.node.registry.refuse_if_stopping()?;
        let (offered, max) = (offer.layers(), self.node.publish_layers_max);
        if offered > max { Err(Error::Layers { offered, max }) } else { Ok(()) }
    }

    /// Answers the offer of a publisher, who writes `stream` from then on. Whoever calls this let it in.
    ///
    /// # Errors
    /// [`Error::Capacity`], [`Error::Layers`], [`Error::Stopping`], or what the negotiation found; the publication ends then.
    pub async fn publish(&self, stream: StreamWriter, offer: PublishOffer) -> Result<Ingestion, Error> {
        self.check_offer(&offer)?;
        let place = self.node.place(offer.remote())?;
        let channel = stream.stream().channel().clone();
        let id = self.next_id();
        let local = self.node.local.clone();
        // It makes keys: milliseconds that neither a shard nor a runtime's worker may lose.
        let negotiation = move || Peer::negotiate(clock(), id, stream, &offer, &local);
        let (peer, answer) = tokio::task::spawn_blocking(negotiation)
            .await
            .map_err(|_panicked| Error::Connection("the negotiation panicked".to_owned()))??;
        let (peer, events) = self.admit(Negotiated::Publisher(peer), None, place)?;
        debug!(%channel, peer = %peer.id, "a publisher negotiated");
        Ok(Ingestion { answer, events, peer })
    }

    /// The STUN and TURN servers that a client may use now; made credentials carry the name of its Peer.
    #[expect(clippy::disallowed_methods, reason = "credentials expire by the wall clock of the TURN server")]
    pub fn ice_servers(&self, peer: Option<PeerId>) -> Vec<IceServer> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = peer.map_or_else(|| "guest".to_owned(), |peer| peer.to_string());
        self.node.ice_servers.iter().map(|server| server.issue(unix, &name)).collect()
    }

    /// How many viewers a Stream has here.
    pub fn viewers(&self, stream: StreamId) -> u64 {
        self.node.audience.viewers(stream)
    }

    /// How the Peers of a Stream are doing, oldest first. Those that have negotiated and not come yet are not among
    /// them. The shards answer between packets.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if a shard has too much to do.
    pub async fn peers(&self, stream: StreamId) -> Result<Vec<PeerStats>, Error> {
        let registry = &self.node.registry;
        let asked: Vec<_> =
            (0..registry.doors.len()).map(|shard| registry.ask(shard, Who::Stream(stream))).collect();
        let mut peers = Vec::new();
        for answer in asked {
            peers.append(&mut registry.receive(answer).await?);
        }
        peers.sort_by_key(|peer| peer.id);
        Ok(peers)
    }

    /// Ends a Peer, whoever holds its handle: a moderator says so. False if it has ended or has not come yet.
    pub fn close_peer(&self, peer: PeerId) -> bool {
        let registry = &self.node.registry;
        let Some(shard) = registry.claims.shard_of(peer) else { return false };
        registry.command(shard, Command::Close(peer));
        true
    }

    /// Says what a viewer is to see, whoever holds its handle. False if it has ended or has not come yet. Whether there is
    /// such a Layer is for the caller to know: without one the viewer gets the next lower.
    pub fn set_layer(&self, peer: PeerId, choice: LayerChoice) -> bool {
        let registry = &self.node.registry;
        let Some(shard) = registry.claims.shard_of(peer) else { return false };
        registry.command(shard, Command::SetLayer(peer, choice));
        true
    }

    /// What was counted, summed over the shards; at most 250 ms old.
    pub fn stats(&self) -> Stats {
        let registry = &self.node.registry;
        let mut sum = Stats::default();
        registry.doors.iter().for_each(|door| sum.add(&door.stats()));
        sum.tcp.add(&self.node.bell.stats());
        (sum.peers_waiting, sum.peers_never_connected) = registry.claims.waiting();
        sum.questions_unanswered = registry.unanswered.load(Ordering::Relaxed);
        sum.refused = self.node.capacity.refused();
        sum.egress_bps = self.node.capacity.egress_bps();
        sum
    }

    /// What each shard is like; at most 250 ms old.
    pub fn shards(&self) -> Vec<ShardStats> {
        let state = |door: &Door| ShardStats { overload: door.level(), ..door.stats().shard };
        self.node.registry.doors.iter().map(state).collect()
    }

    /// Closes all peers, tells them so, and ends the threads. Blocks for half a second at most.
    pub fn stop(&self) {
        self.node.stop();
    }

    fn seat(&self, stream: &Stream) -> Result<Seat, Error> {
        let (now, node) = (clock(), &self.node);
        let levels = node.registry.doors.iter().map(Door::level);
        node.capacity.seat(now, &node.audience, stream.id(), bitrate_bps(now, stream), levels)
    }

    fn admit(
        &self,
        negotiated: Negotiated,
        seat: Option<Seat>,
        place: Option<Place>,
    ) -> Result<(PeerHandle, mpsc::Receiver<PeerEvent>), Error> {
        let (sender, events) = EventSender::new(seat, place);
        let id = negotiated.id();
        let ufrag = negotiated.ufrag().to_owned();
        let (now, node) = (clock(), &self.node);
        let inserted = node.registry.claims.insert(now, Box::new(negotiated), sender);
        inserted.map_err(|Full| node.capacity.refuse(now, Limit::Peers))?;
        Ok((PeerHandle { id, ufrag, stream: None, registry: Arc::clone(&node.registry) }, events))
    }

    fn next_id(&self) -> PeerId {
        PeerId(self.node.next_peer.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for Sfu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sfu").field("port", &self.node.port).finish_non_exhaustive()
    }
}

/// What all clones of [`Sfu`] share.
struct Node {
    port: u16,
    local: Local,
    identity: Identity,
    playout_delay_max: Option<Duration>,
    ice_servers: Vec<IceServerConfig>,
    audience: Arc<Audience>,
    capacity: Arc<Capacity>,
    publish_layers_max: usize,
    crowd: Arc<Crowd>,
    next_peer: AtomicU64,
    registry: Arc<Registry>,
    bell: Arc<Bell>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    fn start(&self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|source| Error::System { attempt: "start a thread", source })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// A place for a Peer that came from there.
    fn place(&self, remote: Option<IpAddr>) -> Result<Option<Place>, Error> {
        let Some(remote) = remote else { return Ok(None) };
        self.crowd.enter(remote).map_err(|crowd::Full| self.capacity.refuse(clock(), Limit::Address))
    }

    fn stop(&self) {
        let registry = &self.registry;
        registry.stopping.store(true, Ordering::Release);
        registry.claims.expire(clock(), CloseReason::Stopping);
        self.bell.stop();
        registry.doors.iter().for_each(|door| door.mailbox.command(Command::Stop));
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A shard that panicked has ended the process.
            let _ended = thread.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What handles need to reach their Peers; it outlives the shards.
struct Registry {
    claims: Arc<Claims>,
    doors: Arc<[Door]>,
    stopping: AtomicBool,
    /// Questions.
    unanswered: AtomicU64,
    /// For ICE restarts.
    candidates: Arc<[Candidate]>,
}

impl Registry {
    fn refuse_if_stopping(&self) -> Result<(), Error> {
        if self.stopping.load(Ordering::Acquire) { Err(Error::Stopping) } else { Ok(()) }
    }

    fn command(&self, shard: usize, command: Command) {
        if let Some(door) = self.doors.get(shard) {
            door.mailbox.command(command);
        }
    }

    /// Asks a shard; the answer comes through what is returned, if the shard has room for a question.
    fn ask(&self, shard: usize, who: Who) -> Option<oneshot::Receiver<Vec<PeerStats>>> {
        let (reply, answer) = oneshot::channel();
        self.doors.get(shard)?.mailbox.question(Question { who, reply }).then_some(answer)
    }

    async fn receive(
        &self,
        answer: Option<oneshot::Receiver<Vec<PeerStats>>>,
    ) -> Result<Vec<PeerStats>, Error> {
        if let Some(answer) = answer
            && let Ok(Ok(peers)) = tokio::time::timeout(ANSWER_MAX, answer).await
        {
            return Ok(peers);
        }
        // No room, too late, or the shard has ended.
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Err(Error::NoAnswer)
    }
}

/// Holds a Peer: dropping it closes the Peer.
pub struct PeerHandle {
    id: PeerId,
    ufrag: String,
    /// What a viewer watches.
    stream: Option<Arc<Stream>>,
    registry: Arc<Registry>,
}

impl PeerHandle {
    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our ICE ufrag of the first session: it names the ICE session (the ETag of WHIP and WHEP).
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Stops sending a kind of media to a viewer. Before it is connected, this does nothing.
    pub fn pause(&self, kind: Kind) {
        self.command(Command::Pause(self.id, kind));
    }

    /// Sends it again; video from the next keyframe on.
    pub fn resume(&self, kind: Kind) {
        self.command(Command::Resume(self.id, kind));
    }

    /// Says what a viewer wants to see. The last choice counts; what comes of it is told by [`PeerEvent::Layers`].
    ///
    /// # Errors
    /// [`Error::NoLayer`] if the Stream has no Layer of that name.
    pub fn set_layer(&self, choice: LayerChoice) -> Result<(), Error> {
        if let LayerChoice::Layer(rid) = &choice {
            let tracks = self.stream.as_ref().map(|stream| stream.tracks()).unwrap_or_default();
            let mut videos = tracks.iter().filter(|track| track.kind() == Kind::Video);
            if !videos.any(|track| track.layer(rid).is_some()) {
                return Err(Error::NoLayer { rid: rid.clone() });
            }
        }
        if let Some(choice) = self.registry.claims.choose(self.id, choice) {
            self.command(Command::SetLayer(self.id, choice));
        }
        Ok(())
    }

    /// How the Peer is doing; `None` while it waits for its first STUN check, and after its end.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if its shard has too much to do.
    pub async fn stats(&self) -> Result<Option<PeerStats>, Error> {
        let Some(shard) = self.registry.claims.shard_of(self.id) else { return Ok(None) };
        let answer = self.registry.ask(shard, Who::Peer(self.id));
        Ok(self.registry.receive(answer).await?.pop())
    }

    /// Begins an ICE restart: from now on checks of the new session are answered, and what is sent goes where
    /// its first nomination says, once that way has proven itself. Until then everything goes on as before; DTLS and SRTP
    /// do anyway. `theirs`: what the Peer told, by its offer or fragment.
    ///
    /// # Errors
    /// [`Error::Gone`] if the Peer has ended.
    pub fn restart_ice(&self, theirs: Credentials) -> Result<IceSession, Error> {
        let (ufrag, pwd) = (ice_text::<12>()?, ice_text::<32>()?);
        let halves = Halves { ours: Credentials::new(ufrag.clone(), &pwd), theirs };
        match self.registry.claims.restart_ice(self.id, halves.clone()) {
            Whereabouts::At(shard) => {
                self.registry.command(shard, Command::RestartIce(self.id, Box::new(halves)));
            }
            Whereabouts::Waited => {}
            Whereabouts::Gone => return Err(Error::Gone),
        }
        Ok(IceSession { ufrag, pwd, candidates: Arc::clone(&self.registry.candidates) })
    }

    /// Ends the Peer, as dropping the handle does.
    pub fn close(self) {}

    fn command(&self, command: Command) {
        if let Some(shard) = self.registry.claims.shard_of(self.id) {
            self.registry.command(shard, command);
        }
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        match self.registry.claims.close(self.id) {
            Whereabouts::At(shard) => self.registry.command(shard, Command::Close(self.id)),
            Whereabouts::Waited | Whereabouts::Gone => {}
        }
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a viewer of a Stream is sent per second, if it gets the best of everything.
fn bitrate_bps(now: Instant, stream: &Stream) -> u64 {
    let best = |kind| {
        let track = stream.source(kind)?;
        track.layers().iter().filter_map(|layer| layer.info().rates(now)).map(|(bps, _)| bps).max()
    };
    [Kind::Audio, Kind::Video].into_iter().filter_map(best).sum()
}

fn entropy() -> Entropy {
    let mut bytes = [0; size_of::<Entropy>()];
    fill_random(&mut bytes);
    bytes
}

fn fill_random(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the operating system has randomness");
}
