//! Decisions that need not be asked for again, and questions that several wait for. Sans-I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Decisions kept: viewers who came within the cache's time. One has about 300 bytes, so 5 MB. Over it the oldest is
/// forgotten, which costs one more question; `swiftwater_hooks_decisions` shows how many there are.
pub(super) const DECISIONS_MAX: usize = 16_384;

/// What was asked.
pub(super) type Key = [u8; 32];

/// A question that is being asked, or its answer.
pub(super) type Cell<T> = Arc<OnceCell<T>>;

/// The table.
#[derive(Debug)]
pub(super) struct Decisions<T> {
    cells: HashMap<Key, Entry<T>>,
    /// Keys by age. An entry that was replaced is in it twice, and told apart by its number.
    ages: VecDeque<(u64, Key)>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    cell: Cell<T>,
    /// `None`: the answer is not there yet.
    until: Option<Instant>,
}

impl<T> Default for Decisions<T> {
    fn default() -> Self {
        Self { cells: HashMap::new(), ages: VecDeque::new(), next: 0 }
    }
}

impl<T> Decisions<T> {
    /// The cell of a question: its answer if there is one that is still good; else the one who fills it asks, and
    /// the others wait.
    pub(super) fn cell(&mut self, key: Key, now: Instant) -> Cell<T> {
        if let Some(entry) = self.cells.get(&key)
            && entry.until.is_none_or(|until| now < until)
        {
            return Arc::clone(&entry.cell);
        }
        let cell = Cell::default();
        self.insert(key, Arc::clone(&cell), None);
        cell
    }

    /// An answer that is there and still good.
    pub(super) fn known(&self, key: &Key, now: Instant) -> Option<Cell<T>> {
        let entry = self.cells.get(key)?;
        entry.until.filter(|until| now < *until)?;
        Some(Arc::clone(&entry.cell))
    }

    /// The answer came and is good for `lifetime`; with none, it is forgotten at once.
    pub(super) fn decided(&mut self, key: Key, cell: &Cell<T>, now: Instant, lifetime: Duration) {
        let Some(entry) = self.cells.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else {
            return;
        };
        if lifetime.is_zero() {
            self.cells.remove(&key);
        } else if entry.until.is_none() {
            entry.until = Some(now + lifetime);
        }
    }

    /// Keeps an answer that nobody else waited for.
    pub(super) fn keep(&mut self, key: Key, answer: T, now: Instant, lifetime: Duration) {
        if !lifetime.is_zero() {
            self.insert(key, Arc::new(OnceCell::new_with(Some(answer))), Some(now + lifetime));
        }
    }

    /// Forgets what is too old. Call it about once a second.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Cell<T>> {
        let old: Vec<Key> = self
            .cells
            .iter()
            .filter(|(_, entry)| entry.until.is_some_and(|until| until <= now))
            .map(|(key, _)| *key)
            .collect();
        let old = old.iter().filter_map(|key| self.cells.remove(key)).map(|entry| entry.cell).collect();
        let cells = &self.cells;
        self.ages.retain(|(number, key)| cells.get(key).is_some_and(|entry| entry.number == *number));
        old
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    fn insert(&mut self, key: Key, cell: Cell<T>, until: Option<Instant>) {
        self.next += 1;
        self.cells.insert(key, Entry { number: self.next, cell, until });
        self.ages.push_back((self.next, key));
        // Keys that were replaced or removed wait here for their turn, so the queue has a bound of its own.
        while self.cells.len() > DECISIONS_MAX || self.ages.len() > 2 * DECISIONS_MAX {
            let Some((number, key)) = self.ages.pop_front() else { return };
            if self.cells.get(&key).is_some_and(|entry| entry.number == number) {
                self.cells.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    fn key(number: u64) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[tokio::test]
    async fn an_answer_is_good_for_its_time() {
        let mut decisions = Decisions::default();
        let start = Instant::now();
        let cell = decisions.cell(key(1), start);
        // While the question is open everybody gets the same cell, however long it takes.
        assert!(Arc::ptr_eq(&cell, &decisions.cell(key(1), start + 100 * LIFETIME)));
        cell.set(7).expect("empty");
        decisions.decided(key(1), &cell, start, LIFETIME);
        let later = |parts: u32| start + LIFETIME * parts / 2;
        assert_eq!(decisions.cell(key(1), later(1)).get(), Some(&7));
        assert!(decisions.known(&key(1), later(1)).is_some());
        // Who uses it does not make it younger.
        decisions.decided(key(1), &cell, later(1), LIFETIME);
        assert!(decisions.known(&key(1), later(2)).is_none());
        assert_eq!(decisions.cell(key(1), later(2)).get(), None);
    }

    #[tokio::test]
    async fn an_answer_without_a_lifetime_is_not_kept() {
        let mut decisions = Decisions::default();
        let now = Instant::now();
        let cell = decisions.cell(key(1), now);
        cell.set(7).expect("empty");
        decisions.decided(key(1), &cell, now, Duration::ZERO);
        decisions.keep(key(2), 8, now, Duration::ZERO);
        assert_eq!(decisions.len(), 0);
    }

    #[tokio::test]
    async fn a_flood_of_questions_is_bounded() {
        let mut decisions = Decisions::default();
        let now = Instant::now();
        for number in 0..200_000 {
            if number % 2 == 0 {
                decisions.keep(key(number), number, now, LIFETIME);
            } else {
                // Asked, answered and forgotten at once: its age lingers.
                let cell = decisions.cell(key(number), now);
                decisions.decided(key(number), &cell, now, Duration::ZERO);
            }
            assert!(decisions.len() <= DECISIONS_MAX && decisions.ages.len() <= 2 * DECISIONS_MAX);
        }
        assert!(decisions.known(&key(199_998), now).is_some(), "the newest are kept");
        assert!(decisions.sweep(now + LIFETIME).len() > DECISIONS_MAX / 2);
        assert_eq!((decisions.len(), decisions.ages.len()), (0, 0));
    }
}
