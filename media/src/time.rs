//! Time is a type with a scale. Wall clock exists only at the edges. See `docs/time.md`.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Ticks per second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// RTP clock of every video payload format here (RFC 6184 section 8.2.1, RFC 7741 section 6.1).
    pub const VIDEO: Self = Self::literal(90_000);
    /// RTP clock of Opus at every sample rate (RFC 7587 section 4.1).
    pub const OPUS: Self = Self::literal(48_000);
    /// Microseconds.
    pub const MICROS: Self = Self::literal(1_000_000);

    const fn literal(hz: u32) -> Self {
        match NonZeroU32::new(hz) {
            Some(hz) => Self(hz),
            None => panic!("a timescale is not zero"),
        }
    }

    /// A timescale of `hz` ticks per second; `None` for zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

/// A point on a Stream's clock: signed ticks since the Stream began, and their scale.
#[derive(Clone, Copy)]
pub struct MediaTime {
    ticks: i64,
    scale: Timescale,
}

impl MediaTime {
    /// `ticks` of `scale` after the Stream began.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// The beginning of the Stream.
    pub const fn zero(scale: Timescale) -> Self {
        Self { ticks: 0, scale }
    }

    /// From microseconds, rounded to the nearest tick.
    pub fn from_micros(micros: i64, scale: Timescale) -> Self {
        Self { ticks: micros, scale: Timescale::MICROS }.rescale(scale)
    }

    /// Signed ticks.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The scale of [`Self::ticks`].
    pub const fn scale(self) -> Timescale {
        self.scale
    }

    /// The same point in another scale, rounded to the nearest tick (half away from zero).
    pub fn rescale(self, scale: Timescale) -> Self {
        if scale == self.scale {
            return self;
        }
        let wide = i128::from(self.ticks) * i128::from(scale.hz());
        let from = i128::from(self.scale.hz());
        let half = if wide < 0 { -from / 2 } else { from / 2 };
        Self { ticks: saturate((wide + half) / from), scale }
    }

    /// Microseconds since the Stream began, rounded to nearest.
    pub fn as_micros(self) -> i64 {
        self.rescale(Timescale::MICROS).ticks
    }

    /// Seconds, for display and playlists.
    pub fn as_secs_f64(self) -> f64 {
        self.ticks as f64 / f64::from(self.scale.hz())
    }

    /// `self` moved by `ticks` of its own scale, saturating.
    pub const fn offset(self, ticks: i64) -> Self {
        Self { ticks: self.ticks.saturating_add(ticks), scale: self.scale }
    }

    /// `self` moved forward by a duration.
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self.offset(Self::from_micros(micros, self.scale).ticks)
    }

    /// How long after `earlier` this is; zero if it is before it.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.as_micros().saturating_sub(earlier.as_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

fn saturate(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    /// Exact across scales.
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.scale.hz());
        let right = i128::from(other.ticks) * i128::from(self.scale.hz());
        left.cmp(&right)
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ticks, self.scale.hz())
    }
}

/// Wall clock as RTCP writes it: 32.32 fixed-point seconds since 1900 (RFC 3550 section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NtpTime(u64);

/// Seconds from 1900-01-01 to 1970-01-01.
const NTP_TO_UNIX_SECONDS: u64 = 2_208_988_800;

impl NtpTime {
    /// From the 64 bits of a sender report.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits of a sender report.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The middle 32 bits, as in `LSR` (RFC 3550 section 6.4.1).
    pub const fn middle_bits(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// From unix microseconds.
    pub const fn from_unix_micros(micros: u64) -> Self {
        let seconds = micros / 1_000_000 + NTP_TO_UNIX_SECONDS;
        let fraction = ((micros % 1_000_000) << 32) / 1_000_000;
        Self((seconds << 32) | fraction)
    }

    /// Unix microseconds, rounded to nearest.
    pub const fn as_unix_micros(self) -> u64 {
        let seconds = (self.0 >> 32).saturating_sub(NTP_TO_UNIX_SECONDS);
        let fraction = ((self.0 & 0xffff_ffff) * 1_000_000 + (1 << 31)) >> 32;
        seconds * 1_000_000 + fraction
    }

    /// `self` moved by signed microseconds.
    pub const fn offset_micros(self, micros: i64) -> Self {
        Self::from_unix_micros(self.as_unix_micros().saturating_add_signed(micros))
    }
}

/// The one clock of a Stream: where media time zero lies on the monotonic and on the wall clock.
///
/// It never changes in the Stream's life, across reconnects too. Ingest maps what encoders say onto it.
#[derive(Clone, Copy, Debug)]
pub struct StreamClock {
    origin: Instant,
    origin_ntp: NtpTime,
}

impl StreamClock {
    /// A clock whose zero is now: the same moment read from both clocks.
    pub const fn new(origin: Instant, origin_ntp: NtpTime) -> Self {
        Self { origin, origin_ntp }
    }

    /// Where `at` lies on the Stream's clock. Before the origin it is negative.
    pub fn media_time(&self, at: Instant, scale: Timescale) -> MediaTime {
        let micros = match at.checked_duration_since(self.origin) {
            Some(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            None => -i64::try_from((self.origin - at).as_micros()).unwrap_or(i64::MAX),
        };
        MediaTime::from_micros(micros, scale)
    }

    /// The wall clock at `time`: for sender reports and PROGRAM-DATE-TIME.
    pub fn ntp(&self, time: MediaTime) -> NtpTime {
        self.origin_ntp.offset_micros(time.as_micros())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Where virtual time begins in tests.
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; tests only add to it"
    )]
    pub(crate) fn origin() -> Instant {
        Instant::now()
    }

    fn at(ticks: i64, hz: u32) -> MediaTime {
        MediaTime::new(ticks, Timescale::new(hz).expect("not zero"))
    }

    #[test]
    fn rescale_rounds_to_nearest() {
        for (from, hz, to) in [
            (at(33, 1000), 90_000, 2970),
            (at(1, 3), 1000, 333),
            (at(2, 3), 1000, 667),
            (at(-1, 2), 1, -1),
            (at(i64::MAX, 1), 90_000, i64::MAX),
        ] {
            assert_eq!(from.rescale(Timescale::new(hz).expect("not zero")).ticks(), to, "{from:?} to {hz}");
        }
    }

    #[test]
    fn order_is_exact_across_scales() {
        assert_eq!(at(1, 2), at(45_000, 90_000));
        assert!(at(1, 3) < at(334, 1000) && at(1, 3) > at(333, 1000));
    }

    #[test]
    fn ntp_survives_unix_micros() {
        for micros in [0, 1, 999_999, 1_795_327_200_123_456] {
            assert_eq!(NtpTime::from_unix_micros(micros).as_unix_micros(), micros);
        }
    }

    #[test]
    fn clock_maps_both_ways_around_its_origin() {
        let origin = origin();
        let clock = StreamClock::new(origin, NtpTime::from_unix_micros(5_000_000));
        assert_eq!(clock.media_time(origin + Duration::from_millis(20), Timescale::VIDEO).ticks(), 1800);
        assert_eq!(clock.ntp(at(-1, 1)).as_unix_micros(), 4_000_000);
    }
}
