//! Fragmented MP4 (CMAF): one init per codec configuration, one moof + mdat per part. And the same samples as one
//! progressive file.

mod boxes;
mod entry;
mod fragment;
mod init;
mod init_info;
pub(crate) mod movie;
pub(crate) mod scan;

pub use fragment::{Sample, Slices, fragment};
pub use init::init;
pub(crate) use init_info::InitInfo;

/// Every init and fragment carries one track, of this id.
const TRACK_ID: u32 = 1;
