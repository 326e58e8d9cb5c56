//! Turns arriving protocols into publish requests and Tracks.
//!
//! An encoder knocks by RTMP or WHIP. This crate speaks the protocol, asks whoever listens at the other end
//! of the [`PublishRequest`] queue whether the encoder may come in, and from then on writes what it sends
//! into the Tracks of the Stream that it was given. The media of a WHIP encoder is carried by `sfu`; here
//! is only its HTTP side.
//!
//! ```text
//!  encoder ── TCP ──► rtmp::Listener ─► rtmp::Session ─► rtmp::Publication ──► TrackWriter (frames)
//!                          │            (chunks, AMF)    (FLV, timeline)
//!                          │ PublishRequest
//!                          ├──────────────► admission (server) ─► StreamWriter | Rejection
//!                          │ PublishRequest
//!  encoder ── HTTP ─► whip::routes ─► sfu::Sfu::publish ──────────────────────► TrackWriter (packets)
//! ```
//!
//! # What this crate may not know
//! Who may publish (`control`), databases, viewers, chat. It sees a stream key only as a secret to pass on
//! and never writes one to a log.

mod clock;
mod error;
mod notice;
mod percent;
mod request;
pub mod rtmp;
pub mod whip;

pub use error::Error;
pub use request::{PublishRequest, Rejection, Transport, Written};
