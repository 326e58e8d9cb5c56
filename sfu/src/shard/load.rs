//! What a shard's loop does with its time.

use std::time::{Duration, Instant};

use crate::core::overload::Load;

/// Follows the turns of the loop.
#[derive(Debug)]
pub(super) struct LoadMeter {
    /// When the turn began: the loop woke up, or went on at once.
    woke: Instant,
    /// Until when a full socket was counted.
    blocked_since: Option<Instant>,
}

impl LoadMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self { woke: now, blocked_since: None }
    }

    /// A turn begins.
    pub(super) fn wake(&mut self, now: Instant) {
        self.woke = now;
    }

    /// The turn ends. `blocked`: a socket is full; `late`: how late the oldest burst is that waits.
    pub(super) fn turn(&mut self, now: Instant, blocked: bool, late: Duration, over_budget: bool) -> Load {
        let was_blocked = self.blocked_since.take();
        if blocked {
            self.blocked_since = Some(now);
        }
        Load {
            busy: now.saturating_duration_since(self.woke),
            blocked: was_blocked.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            late,
            over_budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::clock;

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let (began, ms) = (clock(), Duration::from_millis);
        let mut meter = LoadMeter::new(began);
        let first = meter.turn(began + ms(3), false, ms(0), false);
        meter.wake(began + ms(50));
        let second = meter.turn(began + ms(52), false, ms(7), true);
        assert_eq!((first.busy, second.busy), (ms(3), ms(2)));
        assert_eq!((second.late, second.over_budget), (ms(7), true));
    }

    #[test]
    fn a_socket_is_full_from_one_turn_to_the_next() {
        let (began, ms) = (clock(), Duration::from_millis);
        let mut meter = LoadMeter::new(began);
        let blocked: Vec<Duration> = [(10, true), (30, true), (35, false), (90, false), (95, true)]
            .map(|(at, blocked)| meter.turn(began + ms(at), blocked, ms(0), false).blocked)
            .into();
        assert_eq!(blocked, [ms(0), ms(20), ms(5), ms(0), ms(0)]);
    }
}
