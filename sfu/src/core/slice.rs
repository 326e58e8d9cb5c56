//! What is sent next: audio, retransmissions, live pictures, probes, catch-up bursts, in this order, a slice at a time.
//!
//! A job is a feed, a range of its packets and a cursor (next viewer, next packet), so it can stop anywhere
//! and go on after the shell has sent and looked at its sockets. Per viewer, the packets of a burst are pushed
//! one after the other, so that they leave as one GSO run.

use std::collections::VecDeque;
use std::time::Instant;

use media::{Kind, Reordering, RtpPacket};

use super::catch_up::Turn;
use super::counters::Counters;
use super::down_track::{Flow, Outcome};
use super::feed::{Feed, STALE};
use super::viewer::{Viewer, prefetch_first_turns, prefetch_turns};
use super::{Core, FeedId};
use crate::PeerId;
use crate::egress::batch::{Batch, FrameKind};
use crate::forward::rewriter::Stamp;

/// Bytes of a slice: half a millisecond of sealing. After it the shell sends, and reads its sockets.
const SLICE_BYTES: usize = 256 * 1024;
/// Retransmissions that wait at most; more are not taken on (`nack_throttled`).
pub(super) const RESENDS_MAX: usize = 4096;

/// A packet to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resend {
    pub(super) slot: u32,
    /// The slot may have another viewer when its turn comes.
    pub(super) id: PeerId,
    pub(super) kind: Kind,
    pub(super) index: u64,
}

/// How a job ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is done.
    Done,
    /// The batch is full, or the slice is.
    Stop,
}

/// Room in a slice.
#[derive(Debug)]
pub(super) struct Budget {
    until: usize,
}

impl Budget {
    pub(super) fn spent(&self, batch: &Batch) -> bool {
        batch.len() >= self.until
    }
}

impl Core {
    /// Seals media into `batch` until it is full or a slice is done. True: more waits.
    pub fn next_slice(&mut self, now: Instant, batch: &mut Batch) -> bool {
        let budget = Budget { until: batch.len() + SLICE_BYTES };
        self.live_slice(now, Kind::Audio, batch, &budget) == Step::Stop
            || self.resend_slice(now, batch, &budget) == Step::Stop
            || self.video_slice(now, batch, &budget) == Step::Stop
            || self.probe_slice(now, batch, &budget) == Step::Stop
            || self.catch_up_slice(now, batch, &budget) == Step::Stop
    }

    fn video_slice(&mut self, now: Instant, batch: &mut Batch, budget: &Budget) -> Step {
        let done = self.live_slice(now, Kind::Video, batch, budget) == Step::Done
            && self.pace_slice(now, batch, budget) == Step::Done;
        // Frames may have ended that those wait for who go to another Layer.
        self.land_arrivals(now);
        if done { Step::Done } else { Step::Stop }
    }

    fn live_slice(&mut self, now: Instant, kind: Kind, batch: &mut Batch, budget: &Budget) -> Step {
        // Feeds in a row whose next burst is paced and not due yet; when all are, there is nothing to do.
        let mut early = 0;
        let mut due: Option<Instant> = None;
        while let Some(id) = self.queue(kind).front().copied() {
            if early == self.queue(kind).len() {
                break;
            }
            if budget.spent(batch) {
                return Step::Stop;
            }
            self.queue(kind).pop_front();
            let next = self.feeds.get(&id).and_then(|feed| feed.bursts.front()).map(|burst| burst.due);
            if let Some(next) = next.filter(|next| *next > now) {
                due = Some(due.map_or(next, |due| due.min(next)));
                early += 1;
                self.queue(kind).push_back(id);
                continue;
            }
            early = 0;
            if self.send_burst(now, id, batch, budget) == Step::Stop {
                // The same frame goes on first.
                self.queue(kind).push_front(id);
                return Step::Stop;
            }
            let Some(feed) = self.feeds.get_mut(&id) else { continue };
            feed.queued = !feed.bursts.is_empty();
            if feed.queued {
                // One burst of each feed in turn.
                self.queue(kind).push_back(id);
            }
        }
        if kind == Kind::Video {
            self.paced_due = due;
        }
        Step::Done
    }

