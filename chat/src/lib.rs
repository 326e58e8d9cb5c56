//! Chat rooms: messages, the rate limit, the last thousand messages.
//!
//! A [`Room`] is sans-I/O: the exact window of 20 messages in 5 seconds, sequence numbers, history. The
//! [`Service`] holds the Rooms of this node and hands every message out as one shared frame.
//!
//! ```text
//!   gateway ── post ──► Service ──► Room (limit, seq, history) ──► broadcast ──► gateway (each member)
//! ```
//!
//! # What this crate may not know
//! Sockets, media, who a person really is: the gateway says which [`User`] speaks.

mod config;
mod message;
mod room;
mod service;

pub use config::Config;
pub use message::{Badge, Fragment, Kind, Message, User};
pub use room::{Refused, Room};
pub use service::{Joined, Service};
