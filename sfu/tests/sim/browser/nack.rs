//! When a browser asks for a packet again: the rules of libwebrtc (`modules/video_coding/nack_requester.cc`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Chromium measures no round trip while it only receives, and takes this one.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// How often it looks for what to ask for again.
pub(super) const PROCESS_INTERVAL: Duration = Duration::from_millis(20);
const RETRIES_MAX: u8 = 10;
const PACKETS_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Nack {
    newest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

struct Missing {
    asked_at: Instant,
    asked: u8,
}

impl Nack {
    /// The full number of a packet, given that it is near the newest one.
    pub(super) fn extend(&self, number: u16) -> u64 {
        let Some(newest) = self.newest else { return u64::from(number) + (1 << 16) };
        newest.saturating_add_signed(i64::from(number.wrapping_sub(newest as u16) as i16))
    }

    /// A packet came; `recovered`: by retransmission. Says what to ask for at once. `Err`: too much is missing,
    /// ask for a keyframe.
    pub(super) fn insert(&mut self, now: Instant, seq: u64, recovered: bool) -> Result<Vec<u16>, ()> {
        self.missing.remove(&seq);
        let Some(newest) = self.newest else {
            self.newest = Some(seq);
            return Ok(Vec::new());
        };
        if recovered || seq <= newest {
            return Ok(Vec::new());
        }
        self.newest = Some(seq);
        let hole = newest + 1..seq;
        if self.missing.len() + hole.clone().count() > PACKETS_MAX {
            self.missing.clear();
            return Err(());
        }
        self.missing.extend(hole.clone().map(|seq| (seq, Missing { asked_at: now, asked: 1 })));
        Ok(hole.map(|seq| seq as u16).collect())
    }

    /// What to ask for once more.
    pub(super) fn process(&mut self, now: Instant) -> Vec<u16> {
        let mut due = Vec::new();
        self.missing.retain(|seq, missing| {
            if now.saturating_duration_since(missing.asked_at) >= ROUND_TRIP {
                missing.asked_at = now;
                missing.asked += 1;
                due.push(*seq as u16);
            }
            missing.asked < RETRIES_MAX
        });
        due
    }

    /// A keyframe began there: what is missing before it is not needed.
    pub(super) fn forget_before(&mut self, seq: u64) {
        self.missing = self.missing.split_off(&seq);
    }
}
