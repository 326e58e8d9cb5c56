//! Maps the RTP timestamps of one publication onto the Stream's clock.
//!
//! Every SSRC counts from its own random number. Until sender reports tell how they relate, packets are
//! placed by the least delayed arrival; then all sources of the publication are placed by the sender's wall
//! clock, so that sound and picture captured together get the same time. `docs/time.md` tells why.

mod least_delay;
mod recent;
mod reports;

use std::time::Instant;

use least_delay::{LeastDelay, WINDOW_MICROS};
use recent::Recent;
use reports::Reports;

use crate::{MediaTime, NtpTime, StreamClock, Timescale};

/// The least delay of so long, or of twice that, says whether packets come later than they did.
const LATELY_MICROS: i64 = 500_000;

/// What sources of one line are later by is the same but for this much.
const SAME_LINE_MICROS: u64 = 8_000;

/// While a source is younger, its times may step: nobody has watched it for long, and the least delay is
/// still unknown.
const SETTLING_MICROS: i64 = 500_000;

/// A picture's times move toward the target by at most this later: a picture that comes 2 ms early or late for a
/// second is not seen.
const SLEW_PER_MILLE: i64 = 50;

/// An error of a picture's times that is left alone, and the one at which a correction ends.
const TOLERATED_MICROS: u64 = 5_000;
const CORRECTED_MICROS: u64 = 500;

/// The same for sound, whose times move by whole packets only: a player's buffer takes any other increment for a
/// loss and conceals it, or stretches what it has. With a picture's, less than 20 ms, half of what lip
/// synchronisation needs; and more than half a packet of 20 ms, so that a correction leaves less than it found.
const SOUND_TOLERATED_MICROS: i64 = 12_000;

/// From one packet of sound that is left out, or one that is made up for, to the next.
const SOUND_STEP_INTERVAL_MICROS: i64 = 500_000;

/// An error that is not waited out: the source jumped. The mapping begins anew, counted in
/// [`ClockStats::reanchored`].
const JUMP_MICROS: u64 = 500_000;

/// What is corrected by packets at once at most; more, before the source has settled, by the next packets.
const ERROR_MAX_MICROS: i64 = 60_000_000;

/// Times that are too early by more than this step forward at once. A source whose timestamps lag behind the
/// clock had a gap there (a microphone that underran, a machine that was late); lips are seen to be off from
/// 45 ms on (ITU-R BT.1359). Only forward: a step back would repeat time.
const FORWARD_STEP_MICROS: i64 = 40_000;

/// Sources whose sender reports put them further apart than this do not share a wall clock.
const SHARED_CLOCK_MICROS: u64 = 1_000_000;

/// This many packets in a row from more than a second ago are no reordering: the source jumped back.
const STALE_RUN: u32 = 3;
const STALE_MICROS: i64 = 1_000_000;

/// Sources of one publication at most: three simulcast Layers, sound, and each of them anew after SSRC
/// changes. Beyond it the oldest is forgotten and placed by arrival.
const SOURCES_MAX: usize = 16;

/// What the sources of one publication share: the sender's wall clock on the Stream's clock.
#[derive(Debug)]
pub struct PublisherClock {
    clock: StreamClock,
    /// Per source with sender reports: what to add to the sender's wall clock (unix microseconds) so that the
    /// least delayed packet of that source has the time of its arrival.
    wall_offsets: [Option<WallOffset>; SOURCES_MAX],
    next_source: u32,
}

#[derive(Clone, Copy, Debug)]
struct WallOffset {
    source: u32,
    micros: i64,
    /// By how much its packets come later than at best.
    later: i64,
    /// When it was last known to be so: the least delay of a silent source says nothing.
    at: i64,
}

impl PublisherClock {
    /// The clock of one publication of a Stream.
    pub fn new(clock: StreamClock) -> Self {
        Self { clock, wall_offsets: [None; SOURCES_MAX], next_source: 0 }
    }

