//! Recordings on their way into a bucket.
//!
//! ```text
//! recorder, library ─ tell ─► Inbox ─► uploader (a task) ─ Backlog per recording ─► Bucket
//!                                        ▲                       │
//!                     journal (what is)  └── Ledger (what is there already) ◄── confirmed
//! ```
//! The queue is the disk: what is to be uploaded is what the journal of a recording tells and its ledger does not. So
//! nothing is lost when the process ends, and a bucket that is slow or gone costs a file name in memory per segment, up
//! to a bound, after which the journal is read again. Who records never waits.

mod backlog;
mod complaints;
mod counters;
mod inbox;
mod ledger;
mod lists;
mod pace;
mod uploader;

pub(crate) use counters::Counters;
pub use counters::StorageStats;
pub(crate) use inbox::{Inbox, News, Wake};
pub(crate) use ledger::FILE as LEDGER;
pub(crate) use uploader::run;

use crate::file_name::FileName;

/// The name of an object, below that of its recording.
fn object(rendition: &str, file: FileName) -> String {
    format!("{rendition}/{}", file.uri())
}

#[cfg(test)]
mod tests;
