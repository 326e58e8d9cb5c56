//! What the transcoder counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters of all jobs since the start. `server` renders them as `swiftwater_transcode_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Derived Tracks that exist now.
    pub jobs: u64,
    /// Derived Tracks whose conversion runs now, because somebody reads them.
    pub jobs_running: u64,
    /// Derived Tracks that were not made because `jobs_max` was reached or the codec is not built in.
    pub jobs_refused: u64,
    /// Frames read from source Tracks.
    pub frames_in: u64,
    /// Frames written to derived Tracks.
    pub frames_out: u64,
    /// Source frames skipped because the pool could not keep up, or that cannot be decoded at all.
    pub frames_dropped: u64,
    /// Single samples inserted or removed to follow a source's clock.
    pub drift_corrections: u64,
    /// Times that silence was inserted or sound removed, because the source's timestamps stepped.
    pub reanchors: u64,
    /// Lost Opus packets' worth of sound that the decoder made up, in times.
    pub concealments: u64,
    /// Frames that did not decode or encode.
    pub errors: u64,
    /// Jobs that ended by a panic in a codec.
    pub panics: u64,
}

/// The same, written by jobs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) jobs: AtomicU64,
    pub(crate) jobs_running: AtomicU64,
    pub(crate) jobs_refused: AtomicU64,
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) frames_dropped: AtomicU64,
    pub(crate) drift_corrections: AtomicU64,
    pub(crate) reanchors: AtomicU64,
    pub(crate) concealments: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) panics: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            jobs: get(&self.jobs),
            jobs_running: get(&self.jobs_running),
            jobs_refused: get(&self.jobs_refused),
            frames_in: get(&self.frames_in),
            frames_out: get(&self.frames_out),
            frames_dropped: get(&self.frames_dropped),
            drift_corrections: get(&self.drift_corrections),
            reanchors: get(&self.reanchors),
            concealments: get(&self.concealments),
            errors: get(&self.errors),
            panics: get(&self.panics),
        }
    }
}
