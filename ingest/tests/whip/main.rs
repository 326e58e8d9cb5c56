//! WHIP, row by row of the conformance list (RFC 9725), against a real SFU.
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod door;
mod house;
mod offer;
mod session;
