//! Every metric: where its number is kept, its name, its kind, its meaning.
//!
//! A new counter: a field in its crate's `Stats`, a row in one of the parts, the same row in `docs/metrics.md`. A
//! new reason for a dropped packet: the same, with `dropped`. Tests name what is missing.

mod accounts;
mod packets;
mod peers;
mod protocols;
mod row;
mod storage;

pub(super) use row::{Kind, Row};

/// All of them, in the order of the text. The rows of a family stand together.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [peers::ROWS, packets::ROWS, protocols::ROWS, storage::ROWS, accounts::ROWS].into_iter().flatten()
}

#[cfg(test)]
mod tests;
