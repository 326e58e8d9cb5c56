//! Which segments of a Rendition the recording has, for live viewers who go back.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs of segments on disk that are remembered; between two of them something is lost. At the limit the oldest is
/// forgotten: by then the list of live viewers begins behind it.
const RUNS_MAX: usize = 64;

/// Which segments of a Rendition are on disk. Those that are told to be gaps count: nothing of them is missing.
#[derive(Debug, Default)]
pub(crate) struct Stored(Mutex<Runs>);

#[derive(Debug, Default)]
struct Runs {
    /// Numbers that follow each other, the newest last.
    runs: VecDeque<Range<u64>>,
    /// Everything before it was removed, because there was too much.
    removed: u64,
}

impl Stored {
    /// This segment is on disk.
    pub(crate) fn has(&self, msn: u64) -> bool {
        let stored = self.lock();
        msn >= stored.removed && stored.runs.iter().any(|run| run.contains(&msn))
    }

    /// Everything before this number was removed.
    pub(crate) fn removed(&self) -> u64 {
        self.lock().removed
    }

    /// It was removed, and everything before it.
    pub(super) fn remove(&self, msn: u64) {
        let mut stored = self.lock();
        stored.removed = stored.removed.max(msn + 1);
        let removed = stored.removed;
        stored.runs.retain(|run| run.end > removed);
    }

    /// It is whole.
    pub(super) fn add(&self, msn: u64) {
        let runs = &mut self.lock().runs;
        match runs.back_mut().filter(|run| run.end == msn) {
            Some(run) => run.end = msn + 1,
            None => runs.push_back(msn..msn + 1),
        }
        if runs.len() > RUNS_MAX {
            runs.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_takes_nothing_else_away() {
        let stored = Stored::default();
        (3..10).chain(12..15).for_each(|msn| stored.add(msn));
        let has = || (0..20).filter(|msn| stored.has(*msn)).collect::<Vec<_>>();
        assert_eq!(has(), [3, 4, 5, 6, 7, 8, 9, 12, 13, 14]);
        stored.remove(4);
        assert_eq!((has().as_slice(), stored.removed()), (&[5, 6, 7, 8, 9, 12, 13, 14][..], 5));
        stored.remove(9);
        assert_eq!((has().as_slice(), stored.removed()), (&[12, 13, 14][..], 10));
        (100..1000).step_by(2).for_each(|msn| stored.add(msn));
        assert_eq!(stored.lock().runs.len(), RUNS_MAX, "it is bounded");
        assert!(stored.has(998) && !stored.has(12));
    }
}
