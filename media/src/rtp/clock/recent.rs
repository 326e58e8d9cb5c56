//! What the newest timestamps of a source became.

/// Timestamps whose times are remembered, so that a late packet gets the time of its frame: half a second of
/// 120 frames per second. A later one gets a time near it.
const RECENT_MAX: usize = 64;

/// The newest timestamps and the times that they got.
#[derive(Debug)]
pub(super) struct Recent {
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
    pub(super) fn get(&self, timestamp: i64) -> Option<i64> {
        // Nearly always it is the newest one.
        if let Some((newest, ticks)) = self.newest
            && newest == timestamp
        {
            return Some(ticks);
        }
        self.entries[..self.count].iter().find(|(known, _)| *known == timestamp).map(|&(_, ticks)| ticks)
    }

    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        self.newest
    }

    pub(super) fn insert(&mut self, timestamp: i64, ticks: i64) {
        self.entries[self.next] = (timestamp, ticks);
        self.next = (self.next + 1) % RECENT_MAX;
        self.count = (self.count + 1).min(RECENT_MAX);
        if self.newest.is_none_or(|(newest, _)| timestamp > newest) {
            self.newest = Some((timestamp, ticks));
        }
    }
}
