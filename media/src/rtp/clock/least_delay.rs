//! How late the least delayed packet was lately.

/// The least delay is taken over the last one or two of these: long enough to hold an undelayed packet of a
/// congested link, short enough to follow a drifting sender.
pub(super) const WINDOW_MICROS: i64 = 2_500_000;

/// The least of the values of the last window to twice that, in microseconds.
#[derive(Debug)]
pub(super) struct LeastDelay {
    window: i64,
    begun: i64,
    current: i64,
    previous: i64,
}

impl LeastDelay {
    pub(super) fn over(window: i64) -> Self {
        Self { window, begun: i64::MIN, current: i64::MAX, previous: i64::MAX }
    }

    pub(super) fn add(&mut self, at: i64, value: i64) {
        let age = at.saturating_sub(self.begun);
        if age >= self.window {
            self.previous = if age < 2 * self.window { self.current } else { i64::MAX };
            self.current = i64::MAX;
            self.begun = at;
        }
        self.current = self.current.min(value);
    }

    pub(super) fn least(&self) -> i64 {
        self.current.min(self.previous)
    }
}
