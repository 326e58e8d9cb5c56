//! A shard: one thread, one event loop, its UDP sockets, many Peers. The thin shell around [`Core`].
//!
//! ```text
//!   turn of the loop:  wait ─► time ─► mailbox ─► sockets ─► bus ─► core ─► actions ─► one slice ─► kernel
//!                        └──────────── at once, if the core has another slice; else until something happens
//! ```
//! One slice per turn: STUN, RTCP and audio never wait for a keyframe to a thousand viewers.

pub mod claims;
mod load;
pub(crate) mod mailbox;
mod moderation;
mod outbox;
pub(crate) mod port;
pub(crate) mod socket;
pub(crate) mod tcp;
mod wait;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use media::{RtpPacket, TrackReader};
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use crate::capacity::{Capacity, EgressMeter};
use crate::core::overload::{Overload, OverloadLevel};
use crate::core::snapshot::Inquiry;
use crate::core::{Action, Claim, Command, Core, FeedId, Routed, Transmit, Tuple};
use crate::egress::batch::{Batch, Dest};
use crate::event::EventSender;
use crate::peer_stats::PeerStats;
use crate::stats::Stats;
use crate::{CloseReason, PeerEvent, PeerId};
use claims::Claims;
use load::LoadMeter;
use mailbox::{Forwarded, Mailbox};
use moderation::Moderation;
use outbox::Outbox;
use port::Sockets;
use socket::{EventFd, Inbox, RECEIVE_MAX, Ready};
use tcp::Arrival;
use tcp::connections::{Change, Connections};

/// How old the numbers of [`crate::Sfu::stats`] may be.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How often one shard looks for Peers that waited too long.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How long a stopping shard goes on, so that Peers hear that it stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// The clock of the shell.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock; everything below is told")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// What other threads share with a shard.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) mailbox: Mailbox,
    stats: Mutex<Stats>,
    /// Its [`OverloadLevel`], as index of [`OverloadLevel::ALL`].
    level: AtomicUsize,
}

impl Door {
    pub(crate) fn new(event: EventFd) -> Self {
        Self {
            mailbox: Mailbox::new(Arc::new(event)),
            stats: Mutex::new(Stats::default()),
            level: AtomicUsize::new(0),
        }
    }

    /// What the shard leaves out now.
    pub(crate) fn level(&self) -> OverloadLevel {
        OverloadLevel::ALL[self.level.load(Ordering::Relaxed)]
    }

    /// What the shard counted, at most 250 ms ago.
    pub(crate) fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard before its thread runs.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) sockets: Sockets,
    pub(crate) connections: Connections,
    /// The doors of all shards; `doors[index]` is its own.
    pub(crate) doors: Arc<[Door]>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) capacity: Arc<Capacity>,
    /// As in the configuration.
    pub(crate) overload_busy_percent: u8,
}

impl Shard {
    /// Runs until it is told to stop. To be called on the shard's own thread.
    pub(crate) fn run(self) {
        // A panic in our own core may have left any of its Peers half done: a dead process is restarted and its
        // players reconnect within a second, a half-dead one is noticed by nobody.
        let _guard = AbortOnPanic { shard: self.index };
        Loop::new(self).run();
    }
}

struct AbortOnPanic {
    shard: usize,
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(shard = self.shard, "a shard panicked: this is a defect; the process ends");
            std::process::abort();
        }
    }
}

/// A reader of the bus and whether it has something.
struct Feed {
    reader: TrackReader<RtpPacket>,
    bell: Arc<Bell>,
    waker: Waker,
    ended: bool,
}

/// Rings when a feed has packets.
struct Bell {
    rung: AtomicBool,
    event: Arc<EventFd>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.event.signal();
    }
}

struct Loop {
    index: usize,
    sockets: Sockets,
    doors: Arc<[Door]>,
    claims: Arc<Claims>,
    core: Core,
    connections: Connections,
    inbox: Inbox,
    moderation: Moderation,
    batch: Batch,
    outbox: Outbox,
    feeds: HashMap<FeedId, Feed>,
    /// The Peers of this shard.
    known: HashMap<PeerId, EventSender>,
    stats: Stats,
    capacity: Arc<Capacity>,
    egress: EgressMeter,
    load: LoadMeter,
    overload: Overload,
    /// Reused every turn.
    packets: Vec<RtpPacket>,
    commands: VecDeque<Command>,
    forwarded: VecDeque<Forwarded>,
    arrivals: VecDeque<Arrival>,
    /// TCP connections that end when everything is sent.
    hang_ups: Vec<Tuple>,
    /// A control datagram that found no room in the batch.
    unsent: Option<Transmit>,
    /// Questions wait in the mailbox; one is being answered.
    asked: bool,
    inquiry: Option<(Inquiry, oneshot::Sender<Vec<PeerStats>>)>,
    lagged_of_closed_feeds: u64,
    publish_at: Instant,
    expire_at: Instant,
    stop_by: Option<Instant>,
}

