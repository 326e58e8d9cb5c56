//! Maps the RTP timestamps of one publication onto the Stream's clock.
//!
//! Every SSRC counts from its own random number. Until sender reports tell how they relate, packets are
//! placed by the least delayed arrival; then all sources of the publication are placed by the sender's wall
//! clock, so that sound and picture captured together get the same time. `docs/time.md` tells why.

use std::time::Instant;

use crate::{MediaTime, NtpTime, StreamClock, Timescale};

/// While a source is younger, its times may step: nobody has watched it for long, and the least delay is
/// still unknown.
const SETTLING_MICROS: i64 = 500_000;

/// Later its times move toward the target by at most this: 0.5 % of speed is neither seen nor heard.
const SLEW_PER_MILLE: i64 = 5;

/// An error that is left alone, and the one at which a correction ends. Corrections make RTP increments
/// uneven, which a browser's audio buffer hides by stretching; so they are rare. Two sources within it are
/// within 20 ms of each other, half of what lip synchronisation needs.
const TOLERATED_MICROS: u64 = 10_000;
const CORRECTED_MICROS: u64 = 500;

/// An error that no slewing would catch up with in time: the source jumped. The mapping begins anew, counted
/// in [`ClockStats::reanchored`].
const JUMP_MICROS: u64 = 500_000;

/// Times that are too early by more than this step forward at once. A source whose timestamps lag behind the
/// clock had a gap there (a microphone that underran, a machine that was late), and slewing would take longer
/// to heal it than the next gap takes to come; lips are seen to be off from 45 ms on (ITU-R BT.1359). Only
/// forward: a step back would repeat time.
const FORWARD_STEP_MICROS: i64 = 40_000;

/// Sources whose sender reports put them further apart than this do not share a wall clock.
const SHARED_CLOCK_MICROS: u64 = 1_000_000;

/// The least delay is taken over the last one or two of these: long enough to hold an undelayed packet of a
/// congested link, short enough to follow a drifting sender.
const WINDOW_MICROS: i64 = 2_500_000;

/// This many packets in a row from more than a second ago are no reordering: the source jumped back.
const STALE_RUN: u32 = 3;
const STALE_MICROS: i64 = 1_000_000;

/// Timestamps whose times are remembered, so that a late packet gets the time of its frame: half a second of
/// 120 frames per second. A later one gets a time near it.
const RECENT_MAX: usize = 64;

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
            arrivals: LeastDelay::default(),
            wall_at_zero: None,
            offset: None,
            correcting: false,
            stale: 0,
            recent: Recent::default(),
            latest: i64::MIN,
            stats: ClockStats::default(),
        }
    }

    /// The one offset for all sources that share a wall clock with `source`.
    fn shared_offset(&mut self, source: u32, micros: i64, at: i64) -> i64 {
        let known = self.wall_offsets.iter().position(|known| known.is_some_and(|it| it.source == source));
        let place = known.unwrap_or(source as usize % SOURCES_MAX);
        self.wall_offsets[place] = Some(WallOffset { source, micros, at });
        let current = self.wall_offsets.iter().flatten().filter(|other| at - other.at <= 2 * WINDOW_MICROS);
        let shared = current.filter(|other| other.micros.abs_diff(micros) <= SHARED_CLOCK_MICROS);
        shared.map(|other| other.micros).min().unwrap_or(micros)
    }
}

/// What happened to the times of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockStats {
    /// Times that the mapping began anew because the source's timestamps jumped.
    pub reanchored: u64,
    /// Times that the mapping stepped forward over a gap of the source.
    pub stepped: u64,
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
    /// The sender's wall clock where the timestamp is zero, by its last sender report.
    wall_at_zero: Option<i64>,
    offset: Option<Offset>,
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
}

impl SourceClock {
    /// Where a packet with this RTP timestamp (unwrapped, see [`super::TimestampUnwrapper`]) lies on the
    /// Stream's clock. All packets of one timestamp get the same time; newer timestamps get later times.
    pub fn media_time(
        &mut self,
        publisher: &mut PublisherClock,
        timestamp: u64,
        arrival: Instant,
    ) -> MediaTime {
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let now = publisher.clock.media_time(arrival, Timescale::MICROS).ticks();
        let micros = MediaTime::new(timestamp, self.scale).as_micros();
        if let Some(ticks) = self.recent.get(timestamp) {
            self.stale = 0;
            self.arrivals.add(now, now.saturating_sub(micros));
            return MediaTime::new(ticks, self.scale);
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
            self.arrivals.add(now, now.saturating_sub(micros));
        }
        let elapsed = newest.map_or(0, |(newest, _)| self.micros_between(newest, timestamp));
        let offset = self.correct(publisher, now, elapsed);
        let mut ticks = timestamp.saturating_add(offset.ticks);
        if self.recent.newest().is_none_or(|(newest, _)| timestamp > newest) {
            if ticks <= self.latest {
                ticks = self.latest.saturating_add(1);
                self.stats.clamped += 1;
            }
            self.latest = ticks;
        }
        self.recent.insert(timestamp, ticks);
        MediaTime::new(ticks, self.scale)
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
        self.wall_at_zero = Some(wall.saturating_sub(MediaTime::new(timestamp, self.scale).as_micros()));
    }

