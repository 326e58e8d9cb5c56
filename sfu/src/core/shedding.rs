//! What an overloaded shard leaves out for which viewer. How far it goes is decided in [`super::overload`].

use std::time::{Duration, Instant};

use media::Kind;

use super::overload::{LayerCap, OverloadLevel, Stage};
use super::{Action, Core};
use crate::PeerEvent;

impl Core {
    /// Sheds so far from now on.
    pub fn shed(&mut self, now: Instant, stage: Stage) {
        self.stage = stage;
        self.rank_viewers(now);
    }

    /// What this shard leaves out.
    pub fn overload(&self) -> OverloadLevel {
        self.stage.level()
    }

    /// Whether some viewer here could get a smaller Layer than others do.
    pub fn lowerable(&self) -> bool {
        self.feeds.values().any(|feed| feed.kind == Kind::Video && feed.track.layers().len() > 1)
    }

    /// How late the oldest burst is that waits to be sent.
    pub fn lateness(&self, now: Instant) -> Duration {
        let waiting = self.audio_queue.iter().chain(&self.video_queue);
        let due = waiting.filter_map(|id| Some(self.feeds.get(id)?.bursts.front()?.due)).min();
        due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// Viewers came or went: the newest ones are others now.
    pub(super) fn follow_ranks(&mut self, now: Instant) {
        if self.stage.level() >= OverloadLevel::LowerLayers && self.ranked != self.counters.viewers_connected
        {
            self.rank_viewers(now);
        }
    }

    fn rank_viewers(&mut self, now: Instant) {
        let connected = |slot| self.viewers.get(slot).filter(|viewer| viewer.is_announced());
        let mut newest_first: Vec<_> =
            (0..self.viewers.end()).filter_map(|slot| Some((connected(slot)?.id, slot))).collect();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        self.ranked = newest_first.len() as u64;
        for (rank, (_, slot)) in newest_first.iter().enumerate() {
            self.cap(now, *slot, self.stage.cap(rank, newest_first.len()));
        }
    }

    fn cap(&mut self, now: Instant, slot: u32, cap: LayerCap) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let before = std::mem::replace(&mut viewer.cap, cap);
        if before == cap {
            return;
        }
        self.counters.viewers_audio_only += u64::from(cap == LayerCap::AudioOnly);
        self.counters.viewers_audio_only -= u64::from(before == LayerCap::AudioOnly);
        self.actions.push_back(Action::Event(viewer.id, PeerEvent::Capped(cap)));
        // Cached groups of pictures to many viewers at once would be the next overload: each begins with the next
        // keyframe instead.
        viewer.patient = before == LayerCap::AudioOnly;
        self.steer(now, slot);
        if let Some(viewer) = self.viewers.get_mut(slot) {
            viewer.patient = false;
        }
    }
}
