//! What the line carries while packets wait in front of it: then it is full, and what arrives is what it takes.
//!
//! The acknowledged rate mixes times in which little was sent with times in which the line was full. After a pause it
//! is far too low to be believed, after a drop of the line too high for a second.

/// A packet that took so much longer than the fastest had to wait. More than the jitter of most lines.
const WAITED_MICROS: i64 = 10_000;
/// A measurement is closed after this, and from this and so many packets on one that is under way is believed.
const WINDOW_MICROS: i64 = 120_000;
const ENOUGH_MICROS: i64 = 40_000;
const ENOUGH_PACKETS: u32 = 4;
/// The fastest packet of the last one or two of these counts: clocks drift, and routes change.
const FASTEST_MICROS: i64 = 10_000_000;

/// The measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bottleneck {
    /// Shortest time on the way, on two clocks: of this stretch and of the one before.
    fastest: Option<(i64, i64)>,
    stretch: i64,
    waited: i64,
    /// Packets wait since then.
    since: Option<i64>,
    last: i64,
    bytes: u64,
    packets: u32,
    closed: Option<f64>,
}

impl Bottleneck {
    /// A packet arrived; both times in microseconds, each on its own clock.
    pub(super) fn add(&mut self, sent: i64, arrived: i64, bytes: u64) {
        let took = arrived - sent;
        let (now, before) = self.fastest.unwrap_or((took, took));
        if arrived - self.stretch > FASTEST_MICROS {
            self.stretch = arrived;
            self.fastest = Some((took, now.min(took)));
        } else {
            self.fastest = Some((now.min(took), before));
        }
        self.waited = took - now.min(before).min(took);
        if self.waited < WAITED_MICROS {
            (self.since, self.closed) = (None, None);
            return;
        }
        let Some(since) = self.since.filter(|since| *since <= arrived) else {
            // It ends the first interval; its own bytes arrived before.
            (self.since, self.last, self.bytes, self.packets) = (Some(arrived), arrived, 0, 0);
            return;
        };
        (self.last, self.bytes, self.packets) = (arrived, self.bytes + bytes, self.packets + 1);
        if arrived - since >= WINDOW_MICROS {
            self.closed = self.rate();
            (self.since, self.bytes, self.packets) = (Some(arrived), 0, 0);
        }
    }

    fn rate(&self) -> Option<f64> {
        let took = self.last - self.since?;
        (took >= ENOUGH_MICROS && self.packets >= ENOUGH_PACKETS)
            .then(|| self.bytes as f64 * 8e6 / took as f64)
    }

    /// How long the newest packet waited, in microseconds.
    pub(super) fn waited(&self) -> i64 {
        self.waited
    }

    /// Bits per second. `None`: nothing waits, or not for long enough.
    pub(super) fn bps(&self) -> Option<f64> {
        self.rate().or(self.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line {
        free: i64,
        bps: f64,
    }

    impl Line {
        fn send(&mut self, bottleneck: &mut Bottleneck, now: i64, bytes: u64) {
            self.free = self.free.max(now) + (bytes as f64 * 8e6 / self.bps) as i64;
            // Another clock, a second ahead.
            bottleneck.add(now, self.free + 1_020_000, bytes);
        }
    }

    #[test]
    fn only_a_full_line_is_measured() {
        let (mut bottleneck, mut line) = (Bottleneck::default(), Line { free: 0, bps: 6e5 });
        // Sound only.
        for now in (0..1_000_000).step_by(20_000) {
            line.send(&mut bottleneck, now, 160);
        }
        assert_eq!(bottleneck.bps(), None);
        // A keyframe at 1.2 Mbit/s between the sound.
        for now in (1_000_000..1_200_000).step_by(8_000) {
            line.send(&mut bottleneck, now, 1150);
            if now % 20_000 == 0 {
                line.send(&mut bottleneck, now, 160);
            }
        }
        let bps = bottleneck.bps().expect("it was full");
        assert!((5.7e5..6.3e5).contains(&bps), "{bps}");
        for now in (1_500_000..1_600_000).step_by(20_000) {
            line.send(&mut bottleneck, now, 160);
        }
        assert_eq!(bottleneck.bps(), None, "it is empty again");
    }

    #[test]
    fn a_drop_of_the_line_is_measured_within_two_tenths_of_a_second() {
        let (mut bottleneck, mut line) = (Bottleneck::default(), Line { free: 0, bps: 3e6 });
        for now in (0..2_000_000).step_by(4_000) {
            if now == 1_000_000 {
                line.bps = 6e5;
            }
            line.send(&mut bottleneck, now, 1150);
            // 200 ms later on the receiver's clock.
            if line.free > 1_200_000 && now > 1_000_000 {
                break;
            }
        }
        let bps = bottleneck.bps().expect("it is full");
        assert!((5.5e5..7e5).contains(&bps), "{bps}");
    }
}
