//! One viewer: its way through ICE and DTLS, its m-lines, its liveness.

mod identity;
mod reports;
mod secure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Codec, Kind, NtpTime, Stream};

use super::demux::Tuple;
use super::down_track::{DownTrack, Extensions, Format, Line, Outlet};
use super::ice_agent::{CONSENT, IceAgent};
use super::ice_lite::Credentials;
use super::lip_sync;
use super::overload::LayerCap;
use super::picture::Picture;
use super::rtcp;
use super::{Counters, FeedId, Transmit};
use crate::allowance::Allowance;
use crate::bwe::Congestion;
use crate::egress::batch::{Dest, Transport};
use crate::egress::seal::{Profile, Sealer};
use crate::sdp::{AnswerTerms, Section, Setup, SubscribeOffer};
use crate::{Candidate, CloseReason, FallbackReason, LayerChoice, PeerId};

pub use identity::Identity;
use reports::Schedule;
pub(crate) use secure::Failure;
use secure::{Progress, Secure};

/// How long a viewer may take to its first check and through DTLS.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// The longest that a browser holds a picture back if nothing else is set: what libwebrtc does by itself. At most 500 ms
/// with a minimum of zero would be taken for a wish to show each picture at once.
const PLAYOUT_DELAY_MAX: Duration = Duration::from_secs(10);
/// Until a round trip was measured.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Retransmitted bytes per second: at most so many, at most half of what the line is thought to take, and at least so
/// many. Half a second of it may be owed. A viewer that asks for more is on a line that retransmissions only make worse
/// (`nack_throttled`).
const RESEND_BYTES_PER_SECOND: u64 = 512 * 1024;
const RESEND_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;
/// Numbers in NACKs that are looked at per second, and half as many at once. libwebrtc names a thousand at most, and each
/// again after a round trip. One packet can name 6000, so that who floods must not make us look at them
/// (`nack_throttled`).
const NACKS_PER_SECOND: u64 = 16 * 1024;

/// Where the search for what a line takes begins: any line that plays video at all.
const START_BPS: u64 = 1_000_000;

/// Random bytes that a negotiation uses up: credentials, SSRCs, first numbers. The shell fills it.
pub type Entropy = [u8; 96];

/// A negotiated viewer that waits for its first STUN check.
#[derive(Debug)]
pub struct Spec {
    id: PeerId,
    stream: Arc<Stream>,
    credentials: Credentials,
    identity: Identity,
    offer_setup: Setup,
    fingerprints: Vec<crate::sdp::Fingerprint>,
    cname: String,
    lines: Vec<Line>,
    choice: LayerChoice,
}

impl Spec {
    /// Negotiates: the viewer to be, and the answer to its offer.
    ///
    /// `candidates`: where this node can be reached, in order of preference.
    pub fn negotiate(
        id: PeerId,
        stream: Arc<Stream>,
        offer: &SubscribeOffer,
        identity: &Identity,
        candidates: &[Candidate],
        entropy: &Entropy,
    ) -> (Self, String) {
        let mut random = Random(entropy);
        let (ufrag, pwd, cname) = (random.text(8), random.text(24), random.text(12));
        // Distinct without asking: they differ in the lowest bits.
        let ssrcs = [0, 1, 2].map(|kind| random.u32() & !3 | kind);
        let video_codecs = stream
            .source(Kind::Video)
            .and_then(|track| track.layers().iter().find_map(|layer| layer.info().codecs));
        let answer = offer.answer(&AnswerTerms {
            session_id: random.u64(),
            ufrag: &ufrag,
            pwd: &pwd,
            fingerprint: identity.fingerprint(),
            candidates,
            cname: &cname,
            msid: &stream.id().to_string(),
            audio_ssrc: ssrcs[0],
            video_ssrc: ssrcs[1],
            rtx_ssrc: ssrcs[2],
            video_codecs: video_codecs.as_deref(),
        });
        let mut lines = Vec::new();
        for kind in [Kind::Audio, Kind::Video] {
            if let Some(section) = offer.section(kind) {
                let ssrc = ssrcs[usize::from(kind == Kind::Video)];
                let formats = formats(offer, section, video_codecs.as_deref());
                let extensions = extensions(offer, section, &formats, stream.clock());
                lines.push(line(section, kind, [ssrc, ssrcs[2]], formats, extensions, &mut random));
            }
        }
        let spec = Self {
            id,
            stream,
            credentials: Credentials::new(ufrag, &pwd),
            identity: identity.clone(),
            offer_setup: offer.setup,
            fingerprints: offer.fingerprints.clone(),
            cname,
            lines,
            choice: LayerChoice::default(),
        };
        (spec, answer)
    }