    /// A clock for one SSRC of it, with `scale` ticks per second.
    pub fn source(&mut self, scale: Timescale) -> SourceClock {
        self.next_source = self.next_source.wrapping_add(1);
        SourceClock {
            id: self.next_source,
            scale,
            arrivals: LeastDelay::over(WINDOW_MICROS),
            lately: LeastDelay::over(LATELY_MICROS),
            reports: Reports::default(),
            offset: None,
            before: None,
            correcting: false,
            stale: 0,
            recent: Recent::default(),
            latest: i64::MIN,
            stats: ClockStats::default(),
        }
    }

    /// Whether another source comes as much later as `source` does: then it is the line. One that was silent lately
    /// cannot tell, and it may be the line.
    fn line_is_later(&self, source: u32, later: i64, at: i64) -> bool {
        let others = self.wall_offsets.iter().flatten().filter(|other| other.source != source);
        let mut current = others.filter(|other| at - other.at <= 2 * WINDOW_MICROS);
        current.any(|other| at - other.at > LATELY_MICROS || other.later.abs_diff(later) <= SAME_LINE_MICROS)
    }

    /// The one offset for all sources that share a wall clock with `source`.
    fn shared_offset(&mut self, source: u32, micros: i64, later: i64, at: i64) -> i64 {
        let known = self.wall_offsets.iter().position(|known| known.is_some_and(|it| it.source == source));
        let oldest = || {
            let places = self.wall_offsets.iter().enumerate();
            places.min_by_key(|(_, known)| known.map_or(i64::MIN, |it| it.at)).map_or(0, |(place, _)| place)
        };
        let place = known.unwrap_or_else(oldest);
        self.wall_offsets[place] = Some(WallOffset { source, micros, later, at });
        let current = self.wall_offsets.iter().flatten().filter(|other| at - other.at <= 2 * WINDOW_MICROS);
        let shared = current.filter(|other| other.micros.abs_diff(micros) <= SHARED_CLOCK_MICROS);
        shared.map(|other| other.micros).min().unwrap_or(micros)
    }
}

/// A packet's place on the Stream's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The time that it gets.
    pub time: MediaTime,
    /// How much later it really belongs, in microseconds: what is not corrected. Sender reports can tell.
    pub lag_micros: i32,
}

/// What happened to the times of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockStats {
    /// Times that the mapping began anew because the source's timestamps jumped.
    pub reanchored: u64,
    /// Times that the mapping stepped forward over a gap of the source.
    pub stepped: u64,
    /// Packets of sound that were left out: the source's clock runs fast.
    pub left_out: u64,
    /// Sender reports taken.
    pub reports: u64,
    /// Sender reports without a wall clock (RFC 3550 section 6.4.1 allows zero).
    pub reports_ignored: u64,
    /// Timestamps that were moved so that time does not step back.
    pub clamped: u64,
}

/// The clock of one RTP source (SSRC) of a Publisher.
#[derive(Debug)]
pub struct SourceClock {
    id: u32,
    scale: Timescale,
    /// Arrival minus timestamp, both in microseconds.
    arrivals: LeastDelay,
    lately: LeastDelay,
    reports: Reports,
    offset: Option<Offset>,
    /// Until which timestamp which offset was added (in ticks) before the last correction of sound.
    before: Option<(i64, i64)>,
    correcting: bool,
    stale: u32,
    recent: Recent,
    /// The latest time given to a newest timestamp.
    latest: i64,
    stats: ClockStats,
}

/// What is added to timestamps.
#[derive(Clone, Copy, Debug)]
struct Offset {
    micros: i64,
    /// The same in ticks: increments of the source survive exactly while nothing is corrected.
    ticks: i64,
    /// When the source was first heard of, on the Stream's clock.
    since: i64,
    /// When it was last moved by a packet of sound.
    stepped: i64,
    /// The last target minus this.
    lag: i64,
}

