//! What a viewer sees, what it wants to see, and which Layer it is given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Kind, Track};
use rustc_hash::FxHashMap;

use super::demux::Home;
use super::down_track::Flow;
use super::feed::Feed;
use super::switch::{Past, Target, Why};
use super::{Action, Core, FeedId};
use crate::forward::allocator::{Allocator, Situation, Wish};
use crate::forward::selector::{Candidate, Candidates};
use crate::{AudioOnly, LayerChoice, LayerState, Layers, PeerEvent, PeerId};

/// How often a viewer is told of its Layers at most. They change seldom, and the last state is always told.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// A viewer's picture.
#[derive(Debug, Default)]
pub(super) struct Picture {
    choice: LayerChoice,
    /// Grows with every choice.
    choices: u32,
    pub(super) allocator: Allocator,
    /// What the Layers are of; there also while there is sound alone.
    pub(super) track: Option<Arc<Track>>,
    pub(super) target: Option<Target>,
    pub(super) past: Option<Past>,
    /// How many there are to choose from.
    pub(super) layers: usize,
    audio_only: Option<AudioOnly>,
    /// What would be sent if the line took it.
    pub(super) wanted_bps: u64,
    told: Option<Told>,
    tell_at: Option<Instant>,
}

/// What was told last: when it differs, it is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    track: usize,
    version: u32,
    current: Option<FeedId>,
    target: Option<FeedId>,
    choices: u32,
    audio_only: Option<AudioOnly>,
}

impl Core {
    /// What a viewer wants to see from now on.
    pub(super) fn set_layer(&mut self, now: Instant, id: PeerId, choice: LayerChoice) {
        let Some(Home::Viewer(slot)) = self.routes.by_id(id) else { return };
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        viewer.picture.choice = choice;
        viewer.picture.choices = viewer.picture.choices.wrapping_add(1);
        self.steer(now, slot);
    }

    /// Gives a viewer the Layer that its wish, its line and this node allow.
    pub(super) fn steer(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let Some(track) = viewer.picture.track.clone() else { return };
        let candidates =
            self.candidates.entry(key(&track)).or_insert_with(|| Candidates::new(Arc::clone(&track)));
        candidates.look(now);
        viewer.picture.layers = candidates.list().len();
        let rid_of = |id: FeedId| self.feeds.get(&id).map(|feed| &feed.rid);
        let target = viewer.picture.target.as_ref().map(|target| target.feed);
        let current = viewer.video_feed.and_then(rid_of).and_then(|rid| candidates.position(rid));
        let heading = target.and_then(rid_of).and_then(|rid| candidates.position(rid)).or(current);
        let flows = viewer
            .down(Kind::Video)
            .is_some_and(|down| !down.paused && matches!(down.flow, Flow::CatchUp(_) | Flow::Live { .. }));
        let situation = Situation {
            layers: candidates.list(),
            heading,
            flows,
            estimate_bps: viewer.estimate_bps(),
            arriving_bps: viewer.arriving_bps(),
            measurable: viewer.is_measurable(),
            wish: viewer.picture.wish(candidates),
            cap: viewer.cap,
            audio_bps: viewer.audio_feed.and_then(|id| self.feeds.get(&id)).and_then(Feed::bitrate_bps),
        };
        let chosen = matches!(situation.wish, Wish::Layer(_));
        let allocation = viewer.picture.allocator.allocate(now, &situation);
        viewer.picture.wanted_bps = allocation.wanted_bps;
        match allocation.layer {
            Ok(Some(at)) => {
                viewer.picture.audio_only = None;
                if viewer.video_feed.is_none() || Some(at) != heading {
                    let why = match current.map(|current| (current, candidates.list()[current].active)) {
                        Some((_, false)) => Why::Gone,
                        _ if chosen => Why::Chosen,
                        Some((current, true)) if at < current => Why::Smaller,
                        _ => Why::Better,
                    };
                    let rid = candidates.list()[at].rid.clone();
                    match viewer.video_feed {
                        Some(_) => self.aim(now, slot, rid, why),
                        None => self.attach(now, slot, track, rid),
                    }
                }
            }
            Ok(None) => {}
            Err(reason) => {
                if viewer.picture.audio_only.replace(reason) != Some(reason) {
                    self.counters.audio_only += 1;
                    self.detach(slot, Kind::Video);
                }
            }
        }
        self.tell_layers(now, slot);
    }

    /// Tells a viewer what there is to choose from and what it gets, if that has changed.
    fn tell_layers(&mut self, now: Instant, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let picture = &mut viewer.picture;
        let Some(candidates) = picture.track.as_ref().and_then(|track| self.candidates.get(&key(track)))
        else {
            return;
        };
        let told = Told {
            track: key(candidates.track()),
            version: candidates.version(),
            current: viewer.video_feed,
            target: picture.target.as_ref().map(|target| target.feed),
            choices: picture.choices,
            audio_only: picture.audio_only,
        };
        // Where there is nothing to choose there is nothing to tell.
        let worth = candidates.list().len() > 1 || picture.audio_only.is_some() || picture.told.is_some();
        if !worth || picture.told == Some(told) || picture.tell_at.is_some_and(|at| now < at) {
            return;
        }
        (picture.told, picture.tell_at) = (Some(told), Some(now + TELL_INTERVAL));
        let rid_of = |id: FeedId| self.feeds.get(&id).map(|feed| feed.rid.clone());
        let layers = Layers {
            layers: candidates.list().iter().map(describe).collect(),
            current: told.current.and_then(rid_of),
            target: told.target.and_then(rid_of),
            choice: picture.choice.clone(),
            audio_only: picture.audio_only,
        };
        self.actions.push_back(Action::Event(viewer.id, PeerEvent::Layers(layers)));
    }
}

impl Picture {
    pub(super) fn new(choice: LayerChoice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// The wish in terms of the Layers that there are. One that there is not, yet or any more, is chosen freely.
    fn wish(&self, candidates: &Candidates) -> Wish {
        match &self.choice {
            LayerChoice::Auto { max_height } => Wish::Auto { max_height: *max_height },
            LayerChoice::Layer(rid) => {
                candidates.position(rid).map_or(Wish::Auto { max_height: None }, Wish::Layer)
            }
            LayerChoice::AudioOnly => Wish::AudioOnly,
        }
    }
}

/// Forgets the Layers of Tracks that are over.
pub(super) fn forget_ended(candidates: &mut FxHashMap<usize, Candidates>) {
    candidates.retain(|_, candidates| !candidates.track().ended());
}

/// A Track by its address: whoever uses the key keeps the Track alive.
fn key(track: &Arc<Track>) -> usize {
    Arc::as_ptr(track).addr()
}

fn describe(candidate: &Candidate) -> LayerState {
    LayerState {
        rid: candidate.rid.clone(),
        width: candidate.size.map(|(width, _)| width),
        height: candidate.height(),
        bitrate_bps: Some(candidate.bps).filter(|bps| *bps > 0),
        active: candidate.active,
    }
}
