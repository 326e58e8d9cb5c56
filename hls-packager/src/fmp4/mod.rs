//! Fragmented MP4 (CMAF): one init per codec configuration, one moof + mdat per part.

mod boxes;
mod entry;
mod fragment;
mod init;

pub use fragment::{Sample, Slices, fragment};
pub use init::init;

/// Every init and fragment carries one track, of this id.
const TRACK_ID: u32 = 1;