impl SourceClock {
    /// Where a packet with this RTP timestamp (unwrapped, see [`super::TimestampUnwrapper`]) lies on the
    /// Stream's clock. All packets of one timestamp get the same place; newer timestamps get later times.
    ///
    /// `packet` is how long a packet of sound lasts, in ticks of the source, and 0 for pictures: times of sound
    /// grow by what the timestamps do, and are corrected by whole packets. `None`: this packet of sound is to be
    /// left out for that.
    pub fn place(
        &mut self,
        publisher: &mut PublisherClock,
        timestamp: u64,
        packet: u32,
        arrival: Instant,
    ) -> Option<Place> {
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let now = publisher.clock.media_time(arrival, Timescale::MICROS).ticks();
        let micros = MediaTime::new(timestamp, self.scale).as_micros();
        if let Some(ticks) = self.recent.get(timestamp) {
            self.stale = 0;
            self.arrived(now, micros);
            return Some(self.at(ticks));
        }
        let newest = self.recent.newest();
        if newest.is_some_and(|(newest, _)| self.micros_between(timestamp, newest) > STALE_MICROS) {
            self.stale += 1;
            if self.stale >= STALE_RUN {
                self.begin_anew();
            }
        } else {
            self.stale = 0;
        }
        if self.stale == 0 {
            self.arrived(now, micros);
        }
        let is_newest = self.recent.newest().is_none_or(|(newest, _)| timestamp > newest);
        if !is_newest && let Some(offset) = self.offset {
            let ticks = timestamp.saturating_add(self.offset_before(timestamp).unwrap_or(offset.ticks));
            // Its place may have been given away by the correction.
            let given_away = self
                .before
                .is_some_and(|(until, _)| timestamp < until && ticks >= until.saturating_add(offset.ticks));
            if given_away {
                self.stats.left_out += 1;
                return None;
            }
            self.recent.insert(timestamp, ticks);
            return Some(self.at(ticks));
        }
        let elapsed = newest.map_or(0, |(newest, _)| self.micros_between(newest, timestamp));
        let offset = self.correct(publisher, now, elapsed, timestamp, packet);
        let mut ticks = timestamp.saturating_add(offset.ticks);
        if ticks <= self.latest {
            if packet > 0 {
                self.stats.left_out += 1;
                return None;
            }
            ticks = self.latest.saturating_add(1);
            self.stats.clamped += 1;
        }
        self.latest = ticks;
        self.recent.insert(timestamp, ticks);
        Some(self.at(ticks))
    }

    /// Takes a sender report of this source: at `ntp` on the sender's clock, `timestamp` (unwrapped) was due.
    pub fn handle_sender_report(&mut self, ntp: NtpTime, timestamp: u64) {
        if ntp.to_bits() == 0 {
            self.stats.reports_ignored += 1;
            return;
        }
        self.stats.reports += 1;
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let wall = i64::try_from(ntp.as_unix_micros()).unwrap_or(i64::MAX);
        self.reports.add(wall, MediaTime::new(timestamp, self.scale).as_micros());
    }

    /// What happened so far.
    pub fn stats(&self) -> ClockStats {
        self.stats
    }

    fn at(&self, ticks: i64) -> Place {
        let lag = self.offset.map_or(0, |offset| offset.lag);
        let lag_micros = i32::try_from(lag.clamp(-(JUMP_MICROS as i64), JUMP_MICROS as i64)).unwrap_or(0);
        Place { time: MediaTime::new(ticks, self.scale), lag_micros }
    }

    fn arrived(&mut self, now: i64, micros: i64) {
        self.arrivals.add(now, now.saturating_sub(micros));
        self.lately.add(now, now.saturating_sub(micros));
    }

    /// What was added to timestamps of sound before the last correction, if this one is from before it.
    fn offset_before(&self, timestamp: i64) -> Option<i64> {
        self.before.filter(|(until, _)| timestamp < *until).map(|(_, offset)| offset)
    }