    /// Who it will be.
    pub fn id(&self) -> PeerId {
        self.id
    }

    #[cfg(test)]
    pub(crate) fn choice(&self) -> &LayerChoice {
        &self.choice
    }

    /// What it wants to see, once it is connected.
    pub fn choose(&mut self, choice: LayerChoice) {
        self.choice = choice;
    }

    /// Our ICE ufrag for it: the key of the table of claims.
    pub fn ufrag(&self) -> &str {
        self.credentials.ufrag()
    }

    pub(super) fn replace_credentials(&mut self, credentials: Credentials) {
        self.credentials = credentials;
    }
}

fn formats(offer: &SubscribeOffer, section: &Section, source: Option<&str>) -> Vec<Format> {
    let format = |offered: &crate::sdp::OfferedCodec| Format {
        codec: offered.codec,
        payload_type: offered.payload_type,
        rtx: offered.rtx,
        nack: offered.feedback.iter().any(|feedback| feedback == "nack"),
    };
    // A codec whose profile the viewer does not decode is answered, and as good as not offered.
    offer.accepted(section, source).iter().filter(|(_, decodes)| *decodes).map(|(it, _)| format(it)).collect()
}

fn extensions(
    offer: &SubscribeOffer,
    section: &Section,
    formats: &[Format],
    clock: media::StreamClock,
) -> Extensions {
    let offered = section.extensions;
    // Without RTX the very same bytes are sent again, and nobody remembers when it was the first time.
    let same_bytes = formats.iter().any(|format| format.nack && format.rtx.is_none());
    Extensions {
        playout_delay: offered
            .playout_delay
            .map(|id| (id, offer.playout_delay_max.unwrap_or(PLAYOUT_DELAY_MAX))),
        capture_time: offered.abs_capture_time,
        send_time: offered.abs_send_time.filter(|_| !same_bytes),
        clock,
    }
}

fn line(
    section: &Section,
    kind: Kind,
    [ssrc, rtx_ssrc]: [u32; 2],
    formats: Vec<Format>,
    extensions: Extensions,
    random: &mut Random<'_>,
) -> Line {
    let mid = section.mid.as_ref().filter(|mid| !mid.is_empty());
    Line {
        kind,
        ssrc,
        rtx_ssrc,
        formats,
        transport_cc: section.extensions.transport_cc,
        mid: section.extensions.mid.zip(mid).map(|(id, mid)| (id, mid.as_bytes().to_vec())),
        extensions,
        // RFC 3550 section 5.1 wants them random; not near the wrap-around, where a lost first packet
        // would make the receiver guess the rollover counter wrongly (RFC 3711 section 3.3.1).
        first: random.u16() % (1 << 14) + 1,
        rtx_first: random.u16() % (1 << 14) + 1,
        base: random.u32(),
    }
}

/// Hands out the entropy piece by piece.
struct Random<'a>(&'a [u8]);

impl Random<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("Entropy is as long as what is taken from it");
        self.0 = rest;
        *taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// ice-char (RFC 8839 section 5.4), 6 bits each.
    fn text(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..length).map(|_| char::from(ALPHABET[usize::from(self.bytes::<1>()[0] & 63)])).collect()
    }
}

/// Media may flow.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) profile: Profile,
    pub(crate) remote: SocketAddr,
    pub(crate) transport: Transport,
}

/// How a viewer is connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) transport: Transport,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) srtp_profile: Option<&'static str>,
    /// Since when media may flow.
    pub(crate) connected: Option<Instant>,
    pub(crate) round_trip: Option<Duration>,
}

