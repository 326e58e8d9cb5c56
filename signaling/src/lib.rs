//! The one WebSocket gateway, and WHEP.

pub mod whep;
