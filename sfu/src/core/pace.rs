//! Live pictures for viewers whose lines have shown that they are thin: spread out, and never more than fits.
//!
//! Viewers on clean lines have no pacer and are not touched: their frames leave as one burst, as they come.

use std::time::{Duration, Instant};

use media::Kind;

use super::calm::Look;
use super::down_track::{Flow, Outcome, Pacer, WAIT_LONG, WAIT_MAX};
use super::slice::{Budget, Step, leaves_out};
use super::turns::Turn;
use super::{Core, FeedId};
use crate::bwe::Congestion;
use crate::egress::batch::Batch;
use crate::forward::rewriter::Stamp;

/// A line that takes more than this many times what is sent has room for frames in one piece.
const THIN_PERCENT: u64 = 200;
/// So much of the estimate is used for a frame, if the line takes what is sent on average.
const SPREAD_PERCENT: u64 = 125;
/// An estimate swings between 85 % of what the line takes and all of it. So a line that takes this much of what is
/// needed may well take all, and gets it, a little faster than it comes.
const NEARLY_PERCENT: u64 = 80;
const KEEPS_UP_PERCENT: u64 = 110;
/// Headers and tags on top of the payload.
const OVERHEAD_PERCENT: u64 = 105;
/// The longer packets wait on the line, the slower it is filled: by half from this on.
const DRAIN: Duration = Duration::from_millis(200);
/// Losses that show a line whose bursts are better spread.
const LOSSY: f64 = 0.02;
/// Of such a line so much is made up for by sending faster: what loses more is full ([`Congestion::is_full`]).
const REPAIRED_MAX: f64 = 0.2;

/// What goes to a viewer, in bits per second of payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) audio: u64,
    pub(super) video: u64,
}

/// Whether a line takes what goes to a viewer, by all that is known of it.
pub(super) fn takes(now: Instant, congestion: &Congestion, needed_bps: u64) -> bool {
    congestion.estimate_bps().is_none_or(|estimate| estimate >= needed_bps * OVERHEAD_PERCENT / 100)
        && !congestion.is_full(now)
}

/// Bits per second at which pictures leave. `None`: as they come.
fn pace_bps(now: Instant, congestion: &Congestion, load: Load) -> Option<u64> {
    let estimate = congestion.estimate_bps()?;
    let sound = load.audio * OVERHEAD_PERCENT / 100;
    let needed = sound + load.video * OVERHEAD_PERCENT / 100;
    if estimate >= needed * THIN_PERCENT / 100 {
        return None;
    }
    if !congestion.is_full(now) {
        // It only loses packets: fewer in a row, but no less than there is, and room to send what was lost once more.
        let loss = congestion.loss();
        let repaired = (needed as f64 / (1.0 - loss.min(REPAIRED_MAX))) as u64;
        let spread = estimate.max(repaired) * SPREAD_PERCENT / 100;
        return (loss >= LOSSY).then_some(spread.saturating_sub(sound));
    }
    let all = if estimate >= needed {
        estimate * SPREAD_PERCENT / 100
    } else if estimate >= needed * NEARLY_PERCENT / 100 {
        needed * KEEPS_UP_PERCENT / 100
    } else {
        estimate
    };
    let wait = congestion.queue().min(DRAIN).as_micros() as u64;
    let drained = all - all * wait / (2 * DRAIN.as_micros() as u64);
    Some(drained.saturating_sub(sound).max(estimate / 4))
}