impl Loop {
    fn new(shard: Shard) -> Self {
        let now = clock();
        Self {
            index: shard.index,
            sockets: shard.sockets,
            doors: shard.doors,
            claims: shard.claims,
            core: Core::new(),
            connections: shard.connections,
            inbox: Inbox::new(),
            moderation: Moderation::new(now),
            batch: Batch::new(),
            outbox: Outbox::new(),
            feeds: HashMap::new(),
            known: HashMap::new(),
            stats: Stats::default(),
            capacity: shard.capacity,
            egress: EgressMeter::new(now),
            load: LoadMeter::new(now),
            overload: Overload::new(shard.overload_busy_percent),
            packets: Vec::new(),
            commands: VecDeque::new(),
            forwarded: VecDeque::new(),
            arrivals: VecDeque::new(),
            hang_ups: Vec::new(),
            unsent: None,
            asked: false,
            inquiry: None,
            lagged_of_closed_feeds: 0,
            publish_at: now,
            expire_at: now + EXPIRE_EVERY,
            stop_by: None,
        }
    }

    fn run(mut self) {
        let mut more = true;
        loop {
            let ready = self.wait(more);
            let now = clock();
            self.load.wake(now);
            self.stats.loop_turns += 1;
            self.core.handle_timeout(now);
            self.take_mail(now);
            more = self.receive(now, ready);
            more |= self.receive_tcp(now, ready[2].readable);
            self.drain_bus(now);
            self.act();
            more |= self.send(now);
            // What was sent may have ended a Peer or opened a feed.
            self.act();
            self.keep_house(now);
            self.watch_load(more);
            more |= self.answer(now);
            if self.stop_by.is_some_and(|by| by <= now || self.all_said()) {
                break;
            }
        }
        self.end();
    }

    /// One batch per readable socket. True: there is more.
    fn receive(&mut self, now: Instant, ready: [Ready; 4]) -> bool {
        let level = self.overload.stage().level();
        let Self { sockets, inbox, core, claims, known, stats, doors, index, .. } = self;
        let (mut more, mut received) = (false, None);
        for (socket, ready) in [&sockets.v4, &sockets.v6].into_iter().zip(ready) {
            let Some(socket) = socket.as_ref().filter(|_| ready.readable) else { continue };
            stats.socket.receive_calls += 1;
            // An error is one of an earlier datagram of ours, or WouldBlock: the next turn looks again.
            let Ok(count) = inbox.receive(socket, &mut stats.socket.oversized) else { continue };
            more |= count == RECEIVE_MAX;
            received = Some(received.unwrap_or(0) + count);
            stats.socket.datagrams_received += count as u64;
            for (from, to, data) in inbox.drain() {
                stats.socket.bytes_received += data.len() as u64;
                let mut claim =
                    |ufrag: &str| take_claim(claims, known, *index, ufrag, shard_instead(doors, level));
                if let Routed::Elsewhere(shard) = core.handle_datagram(now, from, to, data, &mut claim) {
                    let datagram = Forwarded { from, to, data: data.to_vec() };
                    let sent = doors.get(shard).is_some_and(|door| door.mailbox.datagram(datagram));
                    stats.datagrams_forwarded += u64::from(sent);
                    stats.forward_queue_full += u64::from(!sent);
                }
            }
        }
        if let Some(received) = received {
            self.moderation.received(now, received, self.core.has_publishers(), more);
        }
        more
    }

    /// What came by TCP. True: there is more.
    fn receive_tcp(&mut self, now: Instant, ready: bool) -> bool {
        if !ready && !self.connections.has_unread() {
            return false;
        }
        let level = self.overload.stage().level();
        let Self { connections, core, claims, known, stats, doors, index, .. } = self;
        let more = connections.receive(ready, &mut stats.tcp, &mut |tuple, data| {
            let mut claim =
                |ufrag: &str| take_claim(claims, known, *index, ufrag, shard_instead(doors, level));
            core.handle_input(now, tuple, data, &mut claim)
        });
        while let Some((shard, arrival)) = connections.poll_moving() {
            let sent = doors.get(shard).is_some_and(|door| door.mailbox.arrival(arrival));
            stats.tcp.tcp_refused += u64::from(!sent);
        }
        self.follow_connections();
        more
    }

    /// Tells the core what happened to TCP connections.
    fn follow_connections(&mut self) {
        while let Some(change) = self.connections.poll_change() {
            match change {
                Change::Gone(tuple) => self.core.handle_hang_up(tuple),
                Change::Choked(tuple) => self.core.handle_backlog(tuple, true),
                Change::Free(tuple) => self.core.handle_backlog(tuple, false),
            }
        }
    }

