//! Who reads what: viewers and feeds are brought together, and a viewer's picture begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Kind, Reordering, Rid, Track};

use super::catch_up::{self, CatchUp};
use super::demux::Home;
use super::down_track::Flow;
use super::feed::Feed;
use super::viewer::Viewer;
use super::{Action, Core, FeedId};
use crate::forward::selector;
use crate::{FallbackReason, PeerEvent, PeerId};

/// A cache is replayed to a viewer that lost its picture at most this often: if it did not help, it will not.
const REPLAY_INTERVAL: Duration = Duration::from_secs(2);

impl Core {
    /// Chooses the Tracks of a connected viewer anew.
    pub(super) fn resolve(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        if !viewer.is_connected() {
            return;
        }
        // Read before the Tracks: a change in between is seen at the next look.
        viewer.tracks_version = Some(viewer.stream.tracks_version());
        for kind in [Kind::Audio, Kind::Video] {
            self.resolve_kind(now, slot, kind);
        }
        // Before the first packet goes.
        self.keep_in_step(slot);
    }

    fn resolve_kind(&mut self, now: Instant, slot: u32, kind: Kind) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(down) = viewer.down(kind) else { return };
        let paused = down.paused;
        let chosen = selector::track(&viewer.stream, kind, |codec| viewer.offers(codec));
        let current =
            viewer.feed(kind).and_then(|feed| self.feeds.get(&feed)).map(|feed| Arc::clone(&feed.track));
        let wanted = match chosen {
            Ok(track) => track.filter(|_| !paused),
            Err(selector::NotOffered) => {
                self.tell(slot, FallbackReason::Codec);
                None
            }
        };
        if matches!((&current, &wanted), (Some(current), Some(wanted)) if Arc::ptr_eq(current, wanted)) {
            return;
        }
        self.detach(slot, kind);
        match (kind, wanted) {
            (Kind::Audio, None) => {}
            (Kind::Audio, Some(track)) => self.attach(now, slot, track, Rid::single()),
            (Kind::Video, track) => {
                if let Some(viewer) = self.viewers.get_mut(slot) {
                    viewer.picture.track = track;
                }
                self.steer(now, slot);
            }
        }
    }

    pub(super) fn attach(&mut self, now: Instant, slot: u32, track: Arc<Track>, rid: Rid) {
        let (kind, codec) = (track.kind(), track.codec());
        let id = self.feed_of(track, rid);
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        feed.add(slot);
        self.calm.disturb(slot);
        let flow = match kind {
            Kind::Audio => Flow::Live { from: feed.history.end() },
            Kind::Video => Flow::Waiting,
        };
        viewer.set_feed(kind, Some(id));
        if kind == Kind::Video && viewer.told == Some(FallbackReason::Codec) {
            viewer.told = None;
        }
        if let Some(down) = viewer.down(kind) {
            down.switch(codec, flow);
        }
        if kind == Kind::Video && !std::mem::take(&mut viewer.patient) {
            self.start(now, slot);
        }
    }

    /// The feed of a Layer; opens it if nobody reads it here yet.
    pub(super) fn feed_of(&mut self, track: Arc<Track>, rid: Rid) -> FeedId {
        let key = (Arc::as_ptr(&track).addr(), rid.clone());
        if let Some(id) = self.feed_ids.get(&key) {
            return *id;
        }
        let id = FeedId(self.next_feed);
        self.next_feed = self.next_feed.wrapping_add(1);
        self.feed_ids.insert(key, id);
        self.feeds.insert(id, Feed::new(Arc::clone(&track), rid.clone()));
        self.counters.feeds += 1;
        self.actions.push_back(Action::OpenFeed { feed: id, track, rid });
        id
    }

    /// A viewer stops reading a kind.
    pub(super) fn detach(&mut self, slot: u32, kind: Kind) {
        if kind == Kind::Video {
            self.drop_target(slot);
            self.drop_past(slot);
            self.catching_up.retain(|other| *other != slot);
        }
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(id) = viewer.feed(kind) else { return };
        viewer.set_feed(kind, None);
        if let Some(down) = viewer.down(kind) {
            down.restart(Flow::Stopped);
        }
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.remove(slot);
        }
        self.close_unread(id);
    }

    /// Closes a feed that nobody needs any more.
    pub(super) fn close_unread(&mut self, id: FeedId) {
        let Some(feed) = self.feeds.get(&id).filter(|feed| feed.viewers.is_empty() && feed.kept == 0) else {
            return;
        };
        let key = (Arc::as_ptr(&feed.track).addr(), feed.rid.clone());
        self.feed_ids.remove(&key);
        self.feeds.remove(&id);
        self.audio_queue.retain(|other| *other != id);
        self.video_queue.retain(|other| *other != id);
        self.counters.feeds -= 1;
        self.actions.push_back(Action::CloseFeed(id));
    }

    pub(super) fn set_paused(&mut self, now: Instant, id: PeerId, kind: Kind, paused: bool) {
        let Some(Home::Viewer(slot)) = self.routes.by_id(id) else { return };
        let Some(down) = self.viewers.get_mut(slot).and_then(|viewer| viewer.down(kind)) else { return };
        down.paused = paused;
        self.resolve(now, slot);
    }

    /// Follows changes of the Stream's Tracks and of the encoder's ways.
    pub(super) fn look_after_tracks(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        if viewer.is_connected() && viewer.tracks_version != Some(viewer.stream.tracks_version()) {
            self.resolve(now, slot);
        }
        self.steer(now, slot);
        self.follow_switch(now, slot);
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return };
        let choked = viewer.is_choked();
        let Some(down) = &mut viewer.video else { return };
        match (&down.flow, feed.reordering) {
            (Flow::Stopped, Reordering::Unplayable) => {}
            (_, Reordering::Unplayable) => {
                // Reordered references cannot be put right here: sound goes on, the picture comes by HLS.
                down.restart(Flow::Stopped);
                self.catching_up.retain(|other| *other != slot);
                self.tell(slot, FallbackReason::BFrames);
            }
            (Flow::Stopped, _) => {
                // The encoder was set right.
                down.restart(Flow::Waiting);
                viewer.told = None;
                self.start(now, slot);
            }
            (Flow::Waiting, _) if !choked => self.ask_encoder(now, slot),
            _ => {}
        }
    }

    fn tell(&mut self, slot: u32, reason: FallbackReason) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        if viewer.told != Some(reason) {
            viewer.told = Some(reason);
            self.counters.fallbacks += 1;
            self.actions.push_back(Action::Event(viewer.id, PeerEvent::Fallback(reason)));
        }
    }

    /// Those who wait for a keyframe of a feed may begin.
    pub(super) fn start_waiting(&mut self, now: Instant, id: FeedId) {
        let mut at = 0;
        while let Some(slot) = self.feeds.get(&id).and_then(|feed| feed.viewers.get(at)).copied() {
            at += 1;
            let Some(viewer) = self.viewers.get(slot) else { continue };
            let waits = viewer.video.as_ref().is_some_and(|down| matches!(down.flow, Flow::Waiting));
            if viewer.video_feed != Some(id) {
                self.pursue(now, slot);
            } else if waits {
                self.start(now, slot);
            }
        }
    }

    /// Begins a viewer's picture with the cached group of pictures, or asks for a keyframe.
    pub(super) fn start(&mut self, now: Instant, slot: u32) {
        if self.viewers.get(slot).is_some_and(Viewer::is_choked) {
            return;
        }
        if self.begin_catch_up(now, slot) {
            self.counters.catch_ups += 1;
            self.viewers.get_mut(slot).into_iter().for_each(|viewer| viewer.catch_ups += 1);
        } else {
            self.ask_encoder(now, slot);
        }
    }

    /// True if a catch-up burst began.
    fn begin_catch_up(&mut self, now: Instant, slot: u32) -> bool {
        let Some(viewer) = self.viewers.get_mut(slot) else { return false };
        // What the line has shown that it takes; a line that has shown nothing is found out by the burst itself.
        let line_bps = viewer.congestion().and_then(|congestion| congestion.limit_bps(now));
        let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return false };
        let Some(down) = &mut viewer.video else { return false };
        if feed.reordering == Reordering::Unplayable || feed.history.end() == 0 {
            return false;
        }
        let Some(gop) = feed.history.whole_gop().filter(|gop| gop.first >= down.not_before) else {
            return false;
        };
        if catch_up::plan(&gop, feed.frame_duration(), line_bps.unwrap_or(catch_up::RATE_MAX_BPS)).is_none() {
            match catch_up::plan(&gop, feed.frame_duration(), catch_up::RATE_MAX_BPS) {
                Some(_) => self.counters.catch_up_too_slow += 1,
                None => self.counters.catch_up_refused += 1,
            }
            return false;
        }
        let rate = line_bps.unwrap_or_else(|| catch_up::start_rate(feed.bitrate_bps()));
        down.restart(Flow::CatchUp(Box::new(CatchUp::new(now, gop.first, rate).of_keyframe_at(gop.since))));
        if let Some(congestion) = &mut viewer.congestion {
            congestion.begin_burst(now, rate);
        }
        down.replayed = Some(now);
        if !self.catching_up.contains(&slot) {
            self.catching_up.push(slot);
        }
        self.catch_up_due = Some(now);
        true
    }

    /// A catch-up burst has shown that the viewer's line is too slow for it: a fresh keyframe, if the encoder makes one,
    /// else the next; sound goes on.
    pub(super) fn line_too_slow(&mut self, now: Instant, slot: u32) {
        self.counters.catch_up_too_slow += 1;
        self.wait_for_keyframe(now, slot);
    }

    pub(super) fn ask_encoder(&mut self, now: Instant, slot: u32) {
        let Some(id) = self.viewers.get(slot).and_then(|viewer| viewer.video_feed) else { return };
        self.request_keyframe(now, id);
    }

    /// Asks the encoder for a keyframe of a Layer, if it can be asked and was not just now.
    pub(super) fn request_keyframe(&mut self, now: Instant, id: FeedId) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        if feed.obeys() && feed.request_keyframe(now) {
            self.counters.keyframes_requested += 1;
            self.actions.push_back(Action::RequestKeyframe(id));
        }
    }

    /// A viewer lost its picture (PLI, FIR).
    pub(super) fn keyframe_asked(&mut self, now: Instant, slot: u32) {
        self.counters.keyframes_asked += 1;
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        viewer.keyframe_requests += 1;
        let Some(feed) = viewer.video_feed.and_then(|id| self.feeds.get(&id)) else { return };
        let Some(down) = &mut viewer.video else { return };
        let replay = match &mut down.flow {
            // Never inside a burst: it is on its way already, too fast maybe.
            Flow::CatchUp(catch_up) => {
                catch_up.slow_down(now);
                false
            }
            // And not while the encoder is gone: browsers ask when nothing comes, and would show the past.
            Flow::Live { .. } if feed.is_silent(now) => false,
            Flow::Live { .. } => {
                down.replayed.is_none_or(|at| now.saturating_duration_since(at) >= REPLAY_INTERVAL)
            }
            Flow::Waiting | Flow::Stopped => false,
        };
        if feed.obeys() {
            self.ask_encoder(now, slot);
        } else if replay && self.begin_catch_up(now, slot) {
            self.counters.replays += 1;
        }
    }
}