impl Core {
    /// Decides whether a viewer's pictures are spread, and how far.
    pub(super) fn tick_pacer(&mut self, now: Instant, slot: u32, look: Look, load: Load) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let rate = viewer.congestion().and_then(|congestion| pace_bps(now, congestion, load));
        let Some(down) = &mut viewer.video else { return };
        match (&mut down.pacer, rate) {
            (Some(pacer), Some(rate)) => pacer.set_rate(rate),
            (None, Some(rate)) => down.pacer = Some(Box::new(Pacer::new(now, rate))),
            (Some(pacer), None) if pacer.is_empty() => down.pacer = None,
            // What waits goes out first, so that nothing overtakes it.
            (Some(_), None) | (None, None) => {}
        }
        if look == Look::Turn {
            self.round.add_paced(down.pacer.is_some());
        }
    }

    /// Sends what is due to those whose pictures are spread.
    pub(super) fn pace_slice(&mut self, now: Instant, batch: &mut Batch, budget: &Budget) -> Step {
        let mut pacing = std::mem::take(&mut self.pacing);
        let all = pacing.take(now, |slot| self.pace_one(now, slot, batch, budget));
        self.pacing = pacing;
        if all { Step::Done } else { Step::Stop }
    }

    fn pace_one(&mut self, now: Instant, slot: u32, batch: &mut Batch, budget: &Budget) -> Turn {
        loop {
            let Some(viewer) = self.viewers.get_mut(slot) else { return Turn::Ended };
            let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return Turn::Ended };
            let Some((down, mut outlet)) = viewer.outlet(now, Kind::Video, &mut self.counters) else {
                return Turn::Ended;
            };
            let live = matches!(down.flow, Flow::Live { .. });
            let Some(pacer) = down.pacer.as_deref_mut() else { return Turn::Ended };
            if !live {
                pacer.clear();
            }
            if pacer.is_empty() {
                return Turn::Ended;
            }
            if let Some(due) = pacer.wait(now) {
                return Turn::Wait(due);
            }
            if budget.spent(batch) {
                return Turn::Full;
            }
            let seq = pacer.next;
            let Some(packet) = feed.history.get(seq) else {
                pacer.sent(now, 0);
                continue;
            };
            let waited = now.saturating_duration_since(packet.arrival);
            if packet.frame_start {
                if waited > WAIT_MAX {
                    let (first, last) = (pacer.next, pacer.end);
                    let frames = (first..last).filter_map(|seq| feed.history.get(seq));
                    outlet.counters.thin_line_packets += last - first;
                    outlet.counters.paced_frames_dropped +=
                        frames.filter(|packet| packet.frame_start).count() as u64;
                    self.wait_for_keyframe(now, slot);
                    return Turn::Ended;
                }
                pacer.leaving_out = packet.discardable && waited > WAIT_LONG;
                outlet.counters.paced_frames_dropped += u64::from(pacer.leaving_out);
            }
            let too_late = pacer.leaving_out && packet.discardable;
            outlet.counters.thin_line_packets += u64::from(too_late);
            if leaves_out(feed, packet) || too_late {
                pacer.sent(now, 0);
                down.leave_out(packet);
                continue;
            }
            match down.send(packet, Stamp::Own, batch, &mut outlet) {
                Outcome::Sent => {
                    outlet.counters.packets_forwarded += 1;
                    outlet.counters.packets_paced += 1;
                    if let Some(pacer) = down.pacer.as_deref_mut() {
                        pacer.sent(now, packet.payload.len());
                    }
                }
                Outcome::Skipped => {
                    if let Some(pacer) = down.pacer.as_deref_mut() {
                        pacer.sent(now, 0);
                    }
                }
                Outcome::Full => return Turn::Full,
            }
        }
    }

    /// Too much waits for a viewer: nothing more of this group of pictures, and all of the next.
    pub(super) fn wait_for_keyframe(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return };
        let Some(down) = &mut viewer.video else { return };
        down.restart(Flow::Waiting);
        down.not_before = feed.history.end();
        self.ask_encoder(now, slot);
    }

    /// Payload bits per second of a feed; 0 while it is not known.
    pub(super) fn bitrate_bps(&self, feed: Option<FeedId>) -> u64 {
        feed.and_then(|id| self.feeds.get(&id)?.bitrate_bps()).unwrap_or(0)
    }
}
