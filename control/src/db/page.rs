//! Long lists, a piece at a time.

/// Most rows of one piece.
pub(crate) const PAGE_MAX: u32 = 100;

/// Which piece of a list: rows after `after`, in the list's order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The last row of the piece before; none for the first.
    pub after: Option<String>,
    /// How many rows; at most 100 are given.
    pub limit: u32,
}

impl Page {
    /// The first piece of this size.
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, PAGE_MAX))
    }

    pub(super) fn after(&self) -> String {
        self.after.clone().unwrap_or_default()
    }
}
