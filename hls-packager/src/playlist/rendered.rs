//! A playlist ready to be sent.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A playlist as text, plain and compressed: made once, shared by everybody who waited for it.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// UTF-8.
    pub(crate) plain: Bytes,
    /// The same, compressed.
    pub(crate) gzip: Bytes,
}

impl Rendered {
    /// Compresses `text`.
    pub(crate) fn new(text: String) -> Self {
        Self { gzip: compress(text.as_bytes()), plain: text.into() }
    }
}

fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    // Writing into a Vec cannot fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default().into()
}
