//! The HTTP that WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) share: an [`Endpoint`] that takes offers,
//! and the session resources that its answers point to.
//!
//! It knows offers and answers as text. Who may come in, and what an offer means, is its user's business.

mod endpoint;
mod extension;
mod failures;
mod headers;
mod problem;
mod resource;
mod sessions;

pub use endpoint::{Admitted, Companion, Endpoint, Offer, Stats};
pub use headers::cors;
pub use problem::Problem;