    /// Commands of handles, datagrams that came to other shards, and TCP connections.
    fn take_mail(&mut self, now: Instant) {
        let mailbox = &self.doors[self.index].mailbox;
        self.asked = mailbox.take(&mut self.commands, &mut self.forwarded, &mut self.arrivals);
        for arrival in self.arrivals.drain(..) {
            self.connections.adopt(arrival);
        }
        for mut datagram in self.forwarded.drain(..) {
            // Whatever the core makes of it, it is not sent on a second time.
            let mut claim = |ufrag: &str| {
                let claim = take_claim(&self.claims, &mut self.known, self.index, ufrag, None);
                // Only a shard that takes no viewers leaves one that nobody has to another.
                self.stats.viewers_redirected += u64::from(matches!(claim, Claim::Yours(_)));
                claim
            };
            self.core.handle_datagram(now, datagram.from, datagram.to, &mut datagram.data, &mut claim);
        }
        while let Some(command) = self.commands.pop_front() {
            if command == Command::Stop {
                self.stop_by = Some(now + GOODBYE);
            }
            self.core.handle_command(now, command);
        }
    }

    /// Answers a part of a question. True: there is more to answer.
    fn answer(&mut self, now: Instant) -> bool {
        if self.inquiry.is_none() && self.asked {
            let question = self.doors[self.index].mailbox.take_question();
            self.asked = question.is_some();
            self.inquiry = question.map(|question| (Inquiry::new(question.who), question.reply));
        }
        let Some((inquiry, _)) = &mut self.inquiry else { return false };
        if self.core.answer(now, inquiry)
            && let Some((inquiry, reply)) = self.inquiry.take()
        {
            // Whoever asked may have gone.
            let _gone = reply.send(inquiry.into_found());
        }
        self.asked || self.inquiry.is_some()
    }

    /// Packets of the feeds that rang.
    fn drain_bus(&mut self, now: Instant) {
        for (id, feed) in &mut self.feeds {
            if feed.ended || !feed.bell.rung.swap(false, Ordering::AcqRel) {
                continue;
            }
            let drained = feed.reader.poll_drain(&mut Context::from_waker(&feed.waker), &mut self.packets);
            if !self.packets.is_empty() {
                self.core.handle_packets(now, *id, &mut self.packets);
                self.packets.clear();
            }
            if let Poll::Ready(()) = drained {
                feed.ended = true;
                self.core.handle_feed_end(now, *id);
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::OpenFeed { feed, track, rid } => {
                    let event = Arc::clone(&self.doors[self.index].mailbox.event);
                    // Rung from the beginning: what is cached is there to be read, in the next turn.
                    event.signal();
                    let bell = Arc::new(Bell { rung: AtomicBool::new(true), event });
                    let waker = Waker::from(Arc::clone(&bell));
                    let reader = track.read::<RtpPacket>(&rid);
                    self.feeds.insert(feed, Feed { reader, bell, waker, ended: false });
                }
                Action::CloseFeed(feed) => {
                    if let Some(feed) = self.feeds.remove(&feed) {
                        self.lagged_of_closed_feeds += feed.reader.lagged();
                    }
                }
                Action::RequestKeyframe(feed) => {
                    if let Some(feed) = self.feeds.get(&feed) {
                        feed.reader.layer().request_keyframe();
                    }
                }
                Action::Event(peer, event) => self.tell(peer, event),
                Action::HangUp(tuple) => self.hang_ups.push(tuple),
            }
        }
    }

    fn tell(&mut self, peer: PeerId, event: PeerEvent) {
        if let PeerEvent::Closed(reason) = event {
            let Some(events) = self.known.remove(&peer) else { return };
            self.claims.remove(peer);
            events.close(reason);
        } else if let Some(events) = self.known.get(&peer)
            && !events.send(event)
        {
            self.stats.events_dropped += 1;
        }
    }

    /// Control datagrams and one slice of media. True: the core has more.
    fn send(&mut self, now: Instant) -> bool {
        self.outbox.expire(now, &mut self.batch, &mut self.stats.socket);
        if self.outbox.blocked().any() {
            // The tail goes first; the core keeps the rest, and drops what gets too old.
            self.flush();
            if self.outbox.blocked().any() {
                return false;
            }
        }
        let control = self.put_control();
        let media = self.core.next_slice(now, &mut self.batch);
        // Sealing may have made the core speak: sender reports.
        let control = control || self.put_control();
        if !self.batch.is_empty() {
            self.flush();
        }
        self.hang_up();
        (media || control) && !self.outbox.blocked().any()
    }

