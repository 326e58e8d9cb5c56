//! What was sent and not yet reported, by transport-wide number.

/// Packets remembered per viewer: 2 s of 8 Mbit/s, 16 KiB. Reports of older ones are ignored; a round trip with
/// the interval of feedback is a tenth of that.
pub const SENT_MAX: usize = 2048;

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

/// A ring by transport-wide number. Allocated with the first packet.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ring: Box<[Entry]>,
    newest: u16,
}

impl Sent {
    /// A packet was sent. `at`: microseconds.
    pub(super) fn push(&mut self, at: i64, number: u16, bytes: usize, cluster: u8) {
        if self.ring.is_empty() {
            self.ring = vec![Entry::default(); SENT_MAX].into_boxed_slice();
        }
        let bytes = bytes.min(u16::MAX.into()) as u16;
        self.ring[usize::from(number) % SENT_MAX] =
            Entry { sent: at as u32, bytes, cluster, state: State::Sent };
        self.newest = number;
    }

    /// A packet arrived. `None`: that is known already, or it is not remembered. `now`: microseconds.
    pub(super) fn arrived(&mut self, now: i64, number: u16) -> Option<Told> {
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
        let age = usize::from(self.newest.wrapping_sub(number));
        if age >= SENT_MAX {
            return None;
        }
        self.ring.get_mut(usize::from(number) % SENT_MAX)
    }
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
    fn what_is_too_old_is_forgotten() {
        let mut sent = Sent::default();
        for number in 0..=SENT_MAX as u16 {
            sent.push(0, number, 1, 0);
        }
        assert_eq!(sent.arrived(0, 0), None);
        assert!(sent.arrived(0, 1).is_some());
    }
}
