//! Where the bytes of parts lie.

mod memory;

pub(crate) use memory::Memory;
