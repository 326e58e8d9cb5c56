//! What was sent and not yet reported, by transport-wide number.

use crate::prefetch::prefetch;

/// Packets remembered per viewer at most: 2 s of 8 Mbit/s, 16 KiB. Reports of older ones are ignored; a round trip
/// with the interval of feedback is a tenth of that.
pub const SENT_MAX: usize = 2048;
/// And at first: a quarter of a second of the burst that a viewer begins with. 4 KiB. It is enough for most lines.
const SENT_MIN: usize = 512;

/// What is known of a packet. 8 bytes, written once per packet and viewer.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Low half of the microseconds.
    sent: u32,
    bytes: u16,
    cluster: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Sent,
    Missing,
    Arrived,
}

/// What a report says about a packet that it was not known of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sent: i64,
    pub(super) bytes: u64,
    /// The probe cluster that it was sent in; 0 is none.
    pub(super) cluster: u8,
    /// It had been reported as missing before.
    pub(super) was_missing: bool,
}

/// A ring by transport-wide number. Allocated with the first packet; grows when a packet would be forgotten before
/// the viewer, who does report, could have told of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Its length is a power of two, or zero.
    ring: Box<[Entry]>,
    newest: u16,
    /// The viewer reports.
    heard: bool,
}

impl Sent {
    /// A packet was sent. `at`: microseconds.
    pub(super) fn push(&mut self, at: i64, number: u16, bytes: usize, cluster: u8) {
        let length = self.ring.len();
        if length == 0 {
            self.ring = vec![Entry::default(); SENT_MIN].into_boxed_slice();
        } else if self.heard && length < SENT_MAX && self.ring[place(number, length)].state == State::Sent {
            self.grow();
        }
        let bytes = bytes.min(u16::MAX.into()) as u16;
        self.ring[place(number, self.ring.len())] =
            Entry { sent: at as u32, bytes, cluster, state: State::Sent };
        self.newest = number;
    }

    /// Brings the place of a number nearer.
    pub(super) fn prefetch(&self, number: u16) {
        if let Some(entry) = self.ring.get(place(number, self.ring.len().max(1))) {
            prefetch(entry);
        }
    }

    fn grow(&mut self) {
        let length = self.ring.len();
        let mut ring = vec![Entry::default(); 2 * length].into_boxed_slice();
        for age in 0..length {
            let number = self.newest.wrapping_sub(age as u16);
            ring[place(number, 2 * length)] = self.ring[place(number, length)];
        }
        self.ring = ring;
    }

    /// A packet arrived. `None`: that is known already, or it is not remembered. `now`: microseconds.
    pub(super) fn arrived(&mut self, now: i64, number: u16) -> Option<Told> {
        self.heard = true;
        let entry = self.entry(number)?;
        let was_missing = entry.state == State::Missing;
        if !was_missing && entry.state != State::Sent {
            return None;
        }
        entry.state = State::Arrived;
        Some(entry.told(now, was_missing))
    }

    /// A packet has not arrived. `None`: that is known already, or it is not remembered.
    pub(super) fn missing(&mut self, now: i64, number: u16) -> Option<Told> {
        let entry = self.entry(number).filter(|entry| entry.state == State::Sent)?;
        entry.state = State::Missing;
        Some(entry.told(now, false))
    }

    fn entry(&mut self, number: u16) -> Option<&mut Entry> {
        let (age, length) = (usize::from(self.newest.wrapping_sub(number)), self.ring.len());
        if age >= length {
            return None;
        }
        self.ring.get_mut(place(number, length))
    }
}

fn place(number: u16, length: usize) -> usize {
    usize::from(number) & (length - 1)
}

impl Entry {
    fn told(&self, now: i64, was_missing: bool) -> Told {
        // Less than an hour ago: the low half says enough.
        let age = (now as u32).wrapping_sub(self.sent);
        Told { sent: now - i64::from(age), bytes: self.bytes.into(), cluster: self.cluster, was_missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_told_of_once() {
        let mut sent = Sent::default();
        assert_eq!(sent.arrived(0, 0), None, "nothing was sent");
        let start = i64::from(u32::MAX) - 50;
        for number in 0..3_u16 {
            sent.push(start + i64::from(number) * 100, 65_535_u16.wrapping_add(number), 1000, 0);
        }
        let now = start + 5000;
        let first = sent.arrived(now, 65_535).expect("sent");
        assert_eq!((first.sent, first.bytes, first.was_missing), (start, 1000, false));
        assert_eq!(sent.arrived(now, 65_535), None);
        assert_eq!(sent.missing(now, 0).map(|told| told.sent), Some(start + 100));
        assert_eq!(sent.missing(now, 0), None);
        assert_eq!(sent.arrived(now, 0).map(|told| told.was_missing), Some(true), "it was only late");
        assert_eq!(sent.arrived(now, 2), None, "not sent yet");
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_who_reports_late_gets_more_room() {
        for (reports, remembered) in [(false, SENT_MIN), (true, SENT_MAX)] {
            let mut sent = Sent::default();
            sent.push(0, 60_000, 1, 0);
            if reports {
                sent.arrived(0, 60_000);
            }
            for number in 0..10_000_u16 {
                sent.push(0, 60_001_u16.wrapping_add(number), 1, 0);
            }
            let newest = 60_000_u16.wrapping_add(10_000);
            let known =
                (0..10_000).filter(|age| sent.arrived(0, newest.wrapping_sub(*age)).is_some()).count();
            assert_eq!(known, remembered, "reports: {reports}");
        }
    }

    #[test]
    fn who_reports_in_time_needs_no_more_room() {
        let mut sent = Sent::default();
        for number in 0..10_000_u16 {
            sent.push(0, number, 1, 0);
            if let Some(before) = number.checked_sub(100) {
                assert!(sent.arrived(0, before).is_some());
            }
        }
        assert_eq!(sent.ring.len(), SENT_MIN);
    }
}
