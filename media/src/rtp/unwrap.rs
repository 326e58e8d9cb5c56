//! 16- and 32-bit numbers from the wire to numbers that never wrap.

/// Extends wrapping numbers (RTP sequence numbers, timestamps) to 64 bits: each is taken as the one nearest
/// to the newest seen so far, so reordering and wrap-around are harmless. A jump of half the range or more
/// is ambiguous and read as the shorter way.
#[derive(Clone, Debug)]
pub struct Unwrapper<const BITS: u32> {
    newest: Option<u64>,
}

/// For RTP sequence numbers.
pub type SeqUnwrapper = Unwrapper<16>;
/// For RTP timestamps.
pub type TimestampUnwrapper = Unwrapper<32>;

impl<const BITS: u32> Default for Unwrapper<BITS> {
    fn default() -> Self {
        Self { newest: None }
    }
}

impl<const BITS: u32> Unwrapper<BITS> {
    /// Before anything was seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// The 64-bit number of `wire`, of which only the lowest `BITS` bits count. The first one lies in the
    /// second cycle, so that numbers from before it stay positive.
    pub fn unwrap(&mut self, wire: u32) -> u64 {
        let wire = u64::from(wire) & Self::MASK;
        let number = match self.newest {
            None => wire | 1 << BITS,
            Some(newest) => Self::nearest(newest, wire),
        };
        self.newest = self.newest.max(Some(number));
        number
    }

    /// What [`Self::unwrap`] would say, without taking note of it: for numbers of packets that are not
    /// verified yet, or that were sent back to us.
    pub fn peek(&self, wire: u32) -> Option<u64> {
        self.newest.map(|newest| Self::nearest(newest, u64::from(wire) & Self::MASK))
    }

    /// The newest number so far.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    const MASK: u64 = (1 << BITS) - 1;

    fn nearest(newest: u64, wire: u64) -> u64 {
        // The distance as a signed number of BITS bits.
        let ahead = wire.wrapping_sub(newest) & Self::MASK;
        if ahead < 1 << (BITS - 1) {
            newest.saturating_add(ahead)
        } else {
            // Backwards; below zero only after a whole cycle of going back, which `newest` never does.
            newest.saturating_sub((1 << BITS) - ahead)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_reordering_are_harmless() {
        let mut seqs = SeqUnwrapper::new();
        let first = seqs.unwrap(65_534);
        for (wire, step) in [(65_535, 1), (1, 3), (0, 2), (65_533, -1), (2, 4), (32_769, 32_771), (0, 65_538)]
        {
            assert_eq!(seqs.unwrap(wire), first.wrapping_add_signed(step), "{wire}");
        }
        let mut times = TimestampUnwrapper::new();
        let first = times.unwrap(u32::MAX);
        assert_eq!(times.unwrap(2_999), first + 3_000);
        assert_eq!(times.unwrap(u32::MAX), first);
        assert_eq!(times.peek(5_999), Some(first + 6_000));
        assert_eq!(times.newest(), Some(first + 3_000));
    }

    #[test]
    fn counts_through_many_cycles_with_every_step_size() {
        for step in [1, 7, 1_000, 32_767] {
            let mut seqs = SeqUnwrapper::new();
            let first = seqs.unwrap(0);
            for n in 1..20_000u64 {
                assert_eq!(seqs.unwrap((n * step) as u32), first + n * step);
            }
        }
    }
}
