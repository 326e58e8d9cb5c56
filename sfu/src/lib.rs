//! Forwards RTP to WebRTC subscribers and terminates WebRTC publishers.
//!
//! ```text
//!   Sfu (handle) ── offer ──► sdp ──► Negotiated ──► claims ◄── first valid STUN check ── shard
//!                                                                                         │
//!   shard thread: sockets ──► core (sans-I/O) ──► egress (seal, batch) ──► sockets        ▼
//!                 bus ──────►                                              one port, N shards
//! ```
//!
//! `core` holds no socket, thread, task or clock; `shard` is the thin shell around it; `egress` is where a
//! payload is copied and encrypted, once, straight into the buffer that one system call sends; `bwe` judges what a
//! viewer's line takes.
//!
//! # What this crate may not know
//! HTTP, authorisation, SQL, chat. Whoever calls [`Sfu::subscribe`] or [`Sfu::publish`] was let in before.

mod allowance;
mod announce;
mod audience;
pub mod bwe;
mod candidate;
mod capacity;
mod config;
pub mod core;
mod crowd;
pub mod egress;
mod error;
mod event;
mod forward;
mod handle;
mod ice_server;
mod ice_session;
mod layers;
pub mod peer_stats;
mod prefetch;
pub mod sdp;
pub mod sdp_publish;
pub mod shard;
pub mod stats;

pub use self::core::overload::{LayerCap, OverloadLevel};
pub use candidate::Candidate;
pub use capacity::{Limit, Refused};
pub use config::Config;
pub use crowd::network_of;
pub use egress::batch::Transport;
pub use error::Error;
pub use event::{CloseReason, FallbackReason, PeerEvent, PeerId};
pub use handle::{Ingestion, PeerHandle, Sfu, Subscription};
pub use ice_server::{IceServer, IceServerConfig, Secret};
pub use ice_session::IceSession;
pub use layers::{AudioOnly, LayerChoice, LayerState, Layers};
pub use peer_stats::PeerStats;
pub use stats::{ShardStats, Stats};
