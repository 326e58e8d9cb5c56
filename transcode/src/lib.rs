//! Reads a Track, writes another: AAC to Opus, Opus to AAC, pictures to H.264.
//!
//! RTMP brings AAC, browsers play Opus by WebRTC and AAC by HLS: so every Stream gets the audio Track that
//! its Publisher did not bring. The derived Track exists from the beginning of the source Track; the work
//! behind it runs only while somebody reads it ([`media::Demand::LayerWanted`]).
//!
//! ```text
//!  Stream ── source Track ── TrackReader<Frame> ─┐
//!                                                ▼                one Job per derived Track, woken by
//!              Pool (a few threads) ──► Job ── Converter          frames and by demand, run by the Pool
//!                                        │        decode → resample → Timeline → encode
//!  Stream ── derived Track ◄─ TrackWriter ┘                      (the Timeline keeps sound and picture together)
//! ```
//!
//! - [`Transcoder`]: what the server holds: [`Transcoder::attach`] follows one Stream until it ended.
//! - [`audio::Converter`]: sans-I/O and without a clock: frames in, frames out.
//! - [`h264::Encoder`] and [`picture::I420`]: pictures to H.264, for the demo and, later, the ladder.
//!
//! # What this crate may not know
//! Protocols, sockets, the control plane. C libraries (libopus, FDK AAC, OpenH264) end here: nobody else
//! calls them.

mod aac;
pub mod audio;
mod config;
mod error;
pub mod h264;
mod job;
mod opus;
pub mod picture;
mod pool;
mod resample;
mod stats;
mod timeline;
mod transcoder;

pub use crate::config::Config;
pub use crate::error::Error;
pub use crate::stats::Stats;
pub use crate::transcoder::Transcoder;
