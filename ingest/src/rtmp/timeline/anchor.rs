//! The one mapping from the encoder's milliseconds to the Stream's clock.

use super::{NANOS_PER_MILLI, Nanos};

const SECOND: Nanos = 1_000_000_000;

/// A step of the encoder's clock beyond this, in either direction, that the arrival does not bear out is a
/// jump. Audio and video of a badly interleaved encoder lie up to a second apart.
const JUMP: Nanos = 2 * SECOND;

/// Media that lies further from its arrival than this, by whatever small steps it got there, is anchored
/// anew: it bounds all arithmetic behind it.
const ASTRAY: Nanos = 24 * 3600 * SECOND;

/// Drift is looked at over this long, by the message that came quickest: a network that stalls for seconds
/// is no drift.
const DRIFT_WINDOW: Nanos = 10 * SECOND;

/// More drift than this moves the anchor. At 50 ppm, as PC clocks have, that is once in three hours.
const DRIFT_MAX: Nanos = SECOND / 2;

/// A source further ahead than this is pushed faster than real time (a file without pacing). There is no
/// drift to mend then.
const AHEAD_MAX: Nanos = 5 * SECOND;

/// After a jump media goes on at least this far behind what there was.
const STEP_AFTER_JUMP: Nanos = 20 * NANOS_PER_MILLI;

#[derive(Debug, Default)]
pub(super) struct Anchor {
    mapping: Option<Mapping>,
    jumps: u64,
    drifts: u64,
}

#[derive(Debug)]
struct Mapping {
    /// The last timestamp of either kind, and where it lies.
    timestamp: u32,
    at: Nanos,
    /// The latest place handed out.
    newest: Nanos,
    window_began: Nanos,
    /// The smallest (arrival - place) in this window.
    quickest: Option<Nanos>,
}

impl Anchor {
    /// Where a message with this timestamp lies that arrived at `arrival`.
    pub(super) fn place(&mut self, timestamp: u32, arrival: Nanos) -> Nanos {
        let first =
            Mapping { timestamp, at: arrival, newest: arrival, window_began: arrival, quickest: None };
        let mapping = self.mapping.get_or_insert(first);
        // The shorter way round the 32-bit clock: right for wrapping and for small steps back.
        let step = Nanos::from(timestamp.wrapping_sub(mapping.timestamp) as i32) * NANOS_PER_MILLI;
        let mut at = mapping.at + step;
        let off = at - arrival;
        if (step.abs() > JUMP && off.abs() > JUMP) || off.abs() > ASTRAY {
            at = arrival.max(mapping.newest + STEP_AFTER_JUMP);
            self.jumps += 1;
            mapping.window_began = arrival;
            mapping.quickest = None;
        } else if let Some(shift) = mapping.drift(at, arrival) {
            at += shift;
            self.drifts += 1;
        }
        mapping.timestamp = timestamp;
        mapping.at = at;
        mapping.newest = mapping.newest.max(at);
        at
    }

    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    pub(super) fn drifts(&self) -> u64 {
        self.drifts
    }
}

impl Mapping {
    /// At the end of each window: by how much everything has to move, if at all.
    fn drift(&mut self, at: Nanos, arrival: Nanos) -> Option<Nanos> {
        let late = arrival - at;
        let quickest = self.quickest.map_or(late, |quickest| quickest.min(late));
        self.quickest = Some(quickest);
        if arrival - self.window_began < DRIFT_WINDOW {
            return None;
        }
        self.window_began = arrival;
        self.quickest = None;
        (quickest > DRIFT_MAX || (-AHEAD_MAX..-DRIFT_MAX).contains(&quickest)).then_some(quickest)
    }
}
