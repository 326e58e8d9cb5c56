//! Recordings: what a Stream leaves on disk.
//!
//! ```text
//! Presentation ─ frames, parts, segments ─► tap (bounded) ─► recorder (a thread per Stream) ─► files ─► syncer
//!                                                                 end │
//!                                   finisher (one thread): repair ◄───┘──► VOD ──► MP4, retention
//!                                                                              outcome: who was told ◄─┘
//! ```
//! The folder of a recording is named after its Stream:
//! ```text
//! recording.json             what it is (manifest.rs)
//! journal.log                which segments it has (journal.rs)
//! uploaded.log               which of it are in the bucket, if there is one (../upload)
//! wal-{n}.bin                frames that are in no part yet (wal.rs); gone once it ended
//! {rendition}/init{n}.mp4    as in the live playlists
//! {rendition}/s{msn}.m4s
//! video.mp4                  once it is ready
//! ```

mod config;
mod counters;
mod finisher;
mod journal;
mod library;
mod manifest;
mod offsite;
mod outcome;
mod plan;
mod recorder;
mod repair;
mod retention;
mod stored;
mod syncer;
mod tap;
#[cfg(test)]
mod tests;
mod wal;

pub use config::{Reach, RecordingConfig};
pub use counters::RecordingStats;
pub(crate) use journal::{Entry, line as checksummed, read as unchecksummed, read_on};
pub use library::{Recordings, RemoveError};
pub use manifest::{Recording, RecordingState, Storage, Uploaded};
pub(crate) use offsite::{Offsite, remove};
pub(crate) use plan::{Plan, Rendition, Segment};
pub(crate) use tap::{About, RenditionTap, Tap};
#[cfg(test)]
pub(crate) use tests::house::{recorded, recorded_within};