/// A viewer on this shard.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) id: PeerId,
    pub(crate) stream: Arc<Stream>,
    pub(crate) ice: IceAgent,
    pub(crate) audio: Option<DownTrack>,
    pub(crate) video: Option<DownTrack>,
    pub(crate) audio_feed: Option<FeedId>,
    pub(crate) video_feed: Option<FeedId>,
    /// The list of Tracks that the feeds were chosen from.
    pub(crate) tracks_version: Option<u64>,
    pub(crate) told: Option<FallbackReason>,
    pub(super) picture: Picture,
    /// The most that it may have of its picture while the shard is overloaded.
    pub(crate) cap: LayerCap,
    /// Its picture begins with the next keyframe, not with the cached group of pictures.
    pub(crate) patient: bool,
    /// Keyframes that it asked for, and catch-up bursts that began for it.
    pub(crate) keyframe_requests: u64,
    pub(crate) catch_ups: u64,
    /// The TCP connection over which more waits than its line takes.
    choked: Option<Tuple>,
    secure: Secure,
    sealer: Option<Box<Sealer>>,
    announced: bool,
    transport_seq: u16,
    /// From when it is connected on.
    pub(crate) congestion: Option<Box<Congestion>>,
    cname: String,
    began: Instant,
    /// From then on it gets its sound (`lip_sync`).
    sound_from: Instant,
    connected: Option<Instant>,
    schedule: Schedule,
    round_trip: Option<Duration>,
    resends: Allowance,
    nacks: Allowance,
}

impl Viewer {
    pub(crate) fn new(now: Instant, spec: Spec) -> Self {
        let is_client = spec.offer_setup == Setup::Passive;
        let (mut audio, mut video) = (None, None);
        for line in spec.lines {
            match line.kind {
                Kind::Audio => audio = Some(DownTrack::new(line)),
                Kind::Video => video = Some(DownTrack::new(line)),
            }
        }
        let has_both = audio.is_some() && video.is_some();
        Self {
            id: spec.id,
            stream: spec.stream,
            ice: IceAgent::new(now, spec.credentials),
            audio,
            video,
            audio_feed: None,
            video_feed: None,
            tracks_version: None,
            told: None,
            picture: Picture::new(spec.choice),
            cap: LayerCap::None,
            patient: false,
            keyframe_requests: 0,
            catch_ups: 0,
            choked: None,
            secure: Secure::new(spec.identity, spec.fingerprints, is_client),
            sealer: None,
            announced: false,
            transport_seq: 0,
            congestion: None,
            cname: spec.cname,
            began: now,
            sound_from: if has_both { now + lip_sync::SOUND_AFTER } else { now },
            connected: None,
            schedule: Schedule::new(now),
            round_trip: None,
            resends: Allowance::new(now),
            nacks: Allowance::new(now),
        }
    }