    fn queue(&mut self, kind: Kind) -> &mut VecDeque<FeedId> {
        match kind {
            Kind::Audio => &mut self.audio_queue,
            Kind::Video => &mut self.video_queue,
        }
    }

    /// Sends the oldest burst of a feed to its viewers.
    fn send_burst(&mut self, now: Instant, id: FeedId, batch: &mut Batch, budget: &Budget) -> Step {
        let Some(feed) = self.feeds.get(&id) else { return Step::Done };
        let Some(mut burst) = feed.bursts.front().copied() else { return Step::Done };
        let stale = now.saturating_duration_since(burst.arrival) > STALE;
        if feed.aspirants > 0
            && !stale
            && let Some((first, whole)) = feed.beginning_keyframe()
        {
            self.keyframe_begins(now, id, first, whole);
        }
        let Some(feed) = self.feeds.get_mut(&id) else { return Step::Done };
        prefetch_first_turns(&self.viewers, &feed.viewers, burst.viewer, feed.kind);
        while let Some(slot) = feed.viewers.get(burst.viewer).copied() {
            prefetch_turns(&self.viewers, &feed.viewers, burst.viewer, feed.kind);
            // A frame that has begun for a viewer is finished; for the others it is dropped as a whole.
            if stale && burst.next == burst.from {
                let left = (feed.viewers.len() - burst.viewer).saturating_sub(feed.aspirants as usize) as u64;
                self.counters.stale_frames += left;
                self.counters.stale_packets += left * (burst.to - burst.from);
                break;
            }
            if let Some(viewer) = self.viewers.get_mut(slot)
                && viewer.takes(now, id, feed.kind, burst.ticks)
            {
                match send_live(now, viewer, feed, burst.next, burst.to, batch, &mut self.counters) {
                    Ok(Live::Sent) => {}
                    Ok(Live::Waits) => self.pacing.add(slot, now),
                    Err(next) => {
                        burst.next = next;
                        feed.bursts[0] = burst;
                        return Step::Stop;
                    }
                }
            }
            burst.viewer += 1;
            burst.next = burst.from;
            if budget.spent(batch) && burst.viewer < feed.viewers.len() {
                feed.bursts[0] = burst;
                return Step::Stop;
            }
        }
        feed.bursts.pop_front();
        Step::Done
    }

    fn resend_slice(&mut self, now: Instant, batch: &mut Batch, budget: &Budget) -> Step {
        while let Some(resend) = self.resends.front().copied() {
            if budget.spent(batch) {
                return Step::Stop;
            }
            let outcome = self.send_again(now, &resend, batch);
            if outcome == Outcome::Full {
                return Step::Stop;
            }
            self.counters.packets_resent += u64::from(outcome == Outcome::Sent);
            self.resends.pop_front();
        }
        Step::Done
    }

    fn send_again(&mut self, now: Instant, resend: &Resend, batch: &mut Batch) -> Outcome {
        let Some(viewer) = self.viewers.get_mut(resend.slot) else { return Outcome::Skipped };
        if viewer.id != resend.id || (resend.kind == Kind::Video && viewer.is_choked()) {
            return Outcome::Skipped;
        }
        let Some(feed) = viewer.feed_of(resend.kind, resend.index).and_then(|id| self.feeds.get(&id)) else {
            self.counters.nack_superseded += 1;
            return Outcome::Skipped;
        };
        let Some((down, mut outlet)) = viewer.outlet(now, resend.kind, &mut self.counters) else {
            return Outcome::Skipped;
        };
        let outcome = down.resend(resend.index, &feed.history, batch, &mut outlet);
        down.tally.resent += u64::from(outcome == Outcome::Sent);
        outcome
    }

