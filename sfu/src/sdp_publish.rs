//! The offer of a WebRTC publisher (WHIP, RFC 9725): what we accept of it, and the answer.
//!
//! The text is read here, line by line, because real encoders stretch SDP in ways that a library may take
//! for a rejection (port 0 with `bundle-only`, three fingerprints, capitals in `rtpmap`, no SSRC at all).
//! The peer connection underneath gets a canonical offer that says only what it must know.

mod answer;
mod canonical;
mod lines;
mod offer;
mod payload;

pub(crate) use answer::{AnswerParameters, write_answer};
pub(crate) use canonical::canonical_offer;
pub(crate) use offer::{Accepted, Extension, RIDS_MAX, Setup};
pub use offer::{OFFER_BYTES_MAX, PublishOffer};

#[cfg(test)]
pub(crate) mod tests;
