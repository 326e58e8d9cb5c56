//! Parts in memory, by number.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::fmp4::Slices;

/// The inits and parts of one Rendition. A segment is a range of parts.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    inits: BTreeMap<u64, Bytes>,
    parts: VecDeque<Slices>,
    first: u64,
    bytes: usize,
}

impl Memory {
    /// Payload bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn put_init(&mut self, generation: u64, init: Bytes) {
        self.inits.insert(generation, init);
    }

    pub(crate) fn init(&self, generation: u64) -> Option<Bytes> {
        self.inits.get(&generation).cloned()
    }

    /// Appends a part and says its number.
    pub(crate) fn push(&mut self, part: Slices) -> u64 {
        self.bytes += part.len();
        self.parts.push_back(part);
        self.next() - 1
    }

    /// The number that the next part will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.parts.len() as u64
    }

    pub(crate) fn part(&self, number: u64) -> Option<Slices> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.parts.get(at).cloned()
    }

    /// The parts of a segment, if all are held.
    pub(crate) fn range(&self, range: Range<u64>) -> Option<Vec<Slices>> {
        range.map(|number| self.part(number)).collect()
    }

    /// Forgets the parts before `number` and the inits before `generation`.
    pub(crate) fn forget_before(&mut self, number: u64, generation: u64) {
        while self.first < number
            && let Some(part) = self.parts.pop_front()
        {
            self.bytes -= part.len();
            self.first += 1;
        }
        self.inits = self.inits.split_off(&generation);
    }
}
