//! The control plane's words and memory: who may publish, watch and speak, and where that is remembered.
//!
//! Every protocol asks at one door: [`Authority`] turns a stream key or a wish to watch into a [`Grant`]
//! or says why not. Channels and their stream keys come from the configuration and from the [`Database`], which
//! [`account::Accounts`] fills. A backend of the
//! operator may be asked besides: [`hooks`].
//!
//! ```text
//!   RTMP publish, WHIP POST ───────┐
//!   WHEP POST, gateway, HLS, VOD ──┴─► Authority::authorize ─► Grant | Denied
//!                                         │ keys: one look-up by HMAC · Channels: in memory
//!   API, pages, commands ─► Accounts ─► Database (SQLite, PostgreSQL)
//! ```
//!
//! # What this crate may not know
//! Protocols, packets, listening sockets. Of `media` it uses ids only.

pub mod account;
mod auth;
mod channel;
mod clock;
pub mod db;
pub mod hooks;
mod moderation;
mod seldom;

pub use account::Accounts;
pub use auth::attempts::{Attempts, network_of};
pub use auth::authority::{Authority, Denied, GRANT_SECONDS_MAX, GrantKey, Identity, Request, Stats};
pub use auth::grant::{Grant, Permission};
pub use auth::permission::{Action, Actor, SCOPES, Standing};
pub use auth::secrets::{Secrets, SecretsError};
pub use auth::stream_key::StreamKey;
pub use auth::token::TokenError;
pub use channel::{ChannelConfig, Rewind};
pub use db::Database;
pub use moderation::{Moderation, Silenced, Speaker};
