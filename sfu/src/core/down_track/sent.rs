//! What was sent on an m-line, for NACK: as much of it as a second brings.

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use crate::prefetch::prefetch;

/// How far back a viewer asks for what it missed: as long as the history keeps it.
const KEEP: Duration = Duration::from_secs(1);
/// Packets remembered at first, and at least: 2 s of sound, or of 500 kbit/s. 3 KiB.
const ENTRIES_MIN: usize = 128;
/// Packets remembered at most: a second of 9 Mbit/s. 24 KiB. Older ones count as `nack_unknown`.
const ENTRIES_MAX: usize = 1024;

/// A packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Of the source.
    pub(super) seq: u64,
    pub(super) timestamp: u32,
    /// Low half of the index.
    pub(super) index: u32,
    /// Milliseconds on the Peer's clock when it was sent again last.
    pub(super) resent: u32,
    pub(super) transport_seq: u16,
    /// With [`super::WITH_MID`].
    pub(super) payload_type: u8,
    /// Of which source it was. Never zero, so that an empty place in the ring costs nothing more.
    pub(super) source: NonZeroU8,
}

const _: () = assert!(size_of::<Option<Sent>>() == 24, "up to a thousand of them per viewer");

/// A ring by output index. It holds a second at the rate of late: a viewer of a small picture has an eighth of what
/// one of a large picture has.
#[derive(Debug)]
pub(super) struct SentRing {
    /// Its length is a power of two, or zero: NACK was not negotiated, or nothing was sent yet.
    entries: Box<[Option<Sent>]>,
    nack: bool,
    /// Packets until the ring is full of newer ones, of so many, counted since then.
    left: usize,
    of: usize,
    since: Option<Instant>,
}

impl SentRing {
    /// Remembers nothing if NACK was not negotiated.
    pub(super) fn new(nack: bool) -> Self {
        Self { entries: Box::default(), nack, left: 0, of: 0, since: None }
    }

    /// Whether it can remember anything.
    pub(super) fn is_on(&self) -> bool {
        self.nack
    }

    /// A packet was sent. It takes the place of an older one.
    pub(super) fn push(&mut self, now: Instant, sent: Sent) {
        if !self.nack {
            return;
        }
        if self.left == 0 {
            self.resize(now, sent.index);
        }
        self.left -= 1;
        let at = self.at(sent.index);
        self.entries[at] = Some(sent);
    }

    /// The packet of that index, if it is remembered.
    pub(super) fn get(&self, index: u64) -> Option<&Sent> {
        self.entries.get(self.at(index as u32))?.as_ref().filter(|sent| sent.index == index as u32)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, index: u64) -> Option<&mut Sent> {
        let at = self.at(index as u32);
        self.entries.get_mut(at)?.as_mut().filter(|sent| sent.index == index as u32)
    }

    /// Brings the places of a few packets nearer, from that index on.
    pub(super) fn prefetch(&self, index: u64) {
        for index in [0, 2, 4, 6].map(|more| (index as u32).wrapping_add(more)) {
            if let Some(entry) = self.entries.get(self.at(index)) {
                prefetch(entry);
            }
        }
    }

    fn at(&self, index: u32) -> usize {
        index as usize & self.entries.len().wrapping_sub(1)
    }

    /// The ring is full, and `next` is about to be sent: is it as long as it should be?
    fn resize(&mut self, now: Instant, next: u32) {
        let length = self.entries.len();
        let took = self.since.replace(now).map_or(KEEP, |since| now.saturating_duration_since(since));
        let in_keep = self.of as u128 * KEEP.as_micros() / took.as_micros().max(1);
        let in_keep = in_keep.min(ENTRIES_MAX as u128) as usize;
        let wanted = in_keep.next_power_of_two().max(ENTRIES_MIN);
        // Shorter only if it is clearly enough: a rate near a power of two would have it resized for ever.
        let shrinks = wanted < length && in_keep * 5 / 4 <= length / 2;
        if wanted > length || shrinks {
            let old = std::mem::replace(&mut self.entries, vec![None; wanted].into_boxed_slice());
            let is_new = |sent: &&Sent| next.wrapping_sub(sent.index) as i32 <= wanted as i32;
            let newest = old.iter().flatten().filter(is_new);
            for sent in newest {
                let at = self.at(sent.index);
                self.entries[at] = Some(*sent);
            }
        }
        let now_long = self.entries.len();
        self.of = if now_long > length { now_long - length } else { now_long };
        self.left = self.of;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    fn sent(index: u32) -> Sent {
        Sent {
            seq: index.into(),
            timestamp: 0,
            index,
            resent: 0,
            transport_seq: 0,
            payload_type: 96,
            source: NonZeroU8::MIN,
        }
    }

    #[test]
    fn a_second_is_remembered_whatever_the_rate_and_not_much_more() {
        for (per_second, entries) in [(20_u32, 128), (100, 128), (300, 512), (900, 1024), (5000, 1024)] {
            let mut ring = SentRing::new(true);
            // Around the end of the low half.
            let (mut now, mut index) = (beginning(), u64::from(u32::MAX) - 5000);
            // It begins with a burst, as a viewer does.
            for _ in 0..600 {
                now += Duration::from_micros(400);
                index += 1;
                ring.push(now, sent(index as u32));
            }
            assert!((0..600.min(index)).all(|behind| ring.get(index - behind).is_some()), "the burst");
            for _ in 0..(per_second * 30).max(6000) {
                now += Duration::from_secs(1) / per_second;
                index += 1;
                ring.push(now, sent(index as u32));
            }
            let known = (0..5000).take_while(|behind| ring.get(index - behind).is_some()).count();
            assert!(known >= (per_second as usize).min(ENTRIES_MAX), "{per_second} per second: {known}");
            assert_eq!(ring.entries.len(), entries, "{per_second} per second");
        }
    }

    #[test]
    fn without_nack_nothing_is_remembered() {
        let mut ring = SentRing::new(false);
        ring.push(beginning(), sent(1));
        assert!(ring.get(1).is_none() && ring.get_mut(1).is_none());
        assert!(SentRing::new(true).get(1).is_none());
    }
}
