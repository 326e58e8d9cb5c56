//! Which Track a viewer gets, and the Layers of it that there are to choose from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Activity, Codec, Kind, Layer, Rid, Stream, Track};

/// There is a Track, but in no codec that the viewer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOffered;

/// The Track that a viewer should get of a kind: `offered` says which codecs it can decode.
pub(crate) fn track(
    stream: &Stream,
    kind: Kind,
    offered: impl Fn(Codec) -> bool,
) -> Result<Option<Arc<Track>>, NotOffered> {
    let tracks = stream.tracks();
    let of_kind = || tracks.iter().filter(|track| track.kind() == kind && !track.ended());
    // The source itself, unless only a derived Track is in a codec that the viewer has.
    let fitting = of_kind().filter(|track| offered(track.codec())).min_by_key(|track| track.spec().derived);
    match fitting {
        Some(track) => Ok(Some(Arc::clone(track))),
        // AAC is nothing that a browser could have offered: the Opus made from it is on its way.
        None if kind == Kind::Audio || of_kind().next().is_none() => Ok(None),
        None => Err(NotOffered),
    }
}

/// How often the Layers are looked at: each look takes their locks, once for all viewers of a shard.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Layers to choose from. Encoders make three, a ladder five; those that appeared after so many are left out.
pub(crate) const LAYERS_MAX: usize = 8;
/// An encoder drops a Layer without a word. It has when nothing of it came for so long ...
const SILENT: Duration = Duration::from_millis(400);
/// ... while so many frames of the others did: a still desktop sends few, and not all Layers at the same moment.
const OTHERS_FRAMES: u64 = 8;
/// Two Layers of one size change places when the lower one needs so many percent of the upper one's rate: rates
/// swing, and nobody should be sent to and fro with them.
const SWAP_PERCENT: u64 = 130;

/// One Layer to choose from.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) rid: Rid,
    pub(crate) size: Option<(u32, u32)>,
    /// Payload bits per second; 0 before it was measured.
    pub(crate) bps: u64,
    /// The encoder sends it, and has sent a keyframe of it.
    pub(crate) active: bool,
    frames: u64,
    /// Frames of all Layers when the newest of this one was seen.
    mark: u64,
}

impl Candidate {
    fn new(layer: &Layer) -> Self {
        Self { rid: layer.rid().clone(), size: None, bps: 0, active: false, frames: 0, mark: 0 }
    }

    /// A Layer as it would have been measured.
    #[cfg(test)]
    pub(crate) fn measured(height: u32, bps: u64) -> Self {
        let rid = Rid::parse(&height.to_string()).expect("a RID");
        Self { rid, size: Some((height * 16 / 9, height)), bps, active: true, frames: 0, mark: 0 }
    }

    pub(crate) fn height(&self) -> Option<u32> {
        self.size.map(|(_, height)| height)
    }

    fn pixels(&self) -> u64 {
        self.size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    }
}

/// The Layers of a Track, lowest first: by size, then by rate. Names say nothing: OBS calls the largest `0`.
#[derive(Debug)]
pub(crate) struct Candidates {
    track: Arc<Track>,
    list: Vec<Candidate>,
    looked: Option<Instant>,
    version: u32,
}

impl Candidates {
    pub(crate) fn new(track: Arc<Track>) -> Self {
        Self { track, list: Vec::new(), looked: None, version: 0 }
    }

    pub(crate) fn track(&self) -> &Arc<Track> {
        &self.track
    }

    pub(crate) fn list(&self) -> &[Candidate] {
        &self.list
    }

    /// Grows with every change of anything but the rates.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn position(&self, rid: &Rid) -> Option<usize> {
        self.list.iter().position(|candidate| candidate.rid == *rid)
    }

    /// Looks at the Layers again, if the last look is a while ago.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(now);
        let track = Arc::clone(&self.track);
        let changed = track.look_at_layers(|layers| self.follow(&layers[..layers.len().min(LAYERS_MAX)]));
        self.version = self.version.wrapping_add(u32::from(changed));
    }

    /// True if anything but rates has changed.
    fn follow(&mut self, layers: &[Arc<Layer>]) -> bool {
        let mut seen = [Activity::default(); LAYERS_MAX];
        layers.iter().zip(&mut seen).for_each(|(layer, seen)| *seen = layer.activity());
        let newest = seen.iter().filter_map(|seen| seen.newest).max();
        let frames = seen.iter().map(|seen| seen.frames).sum();
        let mut changed = false;
        for (layer, seen) in layers.iter().zip(&seen) {
            let at = self.position(layer.rid()).unwrap_or_else(|| {
                changed = true;
                self.list.push(Candidate::new(layer));
                self.list.len() - 1
            });
            changed |= self.list[at].follow(seen, newest, frames);
        }
        changed | self.sort()
    }

    /// Puts them in order, moving none without a reason.
    fn sort(&mut self) -> bool {
        let mut changed = false;
        for end in (1..self.list.len()).rev() {
            for at in 0..end {
                if self.list[at].belongs_above(&self.list[at + 1]) {
                    self.list.swap(at, at + 1);
                    changed = true;
                }
            }
        }
        changed
    }
}

impl Candidate {
    /// True if anything but the rate has changed.
    fn follow(&mut self, seen: &Activity, newest: Option<Instant>, frames: u64) -> bool {
        let before = (self.size, self.active);
        if seen.frames != self.frames {
            (self.frames, self.mark) = (seen.frames, frames);
        }
        let behind = match (newest, seen.newest) {
            (Some(newest), Some(own)) => newest.saturating_duration_since(own),
            _ => Duration::ZERO,
        };
        let dropped = behind >= SILENT && frames.saturating_sub(self.mark) >= OTHERS_FRAMES;
        self.size = seen.size;
        self.bps = seen.bitrate_bps.unwrap_or(0);
        self.active = seen.keyframes > 0 && !dropped;
        before != (self.size, self.active)
    }

    fn belongs_above(&self, next: &Self) -> bool {
        let (own, others) = (self.pixels(), next.pixels());
        own > others || (own == others && self.bps * 100 > next.bps * SWAP_PERCENT)
    }
}

#[cfg(test)]
mod tests;
