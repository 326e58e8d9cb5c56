//! Forwards RTP to WebRTC subscribers and terminates WebRTC publishers.
//!
//! ```text
//!   Sfu (handle) ── offer ──► sdp ──► Negotiated ──► claims ◄── first valid STUN check ── shard
//!                                                                                         │
//!   shard thread: sockets ──► core (sans-I/O) ──► egress (seal, batch) ──► sockets        ▼
//!                 bus ──────►                                              one UDP port, N shards
//! ```
//!
//! `core` holds no socket, thread, task or clock; `shard` is the thin shell around it; `egress` is where a
//! payload is copied and encrypted, once, straight into the buffer that one system call sends; `bwe` judges what a
//! viewer's line takes.
//!
//! # What this crate may not know
//! HTTP, authorisation, SQL, chat. Whoever calls [`Sfu::subscribe`] or [`Sfu::publish`] was let in before.

mod announce;
mod audience;
pub mod bwe;
mod capacity;
mod config;
pub mod core;
pub mod egress;
mod error;
mod event;
mod forward;
mod handle;
mod layers;
pub mod peer_stats;
pub mod sdp;
pub mod sdp_publish;
pub mod shard;
pub mod stats;

pub use self::core::overload::{LayerCap, OverloadLevel};
pub use capacity::{Limit, Refused};
pub use config::Config;
pub use error::Error;
pub use event::{CloseReason, FallbackReason, PeerEvent, PeerId};
pub use handle::{Ingestion, PeerHandle, Sfu, Subscription};
pub use layers::{AudioOnly, LayerChoice, LayerState, Layers};
pub use peer_stats::PeerStats;
pub use stats::{ShardStats, Stats};