    fn catch_up_slice(&mut self, now: Instant, batch: &mut Batch, budget: &Budget) -> Step {
        if self.catch_up_due.is_none_or(|due| due > now) {
            return Step::Done;
        }
        let mut due: Option<Instant> = None;
        let mut at = 0;
        while let Some(slot) = self.catching_up.get(at).copied() {
            if budget.spent(batch) {
                return Step::Stop;
            }
            match self.catch_up_one(now, slot, batch, budget) {
                Progress::Wait(until) => {
                    due = Some(due.map_or(until, |due| due.min(until)));
                    at += 1;
                }
                Progress::Ended => drop(self.catching_up.swap_remove(at)),
                Progress::Full => return Step::Stop,
            }
        }
        self.catch_up_due = due;
        Step::Done
    }

    /// Sends the frames of a viewer's burst whose turn it is.
    fn catch_up_one(&mut self, now: Instant, slot: u32, batch: &mut Batch, budget: &Budget) -> Progress {
        let Some(viewer) = self.viewers.get_mut(slot) else { return Progress::Ended };
        let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return Progress::Ended };
        loop {
            let Some(down) = viewer.video.as_mut() else { return Progress::Ended };
            let Flow::CatchUp(catch_up) = &mut down.flow else { return Progress::Ended };
            if let Some(congestion) = &viewer.congestion
                && let Some(line_bps) = congestion.burst_bps()
            {
                let media_bps = feed.bitrate_bps().unwrap_or(0);
                catch_up.set_rate(line_bps, media_bps);
                let keyframe = feed.history.newest_keyframe().unwrap_or(0);
                // A keyframe is sent in any case: a still picture is better than none.
                if congestion.burst_is_limited()
                    && catch_up.next > keyframe
                    && catch_up.looks(now)
                    && catch_up.is_too_slow(now, feed.history.bytes_from(catch_up.next), media_bps)
                {
                    self.line_too_slow(now, slot);
                    return Progress::Ended;
                }
            }
            match catch_up.turn(now) {
                Turn::Wait(until) => return Progress::Wait(until),
                Turn::GiveUp => {
                    self.counters.catch_up_abandoned += 1;
                    down.restart(Flow::Waiting);
                    return Progress::Ended;
                }
                Turn::Go => {}
            }
            if !catch_up.in_frame
                && let Some(keyframe) = feed.history.newest_keyframe().filter(|first| *first > catch_up.next)
            {
                // The source began a new group meanwhile: nothing before it is needed any more, nor kept.
                catch_up.next = keyframe;
                down.begin_anew();
            }
            let Flow::CatchUp(catch_up) = &mut down.flow else { return Progress::Ended };
            let from = catch_up.next;
            let end = frame_end(feed, from);
            // A large keyframe goes in parts, at the rate of the burst.
            let to = end.min(from + catch_up.part_packets());
            let bytes = (from..to).filter_map(|seq| feed.history.get(seq)).map(|p| p.payload.len()).sum();
            if let Some(congestion) = &mut viewer.congestion {
                congestion.burst(now);
            }
            if std::mem::replace(&mut catch_up.in_frame, true) {
                catch_up.go_on(bytes);
            } else {
                catch_up.begin_frame(now, bytes);
            }
            if let Err(next) = send_frame(now, viewer, feed, from, to, batch, &mut self.counters) {
                if let Some(Flow::CatchUp(catch_up)) = viewer.video.as_mut().map(|down| &mut down.flow) {
                    catch_up.next = next;
                }
                return Progress::Full;
            }
            let Some(down) = viewer.video.as_mut() else { return Progress::Ended };
            if to >= feed.history.end() {
                // All that is there was sent; what comes next comes live.
                down.flow = Flow::Live { from: to };
                return Progress::Ended;
            }
            if let Flow::CatchUp(catch_up) = &mut down.flow {
                catch_up.next = to;
                catch_up.in_frame = to < end;
            }
            if budget.spent(batch) {
                return Progress::Full;
            }
        }
    }
}

/// Where a viewer's burst is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Wait(Instant),
    Full,
    Ended,
}

