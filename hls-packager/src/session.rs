//! One packaged Stream: the Presentation behind a lock, and those who wait for it to change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::{ChannelName, StreamClock, StreamId};
use tokio::sync::watch;

use crate::Config;
use crate::name::Name;
use crate::presentation::{KeyframeAdvice, Presentation};
use crate::stats::{State, Stats, Status};

/// hls.js gives a blocked playlist up after max(3 x PART-TARGET, 0.8 x TARGETDURATION); we answer when nine tenths of
/// that are over and the source made nothing. Not earlier: it waits 1 s before it asks again, so that a source that
/// pauses for half a second would leave its viewers without a picture for a second and a half.
const PATIENCE: f64 = 0.9;

/// A blocked request is given up after this many TARGETDURATIONs (section 6.2.5.2).
const BLOCKED_MAX: u32 = 3;

/// One packaged Stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) channel: ChannelName,
    pub(crate) stream: StreamId,
    presentation: Mutex<Presentation>,
    /// One list of those who wait per Rendition.
    changed: [watch::Sender<u64>; Name::COUNT],
    /// And of those who wait for any of them.
    any_changed: watch::Sender<()>,
    /// The video codec of the source, if HLS cannot carry it.
    unsupported_video: Mutex<Option<&'static str>>,
    nothing_to_carry: AtomicBool,
    pub(crate) lagged: AtomicU64,
}

/// When a request that waits is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    quiet: Duration,
    total: Duration,
    target_seconds: u32,
}

impl Patience {
    /// TARGETDURATION, which cache lifetimes are made from.
    pub(crate) fn target_seconds(&self) -> u32 {
        self.target_seconds
    }

    /// The moment to answer 503, if nothing changes until then.
    pub(crate) fn deadline(&self, asked: Instant, changed: Option<Instant>) -> Instant {
        let quiet_since = changed.map_or(asked, |changed| changed.max(asked));
        (quiet_since + self.quiet).min(asked + self.total)
    }
}

impl Session {
    pub(crate) fn new(channel: ChannelName, stream: StreamId, clock: StreamClock, config: Config) -> Self {
        Self {
            channel,
            stream,
            presentation: Mutex::new(Presentation::new(config, clock)),
            changed: std::array::from_fn(|_| watch::Sender::new(0)),
            any_changed: watch::Sender::new(()),
            unsupported_video: Mutex::new(None),
            nothing_to_carry: AtomicBool::new(false),
            lagged: AtomicU64::new(0),
        }
    }

    /// Changes the Presentation, then wakes whom it concerns.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Presentation) -> T) -> T {
        let (result, versions) = {
            let mut presentation = self.lock();
            let result = change(&mut presentation);
            let mut versions = [0; Name::COUNT];
            for (name, rendition) in presentation.renditions() {
                versions[name.slot()] = rendition.version();
            }
            (result, versions)
        };
        let mut any = false;
        for (changed, version) in self.changed.iter().zip(versions) {
            any |= changed.send_if_modified(|known| std::mem::replace(known, version) != version);
        }
        if any {
            self.any_changed.send_replace(());
        }
        result
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&mut Presentation) -> T) -> T {
        look(&mut self.lock())
    }

    /// Follows the changes of one Rendition.
    pub(crate) fn watch(&self, name: Name) -> watch::Receiver<u64> {
        self.changed[name.slot()].subscribe()
    }

    /// Follows the changes of all Renditions.
    pub(crate) fn watch_all(&self) -> watch::Receiver<()> {
        self.any_changed.subscribe()
    }

    /// How long requests wait; `None` before the constants are fixed.
    pub(crate) fn patience(&self) -> Option<Patience> {
        let targets = self.lock().targets()?;
        let target = Duration::from_secs(targets.target_duration.into());
        let gives_up = (targets.part_target * 3).max(target.mul_f64(0.8));
        let quiet = gives_up.mul_f64(PATIENCE);
        Some(Patience { quiet, total: target * BLOCKED_MAX, target_seconds: targets.target_duration })
    }

    pub(crate) fn set_unsupported(&self, video: Option<&'static str>, nothing_to_carry: bool) {
        *self.unsupported_video.lock().unwrap_or_else(PoisonError::into_inner) = video;
        self.nothing_to_carry.store(nothing_to_carry, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> Status {
        let unsupported = *self.unsupported_video.lock().unwrap_or_else(PoisonError::into_inner);
        let presentation = self.lock();
        let state = if presentation.ended() {
            State::Ended
        } else if self.nothing_to_carry.load(Ordering::Relaxed) {
            State::Unsupported
        } else if presentation.is_ready() {
            State::Live
        } else {
            State::Starting
        };
        let codecs = |name| Some(presentation.rendition(name)?.config()?.rfc6381());
        let videos = presentation.renditions().filter(|(name, _)| *name != Name::Audio).count();
        let mut notes = Vec::new();
        if let Some(codec) = unsupported {
            notes.push(format!("HLS does not carry {codec} video; it plays by WebRTC"));
        }
        notes.extend(presentation.keyframe_advice().map(|advice| {
            match advice {
                KeyframeAdvice::TooFarApart => {
                    "keyframes are too far apart for HLS: set the keyframe interval to 2 s"
                }
                KeyframeAdvice::NotAligned => {
                    "the layers have their keyframes at different times: HLS switches less well"
                }
            }
            .to_owned()
        }));
        let targets = presentation.targets();
        Status {
            channel: self.channel.to_string(),
            stream: self.stream.to_string(),
            state,
            video: presentation.leader().and_then(codecs),
            video_renditions: videos,
            audio: codecs(Name::Audio),
            target_duration_s: targets.map(|targets| targets.target_duration),
            part_target_ms: targets.and_then(|targets| u32::try_from(targets.part_target.as_millis()).ok()),
            notes,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let presentation = self.lock();
        let mut stats = Stats {
            streams: 1,
            frames_dropped_total: presentation.dropped(),
            silent_frames_total: presentation.silent(),
            dependent_segments_total: presentation.dependent_segments(),
            readers_lagged_total: self.lagged.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for (_, rendition) in presentation.renditions() {
            stats.renditions += 1;
            let counters = rendition.counters;
            stats.bytes_held += rendition.bytes() as u64;
            stats.parts_total += counters.parts;
            stats.segments_total += counters.segments;
            stats.gap_segments_total += counters.gaps;
            stats.discontinuities_total += counters.discontinuities;
            stats.window_shrunk_total += rendition.shrunk();
            stats.rewind_cut_total += rendition.rewind_cut();
            stats.boxes_failed_total += counters.failed;
            stats.playlists_rendered_total += counters.rendered;
        }
        stats
    }

    fn lock(&self) -> MutexGuard<'_, Presentation> {
        // A panic under the lock would leave a half-cut part at worst; viewers go on.
        self.presentation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
