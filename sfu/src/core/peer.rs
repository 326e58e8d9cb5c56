//! A WebRTC publisher: this and its two parts are the only files that name the whole `rtc` peer connection.
//!
//! `rtc` does ICE, DTLS, SRTP, receiver reports and transport-wide feedback. Which packet is of which Track
//! and Layer, what is missing and when a keyframe is due is decided here and in [`super::up_track`], because
//! encoders declare less than a library needs to know it.

mod connection;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod hello;
mod sources;
mod stats;
mod tap;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::rtp::PublisherClock;
use media::{Kind, NtpTime, Rid, StreamState, StreamWriter, Timescale, TrackSpec};
use rtc::rtcp::sender_report::SenderReport;

use self::connection::{Connection, Opened, State};
use self::hello::Hello;
use self::sources::{Route, Sources};
use self::tap::Inbound;
use crate::core::Transmit;
use crate::core::up_track::{Arrived, Feedback, UpCounters, UpSpec, UpTrack};
use crate::sdp_publish::{Accepted, AnswerParameters, PublishOffer, write_answer};
use crate::{CloseReason, Error, PeerEvent, PeerId};

/// From the first datagram to the end of DTLS. Chromium needs two round trips, a lossy path some
/// retransmissions of a second.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// Without a datagram for that long the publisher is gone (RFC 7675 section 5.1 allows 30 s at most).
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// How often demand, take-over and silence are looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(50);
/// DTLS that came before ICE chose a pair. A ClientHello is one or two datagrams, retransmitted after 50 ms
/// to 1 s; beyond it the newest is dropped and comes again.
const HELD_MAX: usize = 8;

/// What a publisher's Peer must know of this node.
#[derive(Clone, Debug)]
pub struct Local {
    /// The addresses to announce, all on the one UDP port.
    pub candidates: Vec<SocketAddr>,
    /// Where a browser's bandwidth estimate starts; Chromium alone would take 300 kbit/s.
    pub start_bitrate_bps: u32,
    /// The most that a publisher may send, if there is a limit (`b=AS`, `b=TIAS`).
    pub bitrate_max_bps: Option<u32>,
}

/// A publisher's peer connection, its Tracks and its demand.
pub struct Peer {
    id: PeerId,
    ufrag: String,
    pwd: String,
    offer: PublishOffer,
    connection: Connection,
    phase: Phase,
    /// `None` once closed: dropping it ended the publication.
    stream: Option<StreamWriter>,
    tracks: Vec<UpTrack>,
    ended_with: UpCounters,
    clock: PublisherClock,
    sources: Sources,
    /// Where its media last came from, proven by SRTP: there goes what we send.
    path: Option<(SocketAddr, IpAddr)>,
    last_datagram: Instant,
    connected: Option<Instant>,
    held: VecDeque<(SocketAddr, IpAddr, Vec<u8>)>,
    /// Its last check, until ours succeeds.
    check: Option<(SocketAddr, IpAddr, Vec<u8>)>,
    due: Option<Instant>,
    events: VecDeque<PeerEvent>,
    hello: Hello,
    /// To be sent before anything else: a repeated ClientHello, and what a closed connection left.
    outbox: VecDeque<Transmit>,
    feedback: Vec<Feedback>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Answered; nothing came yet. How long that may last is the claims table's business.
    Waiting,
    /// Since the first datagram.
    Connecting(Instant),
    Connected,
    Closed,
}

/// RFC 7983 section 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DatagramKind {
    Stun,
    Dtls,
    Srtp,
    Unknown,
}

impl DatagramKind {
    fn of(data: &[u8]) -> Self {
        match data.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63) => Self::Dtls,
            Some(128..=191) => Self::Srtp,
            _ => Self::Unknown,
        }
    }
}

impl Peer {
    /// Builds the peer connection and its answer. Makes keys: call it off the shard.
    ///
    /// # Errors
    /// [`Error`] if the library refuses what [`PublishOffer::parse`] let through.
    pub fn negotiate(
        now: Instant,
        id: PeerId,
        stream: StreamWriter,
        offer: &PublishOffer,
        local: &Local,
    ) -> Result<(Self, String), Error> {
        let (ufrag, pwd) = (ice_text::<12>()?, ice_text::<32>()?);
        let [a, b, c, d, session @ ..] = random_bytes::<12>()?;
        let opened =
            Connection::open(now, offer, &local.candidates, &ufrag, &pwd, u32::from_be_bytes([a, b, c, d]))?;
        let Opened { connection, fingerprint } = opened;
        let answer = write_answer(
            offer,
            &AnswerParameters {
                // RFC 9429 section 5.2.1: the highest bit is zero.
                session_id: u64::from_be_bytes(session) >> 1,
                ufrag: &ufrag,
                pwd: &pwd,
                fingerprint: &fingerprint,
                candidates: &local.candidates,
                start_bitrate_bps: local.start_bitrate_bps,
                bitrate_max_bps: local.bitrate_max_bps,
            },
        );
        let clock = PublisherClock::new(stream.stream().clock());
        let peer = Self {
            id,
            ufrag,
            pwd,
            sources: Sources::new(offer),
            offer: offer.clone(),
            connection,
            phase: Phase::Waiting,
            stream: Some(stream),
            tracks: Vec::new(),
            ended_with: UpCounters::default(),
            clock,
            path: None,
            last_datagram: now,
            connected: None,
            held: VecDeque::new(),
            check: None,
            due: None,
            events: VecDeque::new(),
            hello: Hello::default(),
            outbox: VecDeque::new(),
            feedback: Vec::new(),
        };
        Ok((peer, answer))
    }

    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our ICE ufrag: the key of the claims table.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Our ICE password: the core checks it before a 4-tuple is believed.
    pub fn pwd(&self) -> &str {
        &self.pwd
    }

