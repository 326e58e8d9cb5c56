//! The control plane's words and memory: who may publish, watch and speak, and where that is remembered.
//!
//! Every protocol asks at one door: [`Authority`] turns a stream key or a wish to watch into a [`Grant`]
//! or says why not. Channels and their stream keys come from the configuration.
//!
//! ```text
//!   RTMP publish, WHIP POST ─► Authority::publish ─┐
//!   WHEP POST, gateway, HLS ─► Authority::play ────┴─► Grant | Denied
//! ```
//!
//! # What this crate may not know
//! Protocols, sockets, packets. Of `media` it uses ids only.

mod auth;
mod channel;
pub mod db;

pub use auth::authority::{Authority, Denied};
pub use auth::grant::{Grant, Permission};
pub use auth::stream_key::StreamKey;
pub use channel::ChannelConfig;
pub use db::Database;
