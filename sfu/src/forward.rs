//! Which packets of a source a viewer gets, and under which numbers.

pub(crate) mod allocator;
pub(crate) mod picture_ids;
pub(crate) mod rewriter;
pub(crate) mod selector;
