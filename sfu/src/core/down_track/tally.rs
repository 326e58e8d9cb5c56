//! What one m-line of a viewer was sent, and what the viewer says of it.

use std::time::{Duration, Instant};

use crate::core::rtcp::Reception;

/// Over which the bit rate is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// Plain numbers, counted on the way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Media packets, without retransmissions.
    pub(crate) packets: u64,
    /// Bytes of all sealed packets.
    pub(crate) bytes: u64,
    pub(crate) nacked: u64,
    pub(crate) resent: u64,
    pub(crate) nack_unknown: u64,
    /// The viewer's last report.
    pub(crate) reception: Option<Reception>,
    window: Option<(Instant, u64)>,
    bitrate_bps: u64,
}

impl Tally {
    /// Looked at now and then, more often than once per second.
    pub(crate) fn measure(&mut self, now: Instant) {
        let (began, before) = *self.window.get_or_insert((now, self.bytes));
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= WINDOW {
            self.bitrate_bps = (self.bytes - before) * 8_000 / elapsed.as_millis() as u64;
            self.window = Some((now, self.bytes));
        }
    }

    /// Bits per second in the last whole window.
    pub(crate) fn bitrate_bps(&self) -> u64 {
        self.bitrate_bps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut now = beginning();
        let mut tally = Tally::default();
        for (bytes_per_tick, bps) in [(250, 80_000), (0, 0), (2500, 800_000)] {
            for _ in 0..80 {
                tally.measure(now);
                tally.bytes += bytes_per_tick;
                now += Duration::from_millis(25);
            }
            assert_eq!(tally.bitrate_bps(), bps);
        }
    }
}
