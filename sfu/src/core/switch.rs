//! From one Layer to another without a seam: a viewer stays on its Layer until the other one has a keyframe that it
//! can begin with.
//!
//! ```text
//!   aim ──► target: both feeds are read ──► its keyframe begins ──► the frame under way is finished ──► landed
//!              └── its cached group of pictures is quicker than its next keyframe ──┘
//! ```
//! Numbers go on over the seam and time does not step back ([`crate::forward::rewriter`]): the Layers of a Track share
//! the Stream's clock. A frame that both Layers brought goes out a tick after itself.

use std::time::{Duration, Instant};

use media::{Kind, Reordering, Rid};

use super::catch_up::{self, CatchUp};
use super::down_track::Flow;
use super::feed::Feed;
use super::{Core, FeedId};

/// How long the feed that a viewer has left is kept for it: for so long it may ask for what it missed there.
const PAST_KEPT: Duration = Duration::from_secs(1);
/// How long the end of a frame under way is waited for: two frames at 30 per second. Its last packet may be lost.
const FRAME_END_MAX: Duration = Duration::from_millis(66);
/// What an encoder needs to answer a keyframe request: a round trip and a frame.
const ANSWER: Duration = Duration::from_millis(300);
/// A viewer whose picture gets better is not shown more than this of the past again: it has a picture, so it can wait
/// for the next keyframe.
const SHOWN_AGAIN_MAX: Duration = Duration::from_secs(1);
/// A burst into a line of that estimate goes at so many percent of it: what it exceeds it by stands in the line's queue,
/// and a burst no faster than the Layer would never end.
const BURST_PERCENT: u64 = 150;

/// Why a viewer goes to another Layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its line carries more.
    Better,
    /// Its line carries less, or this node can do less.
    Smaller,
    /// It asked for it.
    Chosen,
    /// The encoder does not send the one that it has any more: its picture stands still.
    Gone,
}

/// Where a viewer is going.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) feed: FeedId,
    why: Why,
    arrived: Option<Arrived>,
}

/// The keyframe to begin with is there.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    first: u64,
    /// What the old Layer has from this time on is not sent any more.
    ticks: i64,
    since: Instant,
    /// It is from the cache, and its frames are late.
    cached: bool,
}

/// Where a viewer was.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) feed: FeedId,
    until: Instant,
}

impl Target {
    /// Whether a burst of the old Layer is not sent any more.
    pub(super) fn supersedes(&self, ticks: i64) -> bool {
        self.arrived.is_some_and(|arrived| ticks >= arrived.ticks)
    }
}

