//! Viewers who get something by and by: who they are, and when the first of them has its turn.

use std::time::Instant;

/// A list of viewers' slots, each at most once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    slots: Vec<u32>,
    due: Option<Instant>,
}

/// How a viewer's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has another one then.
    Wait(Instant),
    /// It gets nothing more.
    Ended,
    /// The batch is full, or the slice is.
    Full,
}

impl Turns {
    /// A viewer has its turn then.
    pub(super) fn add(&mut self, slot: u32, at: Instant) {
        if !self.slots.contains(&slot) {
            self.slots.push(slot);
        }
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// A viewer gets nothing more.
    pub(super) fn remove(&mut self, slot: u32) {
        self.slots.retain(|other| *other != slot);
    }

    /// When the first turn is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.slots.is_empty())
    }

    /// Gives everybody a turn, if one is due. False: there was no room for all.
    pub(super) fn take(&mut self, now: Instant, mut one: impl FnMut(u32) -> Turn) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return true;
        }
        let mut next: Option<Instant> = None;
        let mut at = 0;
        while let Some(slot) = self.slots.get(at).copied() {
            match one(slot) {
                Turn::Wait(until) => {
                    next = Some(next.map_or(until, |next| next.min(until)));
                    at += 1;
                }
                Turn::Ended => drop(self.slots.swap_remove(at)),
                Turn::Full => return false,
            }
        }
        self.due = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::up_track::beginning;

    #[test]
    fn everybody_has_a_turn_when_the_first_is_due() {
        let (now, later) = (beginning(), beginning() + Duration::from_millis(5));
        let mut turns = Turns::default();
        turns.add(7, later);
        turns.add(8, now);
        turns.add(7, later);
        assert_eq!(turns.due(), Some(now));
        let mut seen = Vec::new();
        assert!(turns.take(now, |slot| {
            seen.push(slot);
            if slot == 7 { Turn::Wait(later) } else { Turn::Ended }
        }));
        assert_eq!(seen, [7, 8]);
        assert_eq!(turns.due(), Some(later));
        assert!(turns.take(now, |_| panic!("not yet")));
        assert!(!turns.take(later, |_| Turn::Full));
        assert_eq!(turns.due(), Some(later), "it goes on at once");
        turns.remove(7);
        assert_eq!(turns.due(), None);
    }
}