    /// Puts what the core has to say into the batch. True: not all of it had room.
    fn put_control(&mut self) -> bool {
        while let Some(transmit) = self.unsent.take().or_else(|| self.core.poll_transmit()) {
            let Transmit { to, from, transport, .. } = transmit;
            let dest = Dest { to, from, transport, gso: false };
            match self.batch.push(&dest, transmit.data.len()) {
                Some(room) => {
                    room.copy_from_slice(&transmit.data);
                    self.core.reuse(transmit.data);
                }
                // An empty one has no business here; it would wait for ever.
                None if transmit.data.is_empty() => {}
                None => {
                    self.unsent = Some(transmit);
                    return true;
                }
            }
        }
        false
    }

    fn flush(&mut self) {
        let stats = &mut self.stats;
        if self.batch.take_tcp() {
            self.connections.send(&self.batch, &mut stats.tcp, &mut stats.forward_latency);
        }
        self.outbox.flush(&self.sockets, &mut self.batch, &mut stats.socket, &mut stats.forward_latency);
        self.follow_connections();
    }

    /// Ends the connections of Peers that have ended, once their goodbyes are sent.
    fn hang_up(&mut self) {
        if !self.hang_ups.is_empty() && self.batch.is_empty() && self.unsent.is_none() {
            for tuple in self.hang_ups.drain(..) {
                self.connections.hang_up(tuple);
            }
        }
    }

    /// True: every Peer has ended, and its goodbye is sent.
    fn all_said(&self) -> bool {
        self.known.is_empty() && self.batch.is_empty() && self.unsent.is_none()
    }

    fn keep_house(&mut self, now: Instant) {
        if self.index == 0 && self.expire_at <= now {
            self.claims.expire(now, CloseReason::NeverConnected);
            self.expire_at = now + EXPIRE_EVERY;
        }
        if self.publish_at <= now {
            self.publish_stats();
            self.publish_at = now + PUBLISH_EVERY;
            if self.index == 0 {
                let sent = self.doors.iter().map(|door| door.stats().socket.bytes_sent).sum();
                self.egress.measure(now, sent).into_iter().for_each(|bps| self.capacity.set_egress_bps(bps));
            }
        }
    }

    /// Sheds what is too much, and says so.
    fn watch_load(&mut self, more: bool) {
        let now = clock();
        let blocked = self.outbox.blocked().any();
        let late = if more || blocked { self.core.lateness(now) } else { Duration::ZERO };
        let load = self.load.turn(now, blocked, late, self.capacity.over_budget());
        let before = self.overload.stage();
        let Some(stage) = self.overload.note(now, load, || self.core.lowerable()) else { return };
        self.core.shed(now, stage);
        let (shard, was, level) = (self.index, before.level().as_str(), stage.level());
        self.doors[shard].level.store(level as usize, Ordering::Relaxed);
        self.stats.overload_steps += u64::from(stage > before);
        let busy_percent = self.overload.busy_percent();
        match (level.as_str() == was, stage > before) {
            (false, true) => {
                warn!(shard, busy_percent, was, now = level.as_str(), "overload: the shard sheds more")
            }
            (false, false) => info!(shard, busy_percent, was, now = level.as_str(), "the shard sheds less"),
            (true, _) => debug!(shard, busy_percent, ?stage, level = was, "overload stage"),
        }
    }

    fn publish_stats(&mut self) {
        self.stats.core = *self.core.counters();
        self.stats.shard.busy_percent = self.overload.busy_percent();
        self.stats.shard.viewers = self.stats.core.viewers_connected;
        let lagged = self.feeds.values().map(|feed| feed.reader.lagged()).sum::<u64>();
        self.stats.feeds_lagged = self.lagged_of_closed_feeds + lagged;
        *self.doors[self.index].stats.lock().unwrap_or_else(PoisonError::into_inner) = self.stats;
    }

    fn end(mut self) {
        if !self.known.is_empty() {
            warn!(shard = self.index, peers = self.known.len(), "not all peers could be told that we stop");
        }
        for (peer, events) in self.known.drain() {
            self.claims.remove(peer);
            events.close(CloseReason::Stopping);
        }
        self.publish_stats();
        info!(shard = self.index, "stopped");
    }
}

/// A shard that takes new viewers, if there is one, for one at that level that does not.
fn shard_instead(doors: &[Door], level: OverloadLevel) -> Option<usize> {
    if level < OverloadLevel::NoNewViewers {
        return None;
    }
    let takes = |shard: &usize| doors[*shard].level() == OverloadLevel::Normal;
    (0..doors.len()).filter(takes).min_by_key(|shard| doors[*shard].stats().shard.busy_percent)
}

fn take_claim(
    claims: &Claims,
    known: &mut HashMap<PeerId, EventSender>,
    shard: usize,
    ufrag: &str,
    instead: Option<usize>,
) -> Claim {
    let (claim, mine) = claims.claim(ufrag, shard, instead);
    if let Some((peer, events)) = mine {
        known.insert(peer, events);
    }
    claim
}