impl Core {
    /// Sends a viewer to another Layer of its Track.
    pub(super) fn aim(&mut self, now: Instant, slot: u32, rid: Rid, why: Why) {
        let Some(viewer) = self.viewers.get(slot) else { return };
        let Some(current) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return };
        let target = viewer.picture.target.as_ref().and_then(|target| self.feeds.get(&target.feed));
        if target.is_some_and(|feed| feed.rid == rid) {
            return;
        }
        self.calm.disturb(slot);
        let (track, stays) = (current.track.clone(), current.rid == rid);
        let shows = viewer.video.as_ref().is_some_and(|down| down.is_showing());
        self.drop_target(slot);
        if stays {
            return;
        }
        if !shows {
            // Nothing that would have to go on.
            self.detach(slot, Kind::Video);
            return self.attach(now, slot, track, rid);
        }
        let id = self.feed_of(track, rid);
        let (Some(feed), Some(viewer)) = (self.feeds.get_mut(&id), self.viewers.get_mut(slot)) else {
            return;
        };
        feed.add(slot);
        feed.aspirants += 1;
        viewer.picture.target = Some(Target { feed: id, why, arrived: None });
        self.pursue(now, slot);
    }

    /// Asks for the keyframe that a viewer waits for, or takes what is cached.
    pub(super) fn pursue(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let rate = burst_rate(viewer.estimate_bps());
        let Some(target) = viewer.picture.target.as_mut().filter(|target| target.arrived.is_none()) else {
            return;
        };
        let Some(feed) = self.feeds.get(&target.feed) else { return };
        let id = target.feed;
        if let Some(arrived) = cached(now, feed, target.why, rate) {
            target.arrived = Some(arrived);
            self.arrivals.push(slot);
            self.catch_up_due = Some(now);
        } else {
            self.request_keyframe(now, id);
        }
    }

    /// The first packet of a keyframe is about to go to the viewers of a feed: those who wait for it are its viewers
    /// from now on. `whole`: nothing that follows it has been passed over.
    pub(super) fn keyframe_begins(&mut self, now: Instant, id: FeedId, first: u64, whole: bool) {
        let mut at = 0;
        while let Some(slot) = self.feeds.get(&id).and_then(|feed| feed.viewers.get(at)).copied() {
            at += 1;
            let Some(viewer) = self.viewers.get_mut(slot) else { continue };
            let Some(target) = viewer.picture.target.as_mut().filter(|target| target.feed == id) else {
                continue;
            };
            let Some(ticks) =
                self.feeds.get(&id).and_then(|feed| feed.history.get(first)).map(|it| it.time.ticks())
            else {
                return;
            };
            if target.arrived.is_none() {
                self.arrivals.push(slot);
            }
            target.arrived = Some(Arrived { first, ticks, since: now, cached: false });
            if whole && self.may_land(now, slot) {
                self.arrivals.retain(|other| *other != slot);
                self.land(now, slot, Flow::Live { from: first });
            }
        }
    }

    /// Lands those whose keyframe is there and whose last frame is finished.
    pub(super) fn land_arrivals(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(slot) = self.arrivals.get(at).copied() {
            let arrived = self.viewers.get(slot).and_then(|viewer| viewer.picture.target.as_ref()?.arrived);
            let Some(arrived) = arrived else {
                self.arrivals.swap_remove(at);
                continue;
            };
            if !self.may_land(now, slot) {
                at += 1;
                continue;
            }
            self.arrivals.swap_remove(at);
            self.land_behind(now, slot, arrived);
        }
    }

    /// Lands a viewer on a keyframe that has been passed over: it catches up from there.
    fn land_behind(&mut self, now: Instant, slot: u32, arrived: Arrived) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let rate = burst_rate(viewer.estimate_bps());
        let Some(target) = viewer.picture.target.as_mut() else { return };
        let Some(feed) = self.feeds.get(&target.feed) else { return };
        let Some(first) = feed.history.newest_keyframe().filter(|first| *first >= arrived.first) else {
            // It is not kept any more: the next one will do.
            target.arrived = None;
            return;
        };
        let catch_up = CatchUp::new(now, first, rate).patient();
        let catch_up = if arrived.cached { catch_up } else { catch_up.at_own_times() };
        if let Some(congestion) = viewer.congestion() {
            congestion.begin_burst(now, rate);
        }
        self.land(now, slot, Flow::CatchUp(Box::new(catch_up)));
        if !self.catching_up.contains(&slot) {
            self.catching_up.push(slot);
        }
        self.catch_up_due = Some(now);
    }

    /// The last frame of the old Layer that a viewer shall get is finished.
    fn may_land(&self, now: Instant, slot: u32) -> bool {
        let Some(viewer) = self.viewers.get(slot) else { return false };
        let (Some(target), Some(down)) = (&viewer.picture.target, &viewer.video) else { return false };
        let Some(arrived) = target.arrived else { return false };
        if now.saturating_duration_since(arrived.since) >= FRAME_END_MAX {
            return true;
        }
        let old = viewer.video_feed.and_then(|id| self.feeds.get(&id));
        !down.in_frame() && !old.is_some_and(|feed| feed.owes(slot, arrived.ticks))
    }

    fn land(&mut self, now: Instant, slot: u32, flow: Flow) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(target) = viewer.picture.target.take() else { return };
        let Some(feed) = self.feeds.get_mut(&target.feed) else { return };
        feed.aspirants -= 1;
        let old = viewer.video_feed.replace(target.feed);
        if let Some(down) = &mut viewer.video {
            down.switch(feed.track.codec(), flow);
        }
        match target.why {
            Why::Better => self.counters.layer_ups += 1,
            Why::Smaller => self.counters.layer_downs += 1,
            Why::Chosen => self.counters.layer_choices += 1,
            Why::Gone => self.counters.layer_losses += 1,
        }
        self.drop_past(slot);
        let Some(old) = old else { return };
        if let Some(feed) = self.feeds.get_mut(&old) {
            feed.remove(slot);
        }
        // A line that is full has no room for what the new keyframe makes useless: its own packets would wait behind it.
        if target.why == Why::Smaller {
            return self.close_unread(old);
        }
        if let Some(feed) = self.feeds.get_mut(&old) {
            feed.kept += 1;
        }
        if let Some(viewer) = self.viewers.get_mut(slot) {
            viewer.picture.past = Some(Past { feed: old, until: now + PAST_KEPT });
        }
    }

    /// A viewer stays where it is.
    pub(super) fn drop_target(&mut self, slot: u32) {
        let Some(target) = self.viewers.get_mut(slot).and_then(|viewer| viewer.picture.target.take()) else {
            return;
        };
        if let Some(feed) = self.feeds.get_mut(&target.feed) {
            feed.remove(slot);
            feed.aspirants -= 1;
        }
        self.close_unread(target.feed);
    }

    /// A viewer needs nothing of its former Layer any more.
    pub(super) fn drop_past(&mut self, slot: u32) {
        let Some(past) = self.viewers.get_mut(slot).and_then(|viewer| viewer.picture.past.take()) else {
            return;
        };
        if let Some(feed) = self.feeds.get_mut(&past.feed) {
            feed.kept -= 1;
        }
        self.close_unread(past.feed);
    }

    /// Time has passed for a viewer between two Layers.
    pub(super) fn follow_switch(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get(slot) else { return };
        if viewer.picture.past.as_ref().is_some_and(|past| past.until <= now) {
            self.drop_past(slot);
        }
        self.pursue(now, slot);
    }
}

/// What of a feed's cache a viewer may begin with instead of waiting for a keyframe.
fn cached(now: Instant, feed: &Feed, why: Why, rate_bps: u64) -> Option<Arrived> {
    if feed.reordering == Reordering::Unplayable {
        return None;
    }
    let gop = feed.history.whole_gop()?;
    // What still waits to be sent comes by itself.
    if feed.is_waiting(gop.first) {
        return None;
    }
    let age = now.saturating_duration_since(gop.since);
    let next = match feed.obeys() {
        true => ANSWER,
        // An encoder that has made one keyframe in that time will not make the next one sooner.
        false => feed.keyframe_interval().map_or(age, |interval| interval.saturating_sub(age)),
    };
    let burst = catch_up::plan(&gop, feed.frame_duration(), rate_bps)?;
    let worth = match why {
        Why::Gone => burst < next,
        Why::Better => burst + ANSWER < next && age <= SHOWN_AGAIN_MAX,
        Why::Smaller | Why::Chosen => burst + ANSWER < next,
    };
    worth.then_some(Arrived { first: gop.first, ticks: i64::MIN, since: now, cached: true })
}

/// How fast a burst may be for a viewer of that estimate.
pub(super) fn burst_rate(estimate_bps: Option<u64>) -> u64 {
    let full = catch_up::RATE_MAX_BPS;
    estimate_bps.map_or(full, |estimate| (estimate * BURST_PERCENT / 100).min(full))
}
