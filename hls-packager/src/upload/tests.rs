//! Recordings on their way into buckets that work, fail, stand still and come back; in virtual time.

mod bucket;
mod growing;
mod whole;
