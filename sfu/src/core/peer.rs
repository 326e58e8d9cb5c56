//! A WebRTC publisher: this and its two parts are the only files that name the whole `rtc` peer connection.
//!
//! `rtc` does DTLS, SRTP, receiver reports and transport-wide feedback. ICE is ours, as for viewers. Which packet
//! is of which Track and Layer, what is missing and when a keyframe is due is decided here and in
//! [`super::up_track`], because encoders declare less than a library needs to know it.

mod connection;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod hello;
mod sources;
mod stats;
mod tap;
#[cfg(test)]
mod tests;

pub(crate) use self::connection::{REMOTE_PWD, REMOTE_UFRAG};

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use media::rtp::PublisherClock;
use media::{Kind, NtpTime, Rid, StreamState, StreamWriter, Timescale, TrackSpec};
use rtc::rtcp::sender_report::SenderReport;

use self::connection::{Connection, Opened, State};
use self::hello::Hello;
use self::sources::{Route, Sources};
use self::tap::Inbound;
use crate::core::Transmit;
use crate::core::credentials::{Credentials, Halves};
use crate::core::demux::{Class, Tuple, classify};
use crate::core::ice_agent::{CONSENT, Checked, IceAgent};
use crate::core::ice_lite::Check;
use crate::core::up_track::{Arrived, Feedback, UpCounters, UpSpec, UpTrack};
use crate::sdp_publish::{Accepted, AnswerParameters, PublishOffer, write_answer};
use crate::{Candidate, CloseReason, Error, PeerEvent, PeerId};

/// From the first check to the end of DTLS. Chromium needs two round trips, a lossy path some
/// retransmissions of a second.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// How often demand, take-over and silence are looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(50);

/// What a publisher's Peer must know of this node.
#[derive(Clone, Debug)]
pub struct Local {
    /// What to announce.
    pub candidates: Vec<Candidate>,
    /// Where a browser's bandwidth estimate starts; Chromium alone would take 300 kbit/s.
    pub start_bitrate_bps: u32,
    /// The most that a publisher may send, if there is a limit (`b=AS`, `b=TIAS`).
    pub bitrate_max_bps: Option<u32>,
}

/// A publisher's peer connection, its Tracks and its demand.
pub struct Peer {
    id: PeerId,
    ufrag: String,
    ice: IceAgent,
    offer: PublishOffer,
    connection: Connection,
    phase: Phase,
    /// `None` once closed: dropping it ended the publication.
    stream: Option<StreamWriter>,
    tracks: Vec<UpTrack>,
    ended_with: UpCounters,
    clock: PublisherClock,
    sources: Sources,
    connected: Option<Instant>,
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
    /// Since a shard has it. `reached`: an authentic check came.
    Connecting {
        since: Instant,
        reached: bool,
    },
    Connected,
    Closed,
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
        let Opened { connection, fingerprint } =
            Connection::open(now, offer, u32::from_be_bytes([a, b, c, d]))?;
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
        let halves =
            Halves { ours: Credentials::new(ufrag.clone(), &pwd), theirs: offer.credentials.clone() };
        let peer = Self {
            id,
            ice: IceAgent::new(now, halves, random_bytes()?),
            ufrag,
            sources: Sources::new(offer),
            offer: offer.clone(),
            connection,
            phase: Phase::Waiting,
            stream: Some(stream),
            tracks: Vec::new(),
            ended_with: UpCounters::default(),
            clock,
            connected: None,
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

    /// Our ICE ufrag when it was negotiated.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    pub(super) fn replace_credentials(&mut self, halves: Halves) {
        self.ufrag = halves.ours.ufrag().to_owned();
        self.ice.replace(halves);
    }

    /// A TCP connection ended.
    pub(super) fn hang_up(&mut self, tuple: Tuple) {
        self.ice.hang_up(tuple);
    }

    /// Its ways.
    pub(super) fn ice(&self) -> &IceAgent {
        &self.ice
    }

