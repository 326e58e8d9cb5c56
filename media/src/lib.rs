//! The data plane's words.
//!
//! Every source becomes a [`Publisher`](stream::StreamWriter) that writes [`Track`]s; every Track has two
//! faces, RTP packets and frames; the SFU reads the first, the packager the second. A face is converted
//! once, by the Track, and only while somebody reads it.
//!
//! ```text
//!  RTMP, transcode ── write_frame ─┐                    ┌─ TrackReader<RtpPacket> ─► SFU shards
//!                                  ├─► Track ─► Layer ──┤
//!  WHIP, relay ────── write_rtp ───┘             ▲      └─ TrackReader<Frame> ─────► packager, transcode
//!                                                │
//!                     keyframe, please ──────────┘  (the only things that travel upstream: Demand)
//! ```
//!
//! # Glossary
//! - [`Stream`]: one broadcast on a Channel; survives a reconnect within the grace window.
//! - [`Track`]: one elementary stream of a Stream. [`Layer`]: one encoding of a video Track.
//! - [`Frame`]: one access unit (video) or one codec frame (audio).
//! - [`RtpPacket`]: a normalised RTP packet with 64-bit sequence number and [`MediaTime`].
//! - [`Hub`]: the table of live Streams of this node.
//!
//! # What this crate may not know
//! Sockets, clocks, tasks, HTTP, SQL, WebRTC or any protocol. Time is always passed in.

pub mod aac;
pub mod av1;
mod bits;
pub mod codec;
pub mod demand;
pub mod error;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod h264;
pub mod h265;
pub mod hub;
pub mod id;
pub mod layer;
pub mod opus;
pub mod reordering;
mod ring;
pub mod rtp;
pub mod stream;
pub mod time;
pub mod track;
pub mod vp8;
pub mod vp9;

pub use codec::{Codec, CodecConfig, Kind};
pub use demand::Demand;
pub use error::Error;
pub use frame::Frame;
pub use hub::{Hub, HubEvent};
pub use id::{ChannelName, Rid, StreamId};
pub use layer::{Activity, Layer, LayerInfo};
pub use reordering::Reordering;
pub use rtp::RtpPacket;
pub use stream::{Publication, Stream, StreamState, StreamWriter};
pub use time::{MediaTime, NtpTime, StreamClock, Timescale};
pub use track::{Track, TrackReader, TrackSpec, TrackWriter};
