//! Which viewers need no look at every tick: those whose media flows over a line that takes it.
//!
//! A look costs as much as half a packet, and a small stream has less than one packet per viewer and tick. Nothing of
//! a calm viewer waits for a tick but its reports, liveness, a new Track, and the way up to a better Layer.

use std::time::{Duration, Instant};

use super::down_track::{DownTrack, Flow};
use super::pace::takes;
use super::{Core, FeedId};

/// How often liveness, Tracks and reports are looked at while there are Peers.
pub(super) const TICK: Duration = Duration::from_millis(25);
/// While all are calm, a tick that is due waits so long for something else that wakes the shard, and goes with it
/// (docs/adr/0029).
const TICK_SLACK: Duration = Duration::from_millis(10);
/// A calm viewer is looked after at one of so many ticks.
pub(super) const TICKS: u32 = 16;
/// One whose picture has several Layers: they come and go.
const LAYERED_TICKS: u32 = 8;
/// A viewer that came so lately is not calm: reports follow closely, the estimate begins, sound and picture find together.
const SETTLED: Duration = Duration::from_secs(5);

/// What a tick is to a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Once in [`TICKS`], for everybody.
    Turn,
    /// Another one, for who is not calm.
    Extra,
}

/// Who is looked after how often.
#[derive(Debug, Default)]
pub(super) struct Calm {
    tick: u32,
    /// By slot: at one of so many ticks.
    every: Vec<u32>,
    /// How many are looked after more often than once in [`TICKS`].
    restless: usize,
}

impl Calm {
    /// The next tick. True: a round of turns begins.
    pub(super) fn advance(&mut self) -> bool {
        self.tick = (self.tick + 1) % TICKS;
        self.tick == 0
    }

    /// Whether a viewer is looked after at this tick.
    pub(super) fn look(&self, slot: u32) -> Option<Look> {
        if slot % TICKS == self.tick {
            return Some(Look::Turn);
        }
        let every = self.every.get(slot as usize).copied().unwrap_or(1);
        (slot % every == self.tick % every).then_some(Look::Extra)
    }

    /// How long a tick that is due may wait. Whose line is thin, or whose Layers come and go, waits for nothing.
    pub(super) fn slack(&self) -> Duration {
        if self.restless == 0 { TICK_SLACK } else { Duration::ZERO }
    }

    /// That viewer is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        self.set(slot, TICKS);
    }

    /// From now on at every tick.
    pub(super) fn disturb(&mut self, slot: u32) {
        self.set(slot, 1);
    }

    fn set(&mut self, slot: u32, every: u32) {
        let at = slot as usize;
        if at >= self.every.len() {
            self.every.resize(at + 1, TICKS);
        }
        let before = std::mem::replace(&mut self.every[at], every);
        self.restless = self.restless + usize::from(every < TICKS) - usize::from(before < TICKS);
    }
}

impl Core {
    /// Sees whether nothing about a viewer is about to change.
    pub(super) fn see_whether_calm(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get(slot) else { return };
        let needed_bps = self.bitrate_bps(viewer.audio_feed) + self.bitrate_bps(viewer.video_feed);
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let settled = viewer.connected_at().is_some_and(|at| now.saturating_duration_since(at) >= SETTLED);
        let lines = [(viewer.audio.as_ref(), viewer.audio_feed), (viewer.video.as_ref(), viewer.video_feed)];
        let calm = settled
            && all_flows(lines)
            && viewer.picture.target.is_none()
            && !viewer.is_choked()
            && viewer.congestion().is_none_or(|congestion| takes(now, congestion, needed_bps));
        let every = match (calm, viewer.picture.layers) {
            (false, _) => 1,
            (true, ..=1) => TICKS,
            (true, _) => LAYERED_TICKS,
        };
        self.calm.set(slot, every);
    }
}

