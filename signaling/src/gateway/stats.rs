//! What the gateway counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Live counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) frames_in: AtomicU64,
    pub(super) bad_frames: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) slowmode: AtomicU64,
    pub(super) guests_slowed: AtomicU64,
    pub(super) silenced: AtomicU64,
    pub(super) plays: AtomicU64,
    pub(super) fallbacks: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) slow_consumers: AtomicU64,
    pub(super) gaps: AtomicU64,
}

/// A copy of them.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Sockets now.
    pub connections: u64,
    /// Rooms with a history.
    pub rooms: u64,
    /// Sessions that wait for their socket to come back.
    pub sessions: u64,
    /// Sockets since the start.
    pub opened: u64,
    /// Sockets refused because of the limit.
    pub refused: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Frames that were no valid request.
    pub bad_frames: u64,
    /// Chat messages accepted.
    pub messages: u64,
    /// Chat messages refused by the rate limit or by the channel's slow mode.
    pub slowmode: u64,
    /// Chat messages of guests refused because those of their network wrote too many.
    pub guests_slowed: u64,
    /// Chat messages refused because their author may not speak: banned, suspended, no follower, no subscriber.
    pub silenced: u64,
    /// `rtc.play` answered.
    pub plays: u64,
    /// Viewers sent to HLS.
    pub fallbacks: u64,
    /// Sessions that came back.
    pub resumed: u64,
    /// Sockets closed because they did not drain.
    pub slow_consumers: u64,
    /// Holes told to slow members.
    pub gaps: u64,
}

impl Counters {
    pub(super) fn snapshot(&self, rooms: u64, sessions: u64) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: get(&self.connections),
            rooms,
            sessions,
            opened: get(&self.opened),
            refused: get(&self.refused),
            frames_in: get(&self.frames_in),
            bad_frames: get(&self.bad_frames),
            messages: get(&self.messages),
            slowmode: get(&self.slowmode),
            guests_slowed: get(&self.guests_slowed),
            silenced: get(&self.silenced),
            plays: get(&self.plays),
            fallbacks: get(&self.fallbacks),
            resumed: get(&self.resumed),
            slow_consumers: get(&self.slow_consumers),
            gaps: get(&self.gaps),
        }
    }
}
