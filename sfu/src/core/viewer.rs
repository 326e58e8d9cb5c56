//! One viewer: its way through ICE and DTLS, its m-lines, its liveness.

mod identity;
mod nearer;
mod reports;
mod secure;
mod spec;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Codec, Kind, NtpTime, Stream};

use super::demux::Tuple;
use super::down_track::{DownTrack, Outlet};
use super::ice_agent::{CONSENT, IceAgent};
use super::lip_sync;
use super::overload::LayerCap;
use super::picture::Picture;
use super::rtcp;
use super::{Counters, FeedId, Transmit};
use crate::allowance::Allowance;
use crate::bwe::Congestion;
use crate::egress::batch::{Dest, Transport};
use crate::egress::seal::{Profile, Sealer};
use crate::sdp::Setup;
use crate::{CloseReason, FallbackReason, PeerId};

pub use identity::Identity;
pub(crate) use nearer::{prefetch_first_turns, prefetch_looks, prefetch_turns};
use reports::Schedule;
pub(crate) use secure::Failure;
use secure::{Progress, Secure};
pub use spec::{Entropy, Spec};

/// How long a viewer may take to its first check and through DTLS.
const CONNECT_MAX: Duration = Duration::from_secs(30);
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
            ice: IceAgent::new(now, spec.halves, spec.seed),
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
        self.ice.secure();
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

    /// When that was.
    pub(crate) fn connected_at(&self) -> Option<Instant> {
        self.connected
    }

    /// Whether [`Self::announce`] has told it: without an address to send to, a sealer alone is not told.
    pub(crate) fn is_announced(&self) -> bool {
        self.announced
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

    /// When its sound began, if it did.
    pub(crate) fn hears_since(&self) -> Option<Instant> {
        self.connected.map(|connected| connected.max(self.sound_from))
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
                self.ice.secure();
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
        let bytes = packet.len();
        let opened = self.secure.open_rtcp(packet)?;
        self.ice.note_media(now, tuple, bytes);
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