    fn micros_between(&self, from: i64, to: i64) -> i64 {
        MediaTime::new(to.saturating_sub(from), self.scale).as_micros()
    }

    /// The offset that is right: by the shared wall clock if this source has one, else by arrival.
    fn target(&mut self, publisher: &mut PublisherClock, now: i64) -> i64 {
        let by_arrival = self.arrivals.least();
        let Some(later) = self.reports.later(now, self.lately.least()) else { return by_arrival };
        let line = publisher.line_is_later(self.id, later, now);
        let Some(wall_at_zero) = self.reports.wall_at_zero(if line { 0 } else { later }) else {
            return by_arrival;
        };
        let own = by_arrival.saturating_sub(wall_at_zero);
        wall_at_zero.saturating_add(publisher.shared_offset(self.id, own, later, now))
    }

    /// Moves the offset toward its target, by what may be moved in `elapsed` microseconds of media.
    fn correct(
        &mut self,
        publisher: &mut PublisherClock,
        now: i64,
        elapsed: i64,
        timestamp: i64,
        packet: u32,
    ) -> Offset {
        let target = self.target(publisher, now);
        let Some(mut offset) = self.offset else {
            let ticks = MediaTime::from_micros(target, self.scale).ticks();
            return *self.offset.insert(Offset { micros: target, ticks, since: now, stepped: now, lag: 0 });
        };
        let error = target.saturating_sub(offset.micros);
        let settling = now - offset.since < SETTLING_MICROS;
        if !settling && error.unsigned_abs() > JUMP_MICROS {
            self.stats.reanchored += 1;
            offset.micros = target;
        } else if packet > 0 {
            let length = MediaTime::new(packet.into(), self.scale).as_micros();
            offset = self.step_by_packets(offset, error, length, now, settling);
        } else if settling {
            offset.micros = target;
        } else if error > FORWARD_STEP_MICROS {
            self.stats.stepped += 1;
            offset.micros = target;
        } else {
            self.correcting =
                error.unsigned_abs() > if self.correcting { CORRECTED_MICROS } else { TOLERATED_MICROS };
            if self.correcting {
                let most = elapsed.clamp(0, 1_000_000) * SLEW_PER_MILLE / 1000;
                offset.micros += error.clamp(-most, most);
            }
        }
        let ticks = MediaTime::from_micros(offset.micros, self.scale).ticks();
        if packet > 0 && ticks != offset.ticks {
            self.before = Some((timestamp, offset.ticks));
        }
        offset.ticks = ticks;
        offset.lag = target.saturating_sub(offset.micros);
        *self.offset.insert(offset)
    }

    /// The offset of sound after what may be corrected now: by packets that last `length`.
    fn step_by_packets(
        &mut self,
        mut offset: Offset,
        error: i64,
        length: i64,
        now: i64,
        settling: bool,
    ) -> Offset {
        let error = error.clamp(-ERROR_MAX_MICROS, ERROR_MAX_MICROS);
        if error.abs() <= SOUND_TOLERATED_MICROS.max(length * 3 / 5) {
            return offset;
        }
        // Rounded to nearest.
        let wanted = (error.abs() + length / 2) / length.max(1) * error.signum();
        let gap = error > FORWARD_STEP_MICROS;
        if settling || gap {
            self.stats.stepped += u64::from(!settling);
            offset.micros = offset.micros.saturating_add(wanted * length);
            offset.stepped = now;
        } else if now - offset.stepped >= SOUND_STEP_INTERVAL_MICROS {
            offset.micros = offset.micros.saturating_add(wanted.signum() * length);
            offset.stepped = now;
        }
        offset
    }

    /// The timestamps went back for good. `latest` stays: time goes on.
    fn begin_anew(&mut self) {
        self.stale = 0;
        self.before = None;
        self.arrivals = LeastDelay::over(WINDOW_MICROS);
        self.lately = LeastDelay::over(LATELY_MICROS);
        self.recent = Recent::default();
    }
}

#[cfg(test)]
mod tests;
