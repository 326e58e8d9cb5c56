//! Where the bytes of parts lie.

pub(crate) mod disk;
mod memory;

pub(crate) use memory::Memory;
