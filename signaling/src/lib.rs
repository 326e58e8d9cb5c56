//! The one WebSocket gateway, and WHEP.
//!
//! One socket per viewer carries signaling (`rtc.*`) and chat. A viewer always offers, here as over WHEP:
//! both call the same `Sfu::subscribe`.
//!
//! ```text
//!   socket ─► connection ─► session ─┬─ rtc.play ─► Sfu::subscribe ─► rtc.answer
//!              ▲   lanes             └─ join, message ─► chat::Service
//!              └─── presence (members of a channel) ◄── chat messages, Hub events
//! ```
//!
//! # What this crate may not know
//! RTP. It hands offers to the SFU and never sees a packet.

mod gateway;
mod protocol;
pub mod whep;

pub use gateway::{Gateway, GatewayParts, Stats, routes};
