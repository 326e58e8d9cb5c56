//! Cuts the input of a fuzz target into steps. Each crate that has targets includes this file by path.

/// What is left of an input.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The bytes behind a 16-bit length, or as many of them as are left; `None` at the end.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes([self.byte()?, self.byte()?]);
        let (block, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
        self.0 = rest;
        Some(block)
    }
}
