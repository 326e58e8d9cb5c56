//! When packets arrived: transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often libwebrtc sends it at a few Mbit/s.
pub(super) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// A delta has a quarter of a millisecond.
const DELTA_MICROS: i64 = 250;

pub(super) struct Arrivals {
    begin: Instant,
    newest: Option<u64>,
    /// The number after the last one told.
    next: Option<u64>,
    arrived: BTreeMap<u64, Instant>,
    count: u8,
    /// It lies: each report begins so many units of the reference time later than it should, from one to the next.
    pub(super) lie: u32,
}

impl Arrivals {
    pub(super) fn new(begin: Instant) -> Self {
        Self { begin, newest: None, next: None, arrived: BTreeMap::new(), count: 0, lie: 0 }
    }

    pub(super) fn insert(&mut self, now: Instant, number: u16) {
        let newest = self.newest.unwrap_or(u64::from(number) + (1 << 16));
        let seq = newest.saturating_add_signed(i64::from(number.wrapping_sub(newest as u16) as i16));
        self.newest = Some(newest.max(seq));
        if self.next.is_none_or(|next| seq >= next) {
            self.arrived.entry(seq).or_insert(now);
        }
    }

    /// The feedback about what arrived since the last one: what follows the two SSRCs.
    pub(super) fn feedback(&mut self) -> Option<Vec<u8>> {
        let first = self.next.or(self.arrived.keys().next().copied())?;
        let last = *self.arrived.keys().next_back()?;
        let arrived = std::mem::take(&mut self.arrived);
        self.next = Some(last + 1);
        let micros = |at: Instant| at.saturating_duration_since(self.begin).as_micros() as i64;
        // The reference time has 64 ms, the deltas begin there.
        let reference = micros(*arrived.values().next()?) / 64_000;
        let mut previous = reference * 64_000 / DELTA_MICROS;
        let (mut symbols, mut deltas) = (Vec::new(), Vec::new());
        for seq in first..=last {
            let Some(at) = arrived.get(&seq) else {
                symbols.push(0);
                continue;
            };
            let at = micros(*at) / DELTA_MICROS;
            let delta = at - previous;
            previous = at;
            match u8::try_from(delta) {
                Ok(small) => {
                    symbols.push(1);
                    deltas.push(small);
                }
                Err(_) => {
                    symbols.push(2);
                    deltas.extend_from_slice(&(delta as i16).to_be_bytes());
                }
            }
        }
        let mut fci = Vec::new();
        fci.extend_from_slice(&(first as u16).to_be_bytes());
        fci.extend_from_slice(&(symbols.len() as u16).to_be_bytes());
        let told = (reference as u32).wrapping_add(self.lie.wrapping_mul(self.count.into()));
        fci.extend_from_slice(&(told << 8 | u32::from(self.count)).to_be_bytes());
        self.count = self.count.wrapping_add(1);
        // Vector chunks of seven symbols with two bits each.
        for chunk in symbols.chunks(7) {
            let vector = chunk.iter().chain(std::iter::repeat_n(&0, 7 - chunk.len()));
            let word = vector.fold(0b11_u16, |word, symbol| word << 2 | symbol);
            fci.extend_from_slice(&word.to_be_bytes());
        }
        fci.extend_from_slice(&deltas);
        fci.resize(fci.len().next_multiple_of(4), 0);
        Some(fci)
    }
}