    /// As after a handshake that agreed on these keys.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn key(
        &mut self,
        now: Instant,
        profile: Profile,
        ours: secure::KeyAndSalt<'_>,
        theirs: secure::KeyAndSalt<'_>,
    ) {
        self.sealer = Some(Box::new(self.secure.key(profile, ours, theirs)));
        self.congestion = Some(Box::new(Congestion::new(now, START_BPS)));
    }

    /// Whether its picture must wait: what is sent goes over a connection that is full.
    pub(crate) fn is_choked(&self) -> bool {
        self.choked.is_some() && self.choked == self.ice.dest().map(Dest::tuple)
    }

    /// A connection is full, or free again.
    pub(crate) fn set_choked(&mut self, tuple: Tuple, full: bool) {
        if full {
            self.choked = Some(tuple);
        } else if self.choked == Some(tuple) {
            self.choked = None;
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.sealer.is_some()
    }

    /// That it is connected, once.
    pub(crate) fn announce(&mut self) -> Option<Connected> {
        let (sealer, dest) = (self.sealer.as_ref()?, self.ice.dest()?);
        let first = !std::mem::replace(&mut self.announced, true);
        first.then(|| Connected { profile: sealer.profile(), remote: dest.to, transport: dest.transport })
    }

    pub(crate) fn down(&mut self, kind: Kind) -> Option<&mut DownTrack> {
        match kind {
            Kind::Audio => self.audio.as_mut(),
            Kind::Video => self.video.as_mut(),
        }
    }

    pub(crate) fn down_by_ssrc(&mut self, ssrc: u32) -> Option<&mut DownTrack> {
        [&mut self.audio, &mut self.video].into_iter().flatten().find(|down| down.line.ssrc == ssrc)
    }

    pub(crate) fn feed(&self, kind: Kind) -> Option<FeedId> {
        match kind {
            Kind::Audio => self.audio_feed,
            Kind::Video => self.video_feed,
        }
    }

    /// The feed that a packet was of which is remembered under this index.
    pub(super) fn feed_of(&self, kind: Kind, index: u64) -> Option<FeedId> {
        match kind {
            Kind::Audio => self.audio_feed,
            Kind::Video => match self.video.as_ref()?.sources_ago(index) {
                0 => self.video_feed,
                1 => self.picture.past.as_ref().map(|past| past.feed),
                _ => None,
            },
        }
    }

    /// Whether it gets the packets of a feed that are of a frame of that time, which would be sent `now`.
    pub(super) fn takes(&mut self, now: Instant, feed: FeedId, kind: Kind, ticks: i64) -> bool {
        if self.feed(kind) != Some(feed) {
            return false;
        }
        let (Kind::Video, Some(down)) = (kind, &mut self.video) else { return now >= self.sound_from };
        let superseded = self.picture.target.as_ref().is_some_and(|target| target.supersedes(ticks));
        // What has begun is finished.
        if superseded && down.taken != Some(ticks) {
            return false;
        }
        down.taken = Some(ticks);
        true
    }

    pub(crate) fn set_feed(&mut self, kind: Kind, feed: Option<FeedId>) {
        match kind {
            Kind::Audio => self.audio_feed = feed,
            Kind::Video => self.video_feed = feed,
        }
    }

    /// Whether it has said which codecs it decodes, and this is one.
    pub(crate) fn offers(&self, codec: Codec) -> bool {
        let down = match codec.kind() {
            Kind::Audio => self.audio.as_ref(),
            Kind::Video => self.video.as_ref(),
        };
        down.is_some_and(|down| down.offers(codec))
    }

    /// An m-line with what its packets need on their way out, once the viewer is connected.
    pub(crate) fn outlet<'a>(
        &'a mut self,
        now: Instant,
        kind: Kind,
        counters: &'a mut Counters,
    ) -> Option<(&'a mut DownTrack, Outlet<'a>)> {
        let down = match kind {
            Kind::Audio => self.audio.as_mut()?,
            Kind::Video => self.video.as_mut()?,
        };
        let outlet = Outlet {
            now,
            dest: self.ice.dest()?,
            sealer: self.sealer.as_mut()?,
            transport_seq: &mut self.transport_seq,
            congestion: self.congestion.as_deref_mut(),
            counters,
        };
        Some((down, outlet))
    }

    /// What its line takes, in bits per second of datagrams without IP and UDP headers. `None`: it gives nothing to
    /// judge by, or has not yet.
    pub(crate) fn estimate_bps(&self) -> Option<u64> {
        self.congestion.as_ref()?.estimate_bps()
    }

    /// What of that arrives, as far as it says so.
    pub(crate) fn arriving_bps(&self) -> Option<u64> {
        self.congestion.as_ref()?.arriving_bps()
    }

    /// What would be sent to it if its line took that: as long as the estimate is below, the line is probed, if the
    /// viewer has what probes need (transport-wide feedback and RTX).
    pub(crate) fn set_wanted_bps(&mut self, bits_per_second: u64) {
        let can_probe = self.video.as_ref().is_some_and(DownTrack::can_probe);
        if let Some(congestion) = &mut self.congestion {
            congestion.set_wanted_bps(if can_probe { bits_per_second } else { 0 });
        }
    }

    /// Whether there will be an estimate once media flows.
    pub(crate) fn is_measurable(&self) -> bool {
        self.video.as_ref().is_some_and(|down| down.line.transport_cc.is_some())
    }

    /// The congestion control of its line, once it is connected.
    pub(crate) fn congestion(&mut self) -> Option<&mut Congestion> {
        self.congestion.as_deref_mut()
    }

    /// The first path is there: begins DTLS if that is our part.
    pub(crate) fn start_dtls(&mut self, now: Instant) -> Result<(), Failure> {
        self.secure.start(now)
    }

    /// Takes a DTLS datagram from a 4-tuple that has proven itself.
    pub(crate) fn handle_dtls(
        &mut self,
        now: Instant,
        datagram: &[u8],
        counters: &mut Counters,
    ) -> Result<Option<CloseReason>, Failure> {
        match self.secure.handle_datagram(now, datagram)? {
            Progress::Nothing => Ok(None),
            Progress::Ignored => {
                counters.dtls_ignored += 1;
                Ok(None)
            }
            Progress::Closed => Ok(Some(CloseReason::Remote)),
            Progress::Connected(mut sealer) => {
                for down in [&self.audio, &self.video].into_iter().flatten() {
                    if down.needs_reseal() {
                        sealer.allow_reseal(down.slot());
                    }
                }
                self.sealer = Some(sealer);
                self.congestion = Some(Box::new(Congestion::new(now, START_BPS)));
                self.connected = Some(now);
                Ok(None)
            }
        }
    }

    /// Opens SRTCP in place.
    pub(crate) fn open_rtcp<'a>(
        &mut self,
        now: Instant,
        tuple: Tuple,
        packet: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let opened = self.secure.open_rtcp(packet)?;
        self.ice.note_media(now, tuple);
        Some(opened)
    }

    /// The round trip, from a reception report (RFC 3550 section 6.4.1).
    pub(crate) fn note_report(&mut self, wall: NtpTime, last_sr: u32, delay: u32) -> Option<Duration> {
        let elapsed = wall.middle_bits().wrapping_sub(last_sr).wrapping_sub(delay);
        // 16.16 seconds; what is longer than 10 s is no round trip.
        if last_sr == 0 || elapsed >= 10 << 16 {
            return None;
        }
        self.round_trip = Some(Duration::from_micros((u64::from(elapsed) * 1_000_000) >> 16));
        self.round_trip
    }

    /// Milliseconds since it came, and how long a packet waits until it is sent again once more.
    pub(crate) fn resend_clock(&self, now: Instant) -> (u32, u32) {
        let since = now.saturating_duration_since(self.began).as_millis() as u32;
        (since, (self.round_trip.unwrap_or(ROUND_TRIP) / 2).as_millis().max(5) as u32)
    }

    /// Whether that many bytes may be sent again; counts them.
    pub(crate) fn may_resend(&mut self, now: Instant, bytes: u64) -> bool {
        let half = self.estimate_bps().map_or(RESEND_BYTES_PER_SECOND, |bps| bps / 16);
        let per_second = half.clamp(RESEND_BYTES_PER_SECOND_MIN, RESEND_BYTES_PER_SECOND);
        self.resends.take(now, bytes, per_second)
    }

    /// Whether a NACK of so many numbers is looked at; counts them.
    pub(crate) fn may_ask(&mut self, now: Instant, numbers: u64) -> bool {
        self.nacks.take(now, numbers, NACKS_PER_SECOND)
    }

    /// How it is connected.
    pub(crate) fn link(&self) -> Link {
        Link {
            transport: self.ice.dest().map_or(Transport::Udp, |dest| dest.transport),
            remote: self.ice.dest().map(|dest| dest.to),
            srtp_profile: self.sealer.as_ref().map(|sealer| sealer.profile().name()),
            connected: self.connected,
            round_trip: self.round_trip,
        }
    }

    /// Time has passed: DTLS flights, liveness.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<Option<CloseReason>, Failure> {
        for down in [&mut self.audio, &mut self.video].into_iter().flatten() {
            down.tally.measure(now);
        }
        self.secure.handle_timeout(now)?;
        if !self.is_connected() && now.saturating_duration_since(self.began) > CONNECT_MAX {
            return Ok(Some(CloseReason::NeverConnected));
        }
        if now.saturating_duration_since(self.ice.heard()) > CONSENT {
            return Ok(Some(CloseReason::ConsentExpired));
        }
        Ok(None)
    }

    /// A control datagram to where it is now.
    pub(crate) fn transmit(&self, data: Vec<u8>) -> Option<Transmit> {
        self.ice.dest().map(|dest| Transmit { to: dest.to, from: dest.from, transport: dest.transport, data })
    }

    /// The next DTLS datagram.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        // Asked first: without a way to it, what DTLS has to say waits.
        self.ice.dest()?;
        let data = self.secure.poll_transmit()?;
        self.transmit(data)
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Instant) {
        self.secure.close(now);
    }
}
