//! RFC 7798: H.265 in RTP, as browsers send it (`tx-mode=SRST`, no interleaving: no DONL fields).

mod depacketizer;

pub(super) use depacketizer::Depacketizer;

/// FU header bits (RFC 7798 section 4.4.3).
pub(super) const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
/// FuType.
pub(super) const FU_TYPE: u8 = 0x3f;

/// The units of an aggregation packet (section 4.4.2), behind its header. Total: one that reaches beyond the
/// end is `None`, then the iterator ends.
#[derive(Clone, Debug)]
pub(super) struct Aggregated<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Aggregated<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let unit = self.0.split_first_chunk().and_then(|(size, rest)| {
            let size = usize::from(u16::from_be_bytes(*size));
            rest.split_at_checked(size)
        });
        self.0 = unit.map_or(&[], |(_, rest)| rest);
        Some(unit.map(|(unit, _)| unit))
    }
}
