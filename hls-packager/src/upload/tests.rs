//! Recordings on their way into buckets that work, fail, are full, stand still and come back; in virtual time.

mod aside;
mod bucket;
mod full;
mod growing;
mod leaving;
mod whole;
