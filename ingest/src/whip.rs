//! WHIP: publishing by WebRTC with one HTTP request (RFC 9725).
//!
//! ```text
//!  POST /whip/{channel}   offer, Bearer = stream key ─► admission ─► Sfu::publish ─► 201 answer
//!  PATCH, DELETE /whip/s/{id}                           the session of that answer
//! ```
//!
//! What WHIP and WHEP have in common (methods, headers, sessions, errors) is [`http`]; `signaling` serves
//! WHEP with it (ADR 0011).

pub mod http;
mod routes;

pub use routes::{Whip, routes};
