//! What the RTMP listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::timeline::Mends;

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn bump(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the RTMP listener counts, shared by all connections.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(pub(crate) $name: Counter,)*
        }

        /// What the RTMP listener has counted so far; each grows only. Metrics are named
        /// `swiftwater_rtmp_<name>_total`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// A copy of all numbers.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// TCP connections accepted.
    connections_accepted,
    /// TCP connections closed at once because there were too many.
    connections_refused,
    /// TCP connections refused because their address had as many as it may.
    connections_refused_address,
    /// TCP connections that have ended; `connections_accepted` minus this are open.
    connections_ended,
    /// Publications admitted.
    publications,
    /// Publications refused: unknown key, busy, no key, codec.
    rejections,
    /// Connections that broke the protocol or a limit.
    protocol_errors,
    /// Connections that did not publish in time, or fell silent.
    timeouts,
    /// Publishers replaced by a newer one with the same key.
    replaced,
    /// Bytes read.
    bytes,
    /// Video frames written to Tracks.
    video_frames,
    /// Audio frames written to Tracks.
    audio_frames,
    /// Frames dropped: malformed, or before their codec's configuration or first keyframe.
    frames_dropped,
    /// Encoder clocks that jumped.
    time_jumps,
    /// Encoder clocks that had drifted by half a second.
    time_drifts,
    /// Gaps and steps in audio time.
    audio_reanchored,
    /// Audio frames that lay in the past.
    audio_dropped,
    /// Video frames off the frame grid.
    video_reanchored,
}

impl Stats {
    /// Adds what happened between two looks at a publication's timeline.
    pub(crate) fn add_mends(&self, before: Mends, after: Mends) {
        self.time_jumps.add(after.jumps - before.jumps);
        self.time_drifts.add(after.drifts - before.drifts);
        self.audio_reanchored.add(after.audio_reanchored - before.audio_reanchored);
        self.audio_dropped.add(after.audio_dropped - before.audio_dropped);
        self.video_reanchored.add(after.video_reanchored - before.video_reanchored);
    }
}
