//! The aggregation header, and the OBU elements behind it.

use crate::av1::obu;

/// The first byte of a payload (section 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AggregationHeader {
    /// Z: the first element goes on with the OBU that the packet before ended in.
    pub continues: bool,
    /// Y: the last element goes on in the next packet.
    pub continued: bool,
    /// W: how many elements there are; 0: each has a length in front of it.
    pub count: u8,
    /// N: a coded video sequence begins here; a decoder can start.
    pub new_sequence: bool,
}

impl AggregationHeader {
    /// The header and what follows it; `None` if there is nothing.
    pub fn parse(payload: &[u8]) -> Option<(Self, Elements<'_>)> {
        let (&first, rest) = payload.split_first()?;
        let header = Self {
            continues: first & 0x80 != 0,
            continued: first & 0x40 != 0,
            count: first >> 4 & 3,
            new_sequence: first & 0x08 != 0,
        };
        Some((header, Elements { rest, left: header.count, counted: header.count > 0 }))
    }
}

/// The OBU elements of a payload: OBUs, or fragments of them. Total: one that reaches beyond the end is `None`,
/// then the iterator ends.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    /// Elements that are still to come, where their number was told.
    left: u8,
    counted: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            // Fewer than were told.
            let missing = std::mem::take(&mut self.left) > 0;
            return missing.then_some(None);
        }
        if self.counted {
            // More than were told.
            let Some(left) = self.left.checked_sub(1) else {
                self.rest = &[];
                return Some(None);
            };
            self.left = left;
            if left == 0 {
                // The last one has no length.
                return Some(Some(std::mem::take(&mut self.rest)));
            }
        }
        let element = obu::take_leb128(&mut self.rest).and_then(|length| self.rest.split_at_checked(length));
        let Some((element, rest)) = element else {
            (self.rest, self.left) = (&[], 0);
            return Some(None);
        };
        self.rest = rest;
        Some(Some(element))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart() {
        type Found<'a> = &'a [Option<&'a [u8]>];
        let table: [(&[u8], Found<'_>); 9] = [
            (&[0x10, 1, 2], &[Some(&[1, 2])]),
            (&[0x20, 1, 9, 8, 7], &[Some(&[9]), Some(&[8, 7])]),
            (&[0x00, 1, 9, 2, 8, 7], &[Some(&[9]), Some(&[8, 7])]),
            (&[0x00], &[]),
            (&[0x00, 0], &[Some(&[])]),
            // A length beyond the end, one that does not end, and fewer than told.
            (&[0x00, 3, 1, 2], &[None]),
            (&[0x20, 0x80], &[None]),
            (&[0x30, 1, 9], &[Some(&[9]), None]),
            (&[0x10], &[None]),
        ];
        for (payload, expected) in table {
            let (_, elements) = AggregationHeader::parse(payload).expect("a header");
            assert_eq!(elements.collect::<Vec<_>>(), expected, "{payload:?}");
        }
        let (header, _) = AggregationHeader::parse(&[0xd8]).expect("a header");
        assert_eq!(
            header,
            AggregationHeader { continues: true, continued: true, count: 1, new_sequence: true }
        );
        assert!(AggregationHeader::parse(&[]).is_none());
    }
}
