//! Playlists as data: one type per tag, one field per attribute, `Display` writes the text.

pub mod delta;
pub mod media;
pub mod multivariant;
mod rendered;
pub mod tag;

pub use media::Media;
pub use multivariant::Multivariant;
pub(crate) use rendered::Rendered;