/// The number after the last packet of the frame that `from` is of, as far as it is there.
fn frame_end(feed: &Feed, from: u64) -> u64 {
    let frame = |packet: &RtpPacket| (packet.time.ticks(), packet.epoch);
    let end = feed.history.end();
    let first = feed.history.get(from).map(frame);
    (from + 1..end)
        .find(|seq| {
            feed.history.get(*seq).is_some_and(|packet| packet.frame_start || Some(frame(packet)) != first)
        })
        .unwrap_or(end)
}

/// Sends one frame of a burst, stamped with the live edge. `Err`: the batch is full, go on there.
fn send_frame(
    now: Instant,
    viewer: &mut Viewer,
    feed: &Feed,
    from: u64,
    to: u64,
    batch: &mut Batch,
    counters: &mut Counters,
) -> Result<(), u64> {
    let own = matches!(viewer.video.as_ref().map(|down| &down.flow), Some(Flow::CatchUp(it)) if it.own_times);
    let stamp = feed.live_edge(now).filter(|_| !own).map_or(Stamp::Own, Stamp::Edge);
    let Some((down, mut outlet)) = viewer.outlet(now, Kind::Video, counters) else { return Ok(()) };
    for seq in from..to {
        let Some(packet) = feed.history.get(seq) else { continue };
        if leaves_out(feed, packet) {
            down.leave_out(packet);
            outlet.counters.discardable_dropped += 1;
            continue;
        }
        match down.send(packet, stamp, batch, &mut outlet) {
            Outcome::Sent => outlet.counters.packets_catch_up += 1,
            Outcome::Skipped => {}
            Outcome::Full => return Err(seq),
        }
    }
    Ok(())
}

/// What became of a live burst for one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    Sent,
    /// The viewer's line is thin: it goes out by and by.
    Waits,
}

/// Sends what of a burst is for a viewer. `Err`: the batch is full, go on there.
fn send_live(
    now: Instant,
    viewer: &mut Viewer,
    feed: &Feed,
    from: u64,
    to: u64,
    batch: &mut Batch,
    counters: &mut Counters,
) -> Result<Live, u64> {
    let Some((down, mut outlet)) = viewer.outlet(now, feed.kind, counters) else { return Ok(Live::Sent) };
    let Flow::Live { from: first } = down.flow else { return Ok(Live::Sent) };
    if feed.reordering == Reordering::Unplayable {
        return Ok(Live::Sent);
    }
    let from = from.max(first);
    if let Some(pacer) = &mut down.pacer
        && pacer.push(from, to)
    {
        return Ok(Live::Waits);
    }
    for seq in from..to {
        let Some(packet) = feed.history.get(seq) else { continue };
        if leaves_out(feed, packet) {
            down.leave_out(packet);
            outlet.counters.discardable_dropped += 1;
            continue;
        }
        match down.send(packet, Stamp::Own, batch, &mut outlet) {
            Outcome::Sent => {
                outlet.counters.packets_forwarded += 1;
                if packet.marker || feed.kind == Kind::Audio {
                    batch.frame_end(frame_kind(feed, packet), packet.arrival);
                }
            }
            Outcome::Skipped => {}
            Outcome::Full => return Err(seq),
        }
    }
    Ok(Live::Sent)
}

/// What the frame is that a packet is of.
fn frame_kind(feed: &Feed, packet: &RtpPacket) -> FrameKind {
    if feed.kind == Kind::Audio {
        return FrameKind::Audio;
    }
    // Only the first packet of a keyframe says that it is one.
    let keyframe = feed.history.newest_keyframe().and_then(|first| feed.history.get(first));
    match keyframe.is_some_and(|first| first.time == packet.time && first.epoch == packet.epoch) {
        true => FrameKind::Keyframe,
        false => FrameKind::Delta,
    }
}

/// Whether a packet is left out so that the frames that are sent are in the order in which they are shown.
pub(super) fn leaves_out(feed: &Feed, packet: &RtpPacket) -> bool {
    feed.kind == Kind::Video && feed.reordering == Reordering::DropDiscardable && packet.discardable
}
