//! What all viewers of a process saw together.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// What all viewers saw together.
#[derive(Default)]
pub struct Tally {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) missing: AtomicI64,
    pub(super) dropped: AtomicU64,
    pub(super) sender_reports: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) full: Full,
    pub(super) joins: Mutex<Vec<f64>>,
    pub(super) trace: Trace,
}

/// What the full viewers saw, those that decrypt.
#[derive(Default)]
pub(super) struct Full {
    pub(super) received: AtomicU64,
    pub(super) decrypted: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) missing: AtomicI64,
}

impl Tally {
    /// Media packets that came, to all viewers.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their bytes, without IP and UDP headers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Holes in the sequence numbers of all viewers, as their (never encrypted) headers tell, those that were
    /// dropped on purpose among them. Viewers that do not decrypt do not ask for repetition either: what they
    /// miss stays missing.
    pub fn missing(&self) -> i64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Packets that came and were dropped on purpose, as a bad line would have done it.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sender reports that came.
    pub fn sender_reports(&self) -> u64 {
        self.sender_reports.load(Ordering::Relaxed)
    }

    /// Viewers that finished ICE and DTLS, and saw a picture begin.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Media packets that came to full viewers and were not dropped on purpose, each once.
    pub fn full_received(&self) -> u64 {
        self.full.received.load(Ordering::Relaxed)
    }

    /// Of those, how many were authentic and readable.
    pub fn full_decrypted(&self) -> u64 {
        self.full.decrypted.load(Ordering::Relaxed)
    }

    /// Of those, how many had come before: repetitions that were not needed, or that crossed.
    pub fn full_repeated(&self) -> u64 {
        self.full.repeated.load(Ordering::Relaxed)
    }

    /// Holes in what full viewers decrypted, after repair.
    pub fn full_missing(&self) -> i64 {
        self.full.missing.load(Ordering::Relaxed)
    }

    /// Milliseconds from the POST to the first video packet, in order; empties the list.
    pub fn take_joins(&self) -> Vec<f64> {
        let mut joins = std::mem::take(&mut *self.joins.lock().expect("no panic while held"));
        joins.sort_by(f64::total_cmp);
        joins
    }

    /// Begins to note when which packets come to the viewer that was told to.
    pub fn start_trace(&self) {
        self.trace.on.store(true, Ordering::Relaxed);
    }

    /// What came to that viewer since.
    pub fn take_trace(&self) -> Vec<Arrival> {
        self.trace.on.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.trace.arrivals.lock().expect("no panic while held"))
    }
}

/// A packet of media, as one viewer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When the system call that brought it returned.
    pub at: Instant,
    /// Its size on the wire, without IP and UDP headers.
    pub bytes: usize,
    /// It is of the picture.
    pub video: bool,
}

#[derive(Default)]
pub(super) struct Trace {
    pub(super) on: AtomicBool,
    pub(super) arrivals: Mutex<Vec<Arrival>>,
}