/// Whether what there is for a viewer flows, or was paused by it. A Stream may have no sound, or no picture: nothing is to
/// be done about that line if the other one flows.
fn all_flows(lines: [(Option<&DownTrack>, Option<FeedId>); 2]) -> bool {
    let flows =
        |down: &DownTrack| down.paused || (matches!(down.flow, Flow::Live { .. }) && down.pacer.is_none());
    let mut fed = lines.into_iter().filter_map(|(down, feed)| feed.and(down)).peekable();
    fed.peek().is_some() && fed.all(flows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::down_track::tests::line;
    use crate::core::up_track::beginning;

    #[test]
    fn everybody_has_a_turn_and_who_is_not_calm_more() {
        let mut calm = Calm::default();
        (0..TICKS).for_each(|slot| calm.disturb(slot));
        calm.set(1, TICKS);
        calm.set(6, TICKS);
        calm.set(9, LAYERED_TICKS);
        calm.set(12, TICKS);
        calm.disturb(12);
        let mut looks = [[0, 0]; TICKS as usize];
        let mut rounds = 0;
        for _ in 0..10 * TICKS {
            rounds += u32::from(calm.advance());
            for slot in 0..TICKS {
                match calm.look(slot) {
                    Some(Look::Turn) => looks[slot as usize][0] += 1,
                    Some(Look::Extra) => looks[slot as usize][1] += 1,
                    None => {}
                }
            }
        }
        assert_eq!(rounds, 10);
        for (slot, look) in looks.into_iter().enumerate() {
            let extra = match slot {
                1 | 6 => 0,
                9 => 10,
                _ => 150,
            };
            assert_eq!(look, [10, extra], "{slot}");
        }
    }

    #[test]
    fn a_tick_goes_with_what_wakes_the_shard_and_wakes_it_itself_only_later() {
        let due = beginning();
        let mut core = Core::new();
        core.next_tick = Some(due);
        assert_eq!(core.poll_timeout(), Some(due + TICK_SLACK));
        for (every, slack) in [(1, Duration::ZERO), (LAYERED_TICKS, Duration::ZERO), (TICKS, TICK_SLACK)] {
            core.calm.disturb(7);
            core.calm.set(7, every);
            assert_eq!(core.poll_timeout(), Some(due + slack), "one who is looked after every {every} ticks");
        }
        core.calm.disturb(7);
        core.calm.forget(7);
        assert_eq!(core.calm.slack(), TICK_SLACK, "it is gone");
        core.handle_timeout(due - Duration::from_millis(1));
        assert_eq!(core.calm.tick, 0, "not yet");
        core.handle_timeout(due);
        assert_eq!(core.calm.tick, 1, "something woke the shard");
    }

    #[test]
    fn who_gets_all_that_there_is_is_calm() {
        let live = Flow::Live { from: 0 };
        for (what, audio, video, calm) in [
            ("sound and picture", Some(&live), Some(&live), true),
            ("no sound", None, Some(&live), true),
            ("no picture", Some(&live), None, true),
            ("nothing is there yet", None, None, false),
            ("the picture waits for a keyframe", Some(&live), Some(&Flow::Waiting), false),
            ("the picture cannot be sent", Some(&live), Some(&Flow::Stopped), false),
        ] {
            let downs = [audio, video].map(|flow| {
                let mut down = DownTrack::new(line(None));
                match flow {
                    Some(Flow::Live { from }) => down.flow = Flow::Live { from: *from },
                    Some(Flow::Waiting) => down.flow = Flow::Waiting,
                    _ => down.flow = Flow::Stopped,
                }
                (down, flow.map(|_| FeedId(1)))
            });
            let lines = || [0, 1].map(|at: usize| (Some(&downs[at].0), downs[at].1));
            assert_eq!(all_flows(lines()), calm, "{what}");
        }
        let mut paused = DownTrack::new(line(None));
        paused.paused = true;
        assert!(all_flows([(Some(&paused), Some(FeedId(1))), (None, None)]), "the viewer wants it so");
    }
}