    /// What happened so far.
    pub fn stats(&self) -> ClockStats {
        self.stats
    }

    fn micros_between(&self, from: i64, to: i64) -> i64 {
        MediaTime::new(to.saturating_sub(from), self.scale).as_micros()
    }

    /// The offset that is right: by the shared wall clock if this source has one, else by arrival.
    fn target(&self, publisher: &mut PublisherClock, now: i64) -> i64 {
        let by_arrival = self.arrivals.least();
        let Some(wall_at_zero) = self.wall_at_zero else { return by_arrival };
        let own = by_arrival.saturating_sub(wall_at_zero);
        wall_at_zero.saturating_add(publisher.shared_offset(self.id, own, now))
    }

    /// Moves the offset toward its target, by what may be moved in `elapsed` microseconds of media.
    fn correct(&mut self, publisher: &mut PublisherClock, now: i64, elapsed: i64) -> Offset {
        let target = self.target(publisher, now);
        let Some(mut offset) = self.offset else {
            return self.set_offset(target, now);
        };
        let error = target.saturating_sub(offset.micros);
        if now - offset.since < SETTLING_MICROS {
            return self.set_offset(target, offset.since);
        }
        if error.unsigned_abs() > JUMP_MICROS {
            self.stats.reanchored += 1;
            self.correcting = false;
            return self.set_offset(target, offset.since);
        }
        if error > FORWARD_STEP_MICROS {
            self.stats.stepped += 1;
            self.correcting = false;
            return self.set_offset(target, offset.since);
        }
        self.correcting =
            error.unsigned_abs() > if self.correcting { CORRECTED_MICROS } else { TOLERATED_MICROS };
        if self.correcting {
            let most = elapsed.clamp(0, 1_000_000) * SLEW_PER_MILLE / 1000;
            offset.micros += error.clamp(-most, most);
            return self.set_offset(offset.micros, offset.since);
        }
        offset
    }

    fn set_offset(&mut self, micros: i64, since: i64) -> Offset {
        let ticks = MediaTime::from_micros(micros, self.scale).ticks();
        *self.offset.insert(Offset { micros, ticks, since })
    }

    /// The timestamps went back for good. `latest` stays: time goes on.
    fn begin_anew(&mut self) {
        self.stale = 0;
        self.arrivals = LeastDelay::default();
        self.recent = Recent::default();
    }
}

/// The least of the values of the last [`WINDOW_MICROS`] to twice that.
#[derive(Debug)]
struct LeastDelay {
    begun: i64,
    current: i64,
    previous: i64,
}

impl Default for LeastDelay {
    fn default() -> Self {
        Self { begun: i64::MIN, current: i64::MAX, previous: i64::MAX }
    }
}

impl LeastDelay {
    fn add(&mut self, at: i64, value: i64) {
        let age = at.saturating_sub(self.begun);
        if age >= WINDOW_MICROS {
            self.previous = if age < 2 * WINDOW_MICROS { self.current } else { i64::MAX };
            self.current = i64::MAX;
            self.begun = at;
        }
        self.current = self.current.min(value);
    }

    fn least(&self) -> i64 {
        self.current.min(self.previous)
    }
}

/// The newest timestamps and the times that they got.
#[derive(Debug)]
struct Recent {
    entries: [(i64, i64); RECENT_MAX],
    count: usize,
    next: usize,
    newest: Option<(i64, i64)>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { entries: [(0, 0); RECENT_MAX], count: 0, next: 0, newest: None }
    }
}

impl Recent {
    fn get(&self, timestamp: i64) -> Option<i64> {
        // Nearly always it is the newest one.
        if let Some((newest, ticks)) = self.newest
            && newest == timestamp
        {
            return Some(ticks);
        }
        self.entries[..self.count].iter().find(|(known, _)| *known == timestamp).map(|&(_, ticks)| ticks)
    }

    fn newest(&self) -> Option<(i64, i64)> {
        self.newest
    }

    fn insert(&mut self, timestamp: i64, ticks: i64) {
        self.entries[self.next] = (timestamp, ticks);
        self.next = (self.next + 1) % RECENT_MAX;
        self.count = (self.count + 1).min(RECENT_MAX);
        if self.newest.is_none_or(|(newest, _)| timestamp > newest) {
            self.newest = Some((timestamp, ticks));
        }
    }
}

#[cfg(test)]
mod tests;
