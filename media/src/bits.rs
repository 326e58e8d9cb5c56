//! Reads bits from the front of a byte string. Total: past the end there is `None`.

/// A position in a byte string, in bits.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next `count` bits, most significant first; at most 32.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32, "a u32 has 32 bits");
        let mut value: u64 = 0;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        u32::try_from(value).ok()
    }

    /// The next bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// An unsigned Exp-Golomb number (ITU-T H.264 section 9.1); `None` beyond 2^31.
    pub(crate) fn unsigned_exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1) as u32 + self.take(zeros)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
    }

    #[test]
    fn exp_golomb_follows_table_9_1() {
        // 1 | 010 | 011 | 00100 | 00111
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0011, 0b1000_0000]);
        for value in [0, 1, 2, 3, 6] {
            assert_eq!(bits.unsigned_exp_golomb(), Some(value));
        }
        assert_eq!(Bits::new(&[0; 9]).unsigned_exp_golomb(), None);
        assert_eq!(Bits::new(&[]).unsigned_exp_golomb(), None);
    }
}
