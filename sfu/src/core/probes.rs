//! Probe packets: what viewers' lines are filled up with for some milliseconds, to see whether they take more.
//!
//! Always on the SSRC of retransmissions, where a receiver expects what it has already: small packets are padding
//! only (RFC 3550 section 5.1), larger ones repeat what was sent lately (RFC 4588), which repairs a loss on the way.

use std::time::Instant;

use media::Kind;

use super::Core;
use super::calm::Look;
use super::down_track::{DownTrack, Outcome};
use super::pace::Load;
use super::slice::{Budget, Step};
use super::turns::Turn;
use crate::egress::batch::Batch;

/// Of the bitrate of the payload that is sent: headers, tags, and a frame that is larger than the others.
const WANTED_PERCENT: u64 = 115;

impl Core {
    /// Looks after a viewer's congestion control.
    pub(super) fn tick_congestion(&mut self, now: Instant, slot: u32, look: Look) {
        let Some(viewer) = self.viewers.get(slot) else { return };
        let (audio, video) = (self.bitrate_bps(viewer.audio_feed), self.bitrate_bps(viewer.video_feed));
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let wanted = viewer.picture.wanted_bps.max((audio + video) * WANTED_PERCENT / 100);
        viewer.set_wanted_bps(wanted);
        // A probe on top of frames that wait for the line would only find itself.
        let waits = viewer.video.as_ref().is_some_and(DownTrack::waits);
        let Some(congestion) = viewer.congestion() else { return };
        congestion.handle_timeout(now, !waits);
        self.counters.add_congestion(&congestion.take_happened());
        if look == Look::Turn {
            self.round.add_estimate(congestion.estimate_bps());
        }
        if let Some(due) = congestion.probe_due() {
            self.probing.add(slot, due);
        }
        self.tick_pacer(now, slot, look, Load { audio, video });
    }

    /// Sends the probe packets that are due.
    pub(super) fn probe_slice(&mut self, now: Instant, batch: &mut Batch, budget: &Budget) -> Step {
        let mut probing = std::mem::take(&mut self.probing);
        let all = probing.take(now, |slot| self.probe_one(now, slot, batch, budget));
        self.probing = probing;
        if all { Step::Done } else { Step::Stop }
    }

    fn probe_one(&mut self, now: Instant, slot: u32, batch: &mut Batch, budget: &Budget) -> Turn {
        let Some(viewer) = self.viewers.get_mut(slot) else { return Turn::Ended };
        let feed = viewer.video_feed.and_then(|id| self.feeds.get(&id));
        loop {
            let Some(congestion) = viewer.congestion() else { return Turn::Ended };
            let Some(bytes) = congestion.poll_probe(now) else {
                return congestion.probe_due().map_or(Turn::Ended, Turn::Wait);
            };
            if budget.spent(batch) {
                return Turn::Full;
            }
            let outlet = viewer.outlet(now, Kind::Video, &mut self.counters);
            let Some((down, mut outlet)) = outlet else { return Turn::Ended };
            match down.send_probe(bytes, feed.map(|feed| &feed.history), batch, &mut outlet) {
                Outcome::Sent => self.counters.packets_probe += 1,
                Outcome::Skipped => return Turn::Ended,
                Outcome::Full => return Turn::Full,
            }
        }
    }
}
