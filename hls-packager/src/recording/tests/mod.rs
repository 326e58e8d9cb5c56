//! Recordings in virtual time: killed at any frame, cut at any byte, on disks that are full or stand still.

mod damage;
mod disk;
pub(crate) mod house;
mod outcome;
mod rewind;
mod whole;
