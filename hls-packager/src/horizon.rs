//! How far back the live viewers of one Stream may go, all its Renditions the same: by time and by bytes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The bound of one Stream. Segments of all Renditions count together, by their number: what is no longer listed of one is
/// no longer listed of the others, so that no player finds a picture without its sound.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    length: Duration,
    bytes_max: u64,
    listed: Mutex<Listed>,
}

/// One entry per segment number. Each Rendition bounds how many it lists, and forgets here what became too old.
#[derive(Debug, Default)]
struct Listed {
    bytes_of: BTreeMap<u64, u64>,
    bytes: u64,
    /// Everything before it is too much.
    from: u64,
}

impl Horizon {
    /// Back by `length` at most, and by `bytes_max` of what is no longer in memory.
    pub(crate) fn new(length: Duration, bytes_max: u64) -> Self {
        Self { length, bytes_max, listed: Mutex::default() }
    }

    /// By time.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// A Rendition lists `bytes` of segment `msn` behind its window. Says before which number nothing may be listed
    /// any more.
    pub(crate) fn add(&self, msn: u64, bytes: u64) -> u64 {
        let mut listed = self.lock();
        if msn < listed.from {
            // A Rendition that is a segment behind: this is too much already.
            return listed.from;
        }
        *listed.bytes_of.entry(msn).or_default() += bytes;
        listed.bytes += bytes;
        while listed.bytes > self.bytes_max
            && let Some((oldest, of)) = listed.bytes_of.pop_first()
        {
            listed.bytes -= of;
            listed.from = oldest + 1;
        }
        listed.from
    }

    /// Segments before `msn` are too old.
    pub(crate) fn forget(&self, msn: u64) {
        let mut listed = self.lock();
        while let Some(entry) = listed.bytes_of.first_entry().filter(|entry| *entry.key() < msn) {
            let of = entry.remove();
            listed.bytes -= of;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_from_all_renditions_when_they_are_too_large_together() {
        let horizon = Horizon::new(Duration::from_secs(60), 100);
        for msn in 0..5 {
            assert_eq!((horizon.add(msn, 15), horizon.add(msn, 5)), (0, 0), "{msn}");
        }
        // Picture and sound of segment 0 go with the first byte that is too much, and no more.
        assert_eq!((horizon.add(5, 15), horizon.add(5, 5)), (1, 1));
        assert_eq!(horizon.add(6, 1), 2);
        // What is larger than everything may be leaves nothing.
        assert_eq!(horizon.add(7, 101), 8);
        assert_eq!(horizon.add(8, 100), 8);
    }

    #[test]
    fn what_is_too_old_does_not_count() {
        let horizon = Horizon::new(Duration::from_secs(60), 100);
        for msn in 0..10_000 {
            horizon.forget(u64::saturating_sub(msn, 3));
            assert_eq!(horizon.add(msn, 25), 0, "{msn}");
            assert!(horizon.lock().bytes_of.len() <= 4);
        }
    }
}