    pub(super) fn ice_mut(&mut self) -> &mut IceAgent {
        &mut self.ice
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

    /// A shard has it from now on.
    pub(super) fn begin_connecting(&mut self, now: Instant) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Connecting { since: now, reached: false };
            self.schedule(now);
        }
    }

    /// Whether the library has anything to do yet.
    fn is_reached(&self) -> bool {
        matches!(self.phase, Phase::Connecting { reached: true, .. } | Phase::Connected)
    }

    /// A check; what it answers goes to `out`, and is the caller's to send. `None`: it is not authentic.
    pub(super) fn handle_check(
        &mut self,
        now: Instant,
        tuple: Tuple,
        check: &Check<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Checked> {
        if self.phase == Phase::Closed {
            return None;
        }
        let checked = self.ice.handle_check(now, tuple, check, out)?;
        self.begin_connecting(now);
        if let Phase::Connecting { reached, .. } = &mut self.phase
            && !std::mem::replace(reached, true)
        {
            self.connection.establish(now);
        }
        self.follow(now);
        Some(checked)
    }

    /// DTLS or SRTP from a 4-tuple that has proven itself by a check. False: it was SRTP that is not authentic, was
    /// here before, is of one source too many, or came before there were keys.
    pub(super) fn handle_datagram(&mut self, now: Instant, tuple: Tuple, data: &mut [u8]) -> bool {
        if !self.is_reached() {
            return true;
        }
        let mut taken = true;
        match classify(data) {
            Class::Dtls => {
                self.hello.answered();
                self.connection.handle_datagram(now, data);
            }
            Class::Rtp | Class::Rtcp => {
                taken = self.phase == Phase::Connected && self.sources.admit(data) && {
                    self.connection.handle_datagram(now, data);
                    self.take_inbound(now, tuple, data.len())
                };
            }
            // The core has looked at it.
            Class::Stun | Class::Unknown => return true,
        }
        self.follow(now);
        taken
    }

    fn follow(&mut self, now: Instant) {
        self.follow_state(now);
        self.poll_tracks(now);
        self.schedule(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.is_reached() {
            self.connection.handle_timeout(now);
        }
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
        let data = self.connection.poll_transmit()?;
        let dest = self.ice.dest()?;
        let transmit = Transmit { to: dest.to, from: dest.from, transport: dest.transport, data };
        if classify(&transmit.data) == Class::Dtls {
            self.hello.sent(&transmit);
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
        let mut farewell = VecDeque::new();
        while let Some(transmit) = self.poll_transmit() {
            farewell.push_back(transmit);
        }
        self.connection.handle_timeout(now);
        self.connection.close();
        while let Some(transmit) = self.poll_transmit() {
            farewell.push_back(transmit);
        }
        self.connection.discard();
        self.outbox = farewell;
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
            (State::Connected, Phase::Waiting | Phase::Connecting { .. }) => self.begin(now),
            (State::Failed, _) => self.close(now, CloseReason::Dtls),
            (State::Closed, _) => self.close(now, CloseReason::Remote),
            (State::Panicked, _) => self.close(now, CloseReason::Internal),
            _ => {}
        }
    }

    /// DTLS is done: the Tracks begin.
    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Connected;
        self.ice.secure();
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
        if let Some(dest) = self.ice.dest() {
            let (remote, transport) = (dest.to, dest.transport);
            self.events.push_back(PeerEvent::Connected { srtp_profile, remote, transport });
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
                Phase::Connecting { since, reached } if now >= since + HANDSHAKE_MAX => match reached {
                    true => CloseReason::Dtls,
                    false => CloseReason::NeverConnected,
                },
                Phase::Connected if now >= self.ice.heard() + CONSENT => CloseReason::ConsentExpired,
                _ => return,
            }
        };
        self.close(now, reason);
    }

    /// Takes what the library has opened. False: nothing.
    fn take_inbound(&mut self, now: Instant, tuple: Tuple, bytes: usize) -> bool {
        let mut any = false;
        while let Some((arrival, inbound)) = self.connection.poll_inbound() {
            // Only what SRTP has authenticated gets here.
            self.ice.note_media(now, tuple, bytes);
            self.take(arrival, inbound);
            any = true;
        }
        any
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
        let library = if self.is_reached() { self.connection.poll_timeout() } else { None };
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
pub(crate) fn ice_text<const N: usize>() -> Result<String, Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Ok(random_bytes::<N>()?.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}
