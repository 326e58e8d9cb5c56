//! Frames to fMP4 parts, parts to segments, segments to playlists: LL-HLS of a Stream.
//!
//! A [`Packager`] is attached to a [`media::Stream`] and reads the frame face of its Tracks; its [`routes`]
//! serve a multivariant playlist with a video Rendition per Layer and an audio group.
//!
//! ```text
//!  media::Track ─ Frame ─► feed ─► Presentation ──────────────────────────┐   routes ◄─ HTTP
//!                                    Probe       constants, fixed once     │     │
//!                                    Segmenter   where to cut (one list)   ├──► Session: lock + waiters
//!                                    Assembler   samples, parts, segments  │
//!                                    Rendition   window, playlist, bytes ──┘
//!                                  (a Line is an Assembler and its Rendition: one per Layer, one for audio)
//! ```
//! [`fmp4`] writes boxes, [`playlist`] writes text. Everything inside `Presentation` is sans-I/O: no clock,
//! no task, no socket; time is passed in.
//!
//! # Rules that everything here follows
//! The ids in test names (`hls_l07_…`) are those of the conformance list in `docs/hls.md`, made from
//! draft-pantos-hls-rfc8216bis and Apple's authoring specification. Section numbers in comments are the
//! draft's.
//!
//! # What this crate may not know
//! Who may watch, what a database is, WebRTC.

mod assembler;
mod bucket;
mod config;
mod directives;
mod error;
mod feed;
mod file_name;
pub mod fmp4;
mod horizon;
mod line;
mod name;
mod packager;
pub mod playlist;
mod presentation;
mod probe;
mod recording;
mod rendition;
mod rewind;
mod routes;
mod segmenter;
mod session;
mod silence;
mod stats;
mod storage;
#[cfg(test)]
mod tests;
mod upload;
mod variant;
mod video_watch;
mod vod;
mod window;

pub use bucket::{Bucket, KeepLocal, S3Config};
pub use config::Config;
pub use error::Error;
pub use packager::Packager;
pub use recording::{
    Reach, Recording, RecordingConfig, RecordingState, RecordingStats, Recordings, RemoveError, Storage,
    Uploaded,
};
pub use routes::routes;
pub use stats::{State, Stats, Status};
pub use upload::StorageStats;
pub use variant::path;
pub use vod::vod_routes;
