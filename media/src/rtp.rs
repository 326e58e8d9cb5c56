//! RTP: the normalised packet, and one file per payload format and mechanism.

mod assembly;
pub mod av1;
pub mod clock;
mod decode_time;
pub mod depacketizer;
pub mod h264;
pub mod h265;
pub mod inspector;
pub mod opus;
pub mod packet;
pub mod packetizer;
pub mod reorder;
pub mod unwrap;
pub mod vp8;
pub mod vp9;

pub use clock::{PublisherClock, SourceClock};
pub use depacketizer::Depacketizer;
pub use inspector::{Flags, Inspector};
pub use packet::RtpPacket;
pub use packetizer::Packetizer;
pub use reorder::Reorder;
pub use unwrap::{SeqUnwrapper, TimestampUnwrapper};