    /// What happened to its packets, per kind and Layer.
    pub fn counters(&self) -> impl Iterator<Item = (Kind, &Rid, UpCounters)> {
        self.tracks.iter().flat_map(|track| {
            let kind = track.kind();
            track.counters().map(move |(rid, counters)| (kind, rid, counters))
        })
    }

    /// The sum of [`Self::counters`]; after the end, what it was.
    pub(super) fn totals(&self) -> UpCounters {
        let mut totals = self.ended_with;
        self.counters().for_each(|(_, _, counters)| totals.add(&counters));
        totals
    }

    /// A datagram from a 4-tuple that has proven itself by STUN, or the STUN check itself.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, to: IpAddr, data: &mut [u8]) {
        match self.phase {
            Phase::Closed => return,
            Phase::Waiting => self.phase = Phase::Connecting(now),
            Phase::Connecting(_) | Phase::Connected => {}
        }
        self.last_datagram = now;
        match DatagramKind::of(data) {
            DatagramKind::Stun => {
                self.connection.handle_datagram(now, from, to, data);
                self.answer_check(now, from, to, data);
                self.release_held(now);
            }
            DatagramKind::Dtls => self.handle_dtls(now, from, to, data),
            DatagramKind::Srtp => {
                if self.phase == Phase::Connected && self.sources.admit(data) {
                    self.connection.handle_datagram(now, from, to, data);
                    self.take_inbound((from, to));
                }
            }
            DatagramKind::Unknown => return,
        }
        self.follow_state(now);
        self.poll_tracks(now);
        self.schedule(now);
    }

    /// The library answers a nominating check (RFC 8445 section 7.3.1.5) with a check of its own, and chooses
    /// the pair only when the nomination is repeated. So once its check succeeded, it hears the nomination
    /// again from us; a repetition by the publisher would take another 50 to 500 ms.
    fn answer_check(&mut self, now: Instant, from: SocketAddr, to: IpAddr, data: &[u8]) {
        if self.phase == Phase::Connected {
            return;
        }
        match data {
            // RFC 8489 section 5: binding request, binding success.
            [0, 1, ..] => self.check = Some((from, to, data.to_vec())),
            [1, 1, ..] => {
                if let Some((from, to, check)) = self.check.take() {
                    self.connection.handle_datagram(now, from, to, &check);
                }
            }
            _ => {}
        }
    }

    fn handle_dtls(&mut self, now: Instant, from: SocketAddr, to: IpAddr, data: &[u8]) {
        if self.phase != Phase::Connected && !self.connection.has_path() {
            if self.held.len() < HELD_MAX {
                self.held.push_back((from, to, data.to_vec()));
            }
            return;
        }
        self.hello.answered();
        self.connection.handle_datagram(now, from, to, data);
    }

    fn release_held(&mut self, now: Instant) {
        if self.held.is_empty() || !self.connection.has_path() {
            return;
        }
        for (from, to, data) in std::mem::take(&mut self.held) {
            self.hello.answered();
            self.connection.handle_datagram(now, from, to, &data);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        self.connection.handle_timeout(now);
        self.outbox.extend(self.hello.poll(now));
        self.follow_state(now);
        self.check_end(now);
        self.poll_tracks(now);
        self.schedule(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(transmit) = self.outbox.pop_front() {
            return Some(transmit);
        }
        let mut transmit = self.connection.poll_transmit()?;
        if DatagramKind::of(&transmit.data) == DatagramKind::Dtls {
            self.hello.sent(&transmit);
        }
        // Checks go where they are meant to go; the rest follows the media (the library stays on the first
        // pair for ever, but a laptop changes networks).
        if let (Some((to, from)), false) = (self.path, DatagramKind::of(&transmit.data) == DatagramKind::Stun)
        {
            (transmit.to, transmit.from) = (to, from);
        }
        Some(transmit)
    }

    /// What happened to it; `Closed` is the last event.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Ends it, and the publication: `Closed(reason)` and a DTLS close_notify follow by the polls.
    pub fn close(&mut self, now: Instant, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        let mut farewell = Vec::new();
        while let Some(transmit) = self.poll_transmit() {
            farewell.push(transmit);
        }
        self.connection.handle_timeout(now);
        self.connection.close(&mut farewell);
        self.outbox = farewell.into();
        self.held.clear();
        self.due = None;
        self.ended_with = self.totals();
        self.tracks.clear();
        // Dropped after its Tracks: the grace window begins.
        self.stream = None;
        self.events.push_back(PeerEvent::Closed(reason));
    }

    fn follow_state(&mut self, now: Instant) {
        if let Phase::Closed = self.phase {
            return;
        }
        match (self.connection.state(), self.phase) {
            (State::Connected, Phase::Waiting | Phase::Connecting(_)) => self.begin(now),
            (State::Failed, _) => self.close(now, CloseReason::Dtls),
            (State::Closed, _) => self.close(now, CloseReason::Remote),
            (State::Panicked, _) => self.close(now, CloseReason::Internal),
            _ => {}
        }
    }

    /// DTLS is done: the Tracks begin.
    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Connected;
        self.connected = Some(now);
        let Some(stream) = &mut self.stream else { return };
        let clock = stream.stream().clock();
        for accepted in self.offer.accepted() {
            let writer = stream.track(TrackSpec {
                codec: accepted.codec,
                timescale: match accepted.codec.kind() {
                    Kind::Audio => Timescale::OPUS,
                    Kind::Video => Timescale::VIDEO,
                },
                keyframes_on_request: self.offer.keyframes_on_request(accepted),
                derived: false,
            });
            self.tracks.push(UpTrack::new(up_spec(accepted), writer, clock, &accepted.rids));
        }
        let srtp_profile = self.connection.srtp_profile(now);
        if let Some(remote) = self.connection.remote() {
            self.events.push_back(PeerEvent::Connected { srtp_profile, remote });
        }
    }

    fn check_end(&mut self, now: Instant) {
        let Some(stream) = &self.stream else { return };
        let reason = if stream.replaced() {
            CloseReason::Replaced
        } else if stream.stream().state() == StreamState::Ended {
            CloseReason::StreamEnded
        } else {
            match self.phase {
                Phase::Connecting(since) if now >= since + HANDSHAKE_MAX => CloseReason::Dtls,
                Phase::Connected if now >= self.last_datagram + SILENCE_MAX => CloseReason::ConsentExpired,
                _ => return,
            }
        };
        self.close(now, reason);
    }

    fn take_inbound(&mut self, path: (SocketAddr, IpAddr)) {
        while let Some((arrival, inbound)) = self.connection.poll_inbound() {
            // Only what SRTP has authenticated gets here.
            self.path = Some(path);
            self.take(arrival, inbound);
        }
    }

    fn take(&mut self, arrival: Instant, inbound: Inbound) {
        match inbound {
            Inbound::Rtp(packet) => self.take_packet(arrival, packet),
            Inbound::Rtcp(packets) => {
                let reports = packets.iter().filter_map(|packet| packet.as_any().downcast_ref());
                for SenderReport { ssrc, ntp_time, rtp_time, .. } in reports {
                    for track in &mut self.tracks {
                        track.handle_report(*ssrc, NtpTime::from_bits(*ntp_time), *rtp_time);
                    }
                }
            }
        }
    }

    fn take_packet(&mut self, arrival: Instant, packet: rtc::rtp::Packet) {
        let header = &packet.header;
        let Some(Route { track, layer, repairs }) =
            self.sources.route(header.ssrc, header.payload_type, |id| header.get_extension(id))
        else {
            return;
        };
        let mut arrived = Arrived {
            ssrc: header.ssrc,
            seq: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.payload,
            arrival,
            retransmission: false,
        };
        if let Some(repaired) = repairs {
            // RFC 4588 section 4: the original number, then the original payload. Without one it is padding.
            let Some((number, _)) = arrived.payload.split_first_chunk() else { return };
            arrived.seq = u16::from_be_bytes(*number);
            arrived.payload = arrived.payload.slice(2..);
            arrived.ssrc = repaired;
            arrived.retransmission = true;
        }
        if let Some(track) = self.tracks.get_mut(track) {
            track.handle_packet(&mut self.clock, layer, arrived);
        }
    }

    fn poll_tracks(&mut self, now: Instant) {
        for track in &mut self.tracks {
            track.poll_feedback(now, &mut self.feedback);
        }
        for feedback in self.feedback.drain(..) {
            self.connection.send_feedback(now, &feedback);
        }
    }

    fn schedule(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        let library = self.connection.poll_timeout();
        let tracks = self.tracks.iter().filter_map(|track| track.poll_timeout(now)).min();
        self.due = [library, tracks, Some(now + TICK)].into_iter().flatten().min();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("phase", &self.phase)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

fn up_spec(accepted: &Accepted) -> UpSpec {
    UpSpec {
        codec: accepted.codec,
        nack: accepted.has_feedback("nack"),
        pli: accepted.has_feedback("nack pli"),
        fir: accepted.has_feedback("ccm fir"),
    }
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Connection("no random numbers".to_owned()))?;
    Ok(bytes)
}

/// `N` random characters of RFC 8839 section 5.4: six bits each, so 12 are a ufrag and 32 a password.
fn ice_text<const N: usize>() -> Result<String, Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Ok(random_bytes::<N>()?.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}
