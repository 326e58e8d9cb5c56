//! Transport-wide feedback: when packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
//!
//! ```text
//!   base number (16) | status count (16) | reference time (24, 64 ms) | feedback count (8)
//!   chunks of 16 bits: a run of one status, or 14 statuses of 1 bit, or 7 of 2 bits
//!   one delta per packet that arrived: 8 bits unsigned, or 16 bits signed, of 250 µs each
//! ```

/// Statuses read of one report. More than [`super::SENT_MAX`] packets are not remembered anyway, and what a
/// few bytes can claim must not cost more. Such a report is refused (`feedback_refused`).
const STATUSES_MAX: u16 = super::SENT_MAX as u16;
/// A delta's unit.
const DELTA_MICROS: i64 = 250;
/// The reference time's unit.
const REFERENCE_MICROS: i64 = 64_000;
/// The reference time wraps around after so many units.
const REFERENCE_END: i64 = 1 << 24;

/// One report, checked: every status and every delta is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    base: u16,
    count: u16,
    reference: u32,
    /// The receiver's number of this report.
    number: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads what comes after the two SSRCs. `None`: it is broken, or claims too much.
    pub(crate) fn read(fci: &'a [u8]) -> Option<Self> {
        let (header, rest) = fci.split_first_chunk::<8>()?;
        let base = u16::from_be_bytes([header[0], header[1]]);
        let count = u16::from_be_bytes([header[2], header[3]]);
        let reference = u32::from_be_bytes([0, header[4], header[5], header[6]]);
        if count == 0 || count > STATUSES_MAX {
            return None;
        }
        // Where the deltas begin, and how many bytes they must be.
        let (mut left, mut chunks_len, mut deltas_len) = (count, 0, 0);
        while left > 0 {
            let chunk = u16_at(rest, chunks_len)?;
            chunks_len += 2;
            for at in 0..chunk_len(chunk).min(left) {
                deltas_len += delta_len(status(chunk, at))?;
            }
            left -= chunk_len(chunk).min(left);
        }
        let (chunks, rest) = rest.split_at(chunks_len);
        Some(Self { base, count, reference, number: header[7], chunks, deltas: rest.get(..deltas_len)? })
    }

    /// Nothing was reported before it: receivers count from 0, and begin with the first packet that they got.
    pub(crate) fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Whether it ends before that number.
    pub(crate) fn is_before(&self, number: u16) -> bool {
        !self.is_behind(number) && number.wrapping_sub(self.base) >= self.count
    }

    /// Whether it begins behind that number.
    pub(crate) fn is_behind(&self, number: u16) -> bool {
        number.wrapping_sub(self.base) >= 1 << 15
    }

    /// How many packets it is about.
    pub(super) fn count(&self) -> u64 {
        self.count.into()
    }

    /// Calls `each` with every number, in order, and when it arrived: microseconds since the reference time.
    /// `None`: it has not arrived.
    pub(crate) fn walk(&self, mut each: impl FnMut(u16, Option<i64>)) {
        let (mut number, mut left, mut arrival, mut deltas) = (self.base, self.count, 0, self.deltas);
        for chunk in self.chunks.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])) {
            for at in 0..chunk_len(chunk).min(left) {
                let delta = match (status(chunk, at), deltas) {
                    (1, [small, rest @ ..]) => {
                        deltas = rest;
                        Some(i64::from(*small))
                    }
                    (2, [high, low, rest @ ..]) => {
                        deltas = rest;
                        Some(i64::from(i16::from_be_bytes([*high, *low])))
                    }
                    _ => None,
                };
                arrival += delta.unwrap_or(0) * DELTA_MICROS;
                each(number, delta.map(|_| arrival));
                number = number.wrapping_add(1);
            }
            left -= chunk_len(chunk).min(left);
        }
    }

    /// The reference time in microseconds, continued over its wrap-around: the one nearest to `last`.
    pub(super) fn reference_micros(&self, last: i64) -> i64 {
        let units = last.div_euclid(REFERENCE_MICROS);
        let ahead = (i64::from(self.reference) - units).rem_euclid(REFERENCE_END);
        let ahead = if ahead >= REFERENCE_END / 2 { ahead - REFERENCE_END } else { ahead };
        (units + ahead) * REFERENCE_MICROS
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// How many statuses a chunk has.
fn chunk_len(chunk: u16) -> u16 {
    match chunk >> 14 {
        0 | 1 => chunk & 0x1fff,
        2 => 14,
        _ => 7,
    }
}

/// The status at a place of a chunk.
fn status(chunk: u16, at: u16) -> u16 {
    match chunk >> 14 {
        0 | 1 => chunk >> 13 & 3,
        2 => chunk >> (13 - at) & 1,
        _ => chunk >> (12 - 2 * at) & 3,
    }
}

/// How many bytes a status has among the deltas. The fourth is reserved.
fn delta_len(status: u16) -> Option<usize> {
    (status < 3).then_some(status.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fci(base: u16, count: u16, reference: u32, tail: &[u8]) -> Vec<u8> {
        let mut bytes = base.to_be_bytes().to_vec();
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&reference.to_be_bytes()[1..]);
        bytes.push(9);
        bytes.extend_from_slice(tail);
        bytes
    }

    fn arrivals(bytes: &[u8]) -> Option<Vec<(u16, Option<i64>)>> {
        let mut all = Vec::new();
        Report::read(bytes)?.walk(|number, arrival| all.push((number, arrival)));
        Some(all)
    }

    #[test]
    fn every_kind_of_chunk_is_read() {
        // A run of two small ones over the wrap-around of numbers.
        let run = fci(65_535, 2, 0, &[0x20, 2, 4, 8]);
        assert_eq!(arrivals(&run), Some(vec![(65_535, Some(1000)), (0, Some(3000))]));
        // 14 of one bit: 1 0 1, the rest is not counted.
        let bits = fci(7, 3, 0, &[0b1010_1000, 0, 1, 2]);
        assert_eq!(arrivals(&bits), Some(vec![(7, Some(250)), (8, None), (9, Some(750))]));
        // 7 of two bits: small, large and negative, none.
        let pairs = fci(7, 3, 0, &[0b1101_1000, 0, 8, 0xff, 0xfc]);
        assert_eq!(arrivals(&pairs), Some(vec![(7, Some(2000)), (8, Some(1000)), (9, None)]));
        // A run of lost ones and a vector after it.
        let both = fci(0, 5, 0, &[0x00, 4, 0b1010_0000, 0, 1]);
        assert_eq!(arrivals(&both).map(|all| all[4]), Some((4, Some(250))));
    }

    #[test]
    fn what_is_broken_or_claims_too_much_is_refused() {
        for (name, bytes) in [
            ("nothing", vec![]),
            ("half a header", vec![0; 7]),
            ("no status", fci(0, 0, 0, &[0x20, 1, 1])),
            ("no chunk", fci(0, 1, 0, &[])),
            ("half a chunk", fci(0, 1, 0, &[0x20])),
            ("fewer statuses than told", fci(0, 3, 0, &[0x20, 2, 1, 1])),
            ("a delta is missing", fci(0, 2, 0, &[0x20, 2, 1])),
            ("the reserved status", fci(0, 1, 0, &[0x60, 1, 0, 0, 0])),
            ("runs of nothing", fci(0, 100, 0, &[0x20, 0, 0x20, 0])),
            ("too many", fci(0, STATUSES_MAX + 1, 0, &[0x1f, 0xff])),
        ] {
            assert_eq!(arrivals(&bytes), None, "{name}");
        }
        assert_eq!(arrivals(&fci(0, STATUSES_MAX, 0, &[0x1f, 0xff])).map(|all| all.len()), Some(2048));
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut state = 1_u64;
        for length in 0..2000_usize {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            arrivals(&bytes);
        }
    }

    #[test]
    fn the_reference_time_goes_on_over_its_wrap_around() {
        let at = |reference| fci(0, 1, reference, &[0x20, 1, 0]);
        let read = |bytes: &[u8], last| Report::read(bytes).map(|report| report.reference_micros(last));
        let last = (REFERENCE_END - 1) * REFERENCE_MICROS;
        assert_eq!(read(&at(0xff_ffff), 0), Some(-REFERENCE_MICROS), "the nearest");
        assert_eq!(read(&at(0xff_ffff), last + 10), Some(last));
        assert_eq!(read(&at(1), last + 10), Some(last + 2 * REFERENCE_MICROS));
        assert_eq!(read(&at(0xff_fffe), last + 10), Some(last - REFERENCE_MICROS), "an older one");
    }
}
