//! RFC 9628: VP9 in RTP.

mod depacketizer;
mod descriptor;

pub(super) use depacketizer::Depacketizer;
pub use descriptor::Descriptor;
