//! One encoding of a Track: two faces, the readers of each, and what they ask for.

mod rate;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::ring::FaceItem;
use crate::rtp::depacketizer::Losses;
use crate::rtp::reorder::ReorderStats;
use crate::{Codec, Frame, Reordering, Rid, RtpPacket};

pub use state::LayerState;
pub(crate) use state::{Attached, LayerDemand};

/// What is known about a Layer, for choosing among several and for the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerInfo {
    /// Width and height in pixels, once a keyframe told.
    pub size: Option<(u32, u32)>,
    /// The `codecs` string (RFC 6381), once known.
    pub codecs: Option<String>,
    /// Whether the encoder reorders frames, and what can be done about it for WebRTC.
    pub reordering: Reordering,
    /// Keyframes seen.
    pub keyframes: u64,
    /// Items of the written face (frames, or packets of a WebRTC source).
    pub items: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Frames whose beginning came.
    pub frames: u64,
    /// Payload bits per second over the last two seconds or so; `None` in the first half second. Stays as it is
    /// while nothing comes: see `newest`.
    pub bitrate_bps: Option<u64>,
    /// When the newest item came.
    pub newest: Option<Instant>,
    /// Frames per minute, measured as `bitrate_bps` is.
    pub frames_per_minute: Option<u32>,
    /// Frames whose timestamp stepped back and was clamped.
    pub clamped: u64,
    /// Items that were dropped because their publication was replaced or the Track had ended.
    pub stale: u64,
    /// What did not become a frame on the way from packets.
    pub losses: Losses,
    /// What the reorder window before it did.
    pub reordered: ReorderStats,
    /// Microseconds between the last two keyframes.
    pub keyframe_interval_micros: Option<i64>,
}

/// The part of [`LayerInfo`] by which one of several is chosen: see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Keyframes seen.
    pub keyframes: u64,
    /// Frames whose beginning came.
    pub frames: u64,
    /// Payload bits per second.
    pub bitrate_bps: Option<u64>,
    /// When the newest item came.
    pub newest: Option<Instant>,
    /// Microseconds between the last two keyframes.
    pub keyframe_interval_micros: Option<i64>,
}

/// After so long without anything a Layer counts as silent: its encoder has paused it, or is gone.
const SILENCE: Duration = Duration::from_secs(2);

impl LayerInfo {
    /// Payload bits per second, and frames per second; `None` while nothing comes.
    pub fn rates(&self, now: Instant) -> Option<(u64, f64)> {
        let silent = now.saturating_duration_since(self.newest?) > SILENCE;
        (!silent).then_some((self.bitrate_bps?, f64::from(self.frames_per_minute?) / 60.0))
    }
}

/// One encoding of a video Track, or the only one of an audio Track.
#[derive(Debug)]
pub struct Layer {
    rid: Rid,
    state: Mutex<LayerState>,
    /// Wakes the writer when demand changes. Shared by all Layers of the Track.
    writer: Arc<Mutex<Option<Waker>>>,
}

impl Layer {
    pub(crate) fn new(rid: Rid, codec: Codec, writer: Arc<Mutex<Option<Waker>>>) -> Self {
        Self { rid, writer, state: Mutex::new(LayerState::new(codec)) }
    }

    /// Its name.
    pub fn rid(&self) -> &Rid {
        &self.rid
    }

    /// A copy of what is known about it.
    pub fn info(&self) -> LayerInfo {
        let state = self.lock();
        let (losses, reordered) = state.losses();
        LayerInfo { losses, reordered, ..state.info.clone() }
    }

    /// How much comes of it, and when: what changes with every item, without a copy of the rest.
    pub fn activity(&self) -> Activity {
        let info = &self.lock().info;
        Activity {
            size: info.size,
            keyframes: info.keyframes,
            frames: info.frames,
            bitrate_bps: info.bitrate_bps,
            newest: info.newest,
            keyframe_interval_micros: info.keyframe_interval_micros,
        }
    }

    /// Whether and how its frames are reordered.
    pub fn reordering(&self) -> Reordering {
        self.lock().info.reordering
    }

    /// Asks the writer for a keyframe. Requests are coalesced until the writer took one.
    pub fn request_keyframe(&self) {
        self.lock().want_keyframe();
        self.wake_writer();
    }

    /// How many readers both faces have.
    pub fn readers(&self) -> usize {
        self.lock().readers()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LayerState> {
        // A panic while the lock is held leaves at worst a half-converted frame; readers go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_writer(&self) {
        let waker = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The number that the next packet of this Layer gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.lock().next_seq()
    }

    pub(crate) fn write_frame(&self, frame: Frame) {
        self.change(|state| state.write_frame(frame));
    }

    pub(crate) fn write_rtp(&self, packet: RtpPacket) {
        self.change(|state| state.write_packet(packet));
    }

    pub(crate) fn end(&self) {
        self.change(LayerState::end);
    }

    /// Registers a reader of face `T`.
    pub(crate) fn attach<T: FaceItem>(&self) -> Attached {
        let attached = self.lock().attach::<T>();
        self.wake_writer();
        attached
    }

    pub(crate) fn detach<T: FaceItem>(&self, reader: u64) {
        self.lock().detach::<T>(reader);
        self.wake_writer();
    }

    /// Changes what readers see, then wakes them: after unlocking, because a woken reader takes this very lock.
    fn change(&self, change: impl FnOnce(&mut LayerState)) {
        let mut batch = [const { None }; state::WAKE_AT_ONCE];
        let mut state = self.lock();
        change(&mut state);
        loop {
            let count = state.take_wakers(&mut batch);
            drop(state);
            batch.iter_mut().filter_map(Option::take).for_each(Waker::wake);
            if count < state::WAKE_AT_ONCE {
                return;
            }
            state = self.lock();
        }
    }
}
