//! What a feed keeps of the past: one plaintext copy for all its viewers.
//!
//! Holds everything since the newest keyframe, for instant start, and the last second before it, for NACK: within bounds
//! of packets, bytes and time.
//! Indexed by the source's sequence number: a packet is found in one step, a lost one is a hole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::RtpPacket;

/// Packets kept at most, holes included: 16 s of a 5 Mbit/s Layer. Beyond it the oldest go, and a GOP that
/// lost its keyframe starts nobody (`catch_up_refused`).
const PACKETS_MAX: usize = 8192;
/// Payload bytes kept at most: a 10 s GOP at 12 Mbit/s. The same rule.
const BYTES_MAX: usize = 16 << 20;
/// How long packets from before the newest keyframe are kept, since they came and since it came: a burst of
/// them may have been sent just now, and a viewer asks for what it missed for about a second.
const KEEP: Duration = Duration::from_secs(1);
/// How old a group of pictures may be to start a viewer: 400 frames, which is all that a burst has, last for 27 s at
/// 15 per second.
const START_MAX: Duration = Duration::from_secs(27);
/// How long a group is kept at most: a burst that has begun ends within 3 s. An encoder that makes no keyframes (intra
/// refresh, or nobody asked) would fill the other bounds. After it only [`KEEP`] counts (`histories_cut`).
const GOP_MAX: Duration = Duration::from_secs(30);
/// A larger step of the source's numbers is no loss but a new beginning: everything before is forgotten.
const STEP_MAX: u64 = 4096;

/// What is kept since the newest keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gop {
    /// Number of the first packet of the keyframe.
    pub(crate) first: u64,
    /// Frames begun.
    pub(crate) frames: u32,
    /// Packets there are; fewer than numbers if there is a hole.
    packets: u64,
    /// Payload bytes.
    pub(crate) bytes: usize,
    /// When its keyframe came.
    pub(crate) since: Instant,
}

/// How a packet fitted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The newest so far.
    Newest,
    /// It fills a hole.
    Late,
    /// It is there already, or too old to be kept.
    Useless,
}

/// The packets of one feed.
#[derive(Debug, Default)]
pub(crate) struct History {
    packets: VecDeque<Option<RtpPacket>>,
    /// Number of `packets[0]`.
    head: u64,
    bytes: usize,
    gop: Option<Gop>,
    /// First number of the group before it.
    previous: u64,
    /// The newest group is too old to start anybody.
    too_old: bool,
    /// Groups of pictures that lost their beginning to a bound.
    cut: u64,
}

impl History {
    /// The number after the newest packet.
    pub(crate) fn end(&self) -> u64 {
        self.head + self.packets.len() as u64
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&RtpPacket> {
        let at = usize::try_from(seq.checked_sub(self.head)?).ok()?;
        self.packets.get(at)?.as_ref()
    }

    /// How many groups of pictures lost their beginning to a bound since the last call.
    pub(crate) fn take_cut(&mut self) -> u64 {
        std::mem::take(&mut self.cut)
    }

    /// Payload bytes from a number on.
    pub(crate) fn bytes_from(&self, seq: u64) -> usize {
        let skip = seq.saturating_sub(self.head).min(self.packets.len() as u64) as usize;
        self.packets.range(skip..).flatten().map(|packet| packet.payload.len()).sum()
    }

    /// The number of the first packet of the newest keyframe.
    pub(crate) fn newest_keyframe(&self) -> Option<u64> {
        self.gop.map(|gop| gop.first)
    }

    /// What is kept since the newest keyframe, if that is still there and nothing is missing.
    pub(crate) fn whole_gop(&self) -> Option<Gop> {
        self.gop.filter(|gop| gop.packets == self.end() - gop.first && !self.too_old)
    }

    pub(crate) fn push(&mut self, now: Instant, packet: RtpPacket) -> Placed {
        let seq = packet.seq;
        if self.packets.is_empty() || seq >= self.end() + STEP_MAX {
            self.clear(seq);
        }
        if seq < self.head {
            return Placed::Useless;
        }
        let placed = if seq < self.end() { self.fill(packet) } else { self.append(packet) };
        self.forget(now);
        placed
    }

    fn append(&mut self, packet: RtpPacket) -> Placed {
        while self.end() < packet.seq {
            self.packets.push_back(None);
        }
        self.bytes += packet.payload.len();
        if packet.starts_keyframe && packet.frame_start {
            self.previous = self.gop.map_or(packet.seq, |gop| gop.first);
            self.gop =
                Some(Gop { first: packet.seq, frames: 0, packets: 0, bytes: 0, since: packet.arrival });
        }
        count(&mut self.gop, &packet);
        self.packets.push_back(Some(packet));
        Placed::Newest
    }

    fn fill(&mut self, packet: RtpPacket) -> Placed {
        let at = (packet.seq - self.head) as usize;
        if self.packets[at].is_some() {
            return Placed::Useless;
        }
        self.bytes += packet.payload.len();
        let begins = packet.starts_keyframe && packet.frame_start;
        if begins && self.gop.is_none_or(|gop| gop.first < packet.seq) {
            // The first packet of a keyframe came late: count again from it.
            self.packets[at] = Some(packet);
            let newest = self.packets.iter().skip(at).flatten();
            let mut gop = None;
            for packet in newest {
                gop.get_or_insert(Gop {
                    first: packet.seq,
                    frames: 0,
                    packets: 0,
                    bytes: 0,
                    since: packet.arrival,
                });
                count(&mut gop, packet);
            }
            self.previous = self.gop.map_or(self.head, |gop| gop.first);
            self.gop = gop;
        } else {
            count(&mut self.gop, &packet);
            self.packets[at] = Some(packet);
        }
        Placed::Late
    }

    fn forget(&mut self, now: Instant) {
        let age = self.gop.map(|gop| now.saturating_duration_since(gop.since));
        self.too_old = age.is_some_and(|age| age > START_MAX);
        if age.is_some_and(|age| age > GOP_MAX) {
            self.gop = None;
            self.cut += 1;
        }
        let gop_first = self.gop.map_or(u64::MAX, |gop| gop.first);
        let superseded = self.gop.is_none_or(|gop| now.saturating_duration_since(gop.since) > KEEP);
        let previous = self.previous;
        while let Some(oldest) = self.packets.front() {
            let over = self.packets.len() > PACKETS_MAX || self.bytes > BYTES_MAX;
            let stale = self.head < gop_first
                && (superseded || self.head < previous)
                && oldest.as_ref().is_none_or(|packet| now.saturating_duration_since(packet.arrival) > KEEP);
            if !over && !stale {
                break;
            }
            self.bytes -= oldest.as_ref().map_or(0, |packet| packet.payload.len());
            self.packets.pop_front();
            self.head += 1;
        }
        if self.head > gop_first {
            self.gop = None;
            self.cut += 1;
        }
    }

    fn clear(&mut self, head: u64) {
        self.packets.clear();
        self.head = head;
        self.bytes = 0;
        self.gop = None;
        self.previous = head;
    }
}

fn count(gop: &mut Option<Gop>, packet: &RtpPacket) {
    if let Some(gop) = gop.as_mut().filter(|gop| packet.seq >= gop.first) {
        gop.packets += 1;
        gop.frames += u32::from(packet.frame_start);
        gop.bytes += packet.payload.len();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use media::{MediaTime, Timescale};

    use super::*;
    use crate::core::up_track::beginning;

    pub(crate) fn packet(seq: u64, ticks: i64, key: bool, start: bool, now: Instant) -> RtpPacket {
        RtpPacket {
            seq,
            time: MediaTime::new(ticks, Timescale::VIDEO),
            lag_micros: 0,
            payload: Bytes::from(vec![seq as u8; 100]),
            marker: false,
            frame_start: start,
            starts_keyframe: key,
            discardable: false,
            reorders: false,
            temporal_id: 0,
            epoch: 0,
            arrival: now,
        }
    }

    #[test]
    fn sound_is_kept_for_a_second_though_every_packet_is_a_keyframe() {
        let mut now = beginning();
        let mut history = History::default();
        for seq in 0..500 {
            history.push(now, packet(seq, seq as i64 * 960, true, true, now));
            now += Duration::from_millis(20);
        }
        assert!((50..55).contains(&history.packets.len()), "{}", history.packets.len());
    }

    #[test]
    fn a_hole_is_seen_and_can_be_filled() {
        let now = beginning();
        let mut history = History::default();
        assert_eq!(history.push(now, packet(10, 0, true, true, now)), Placed::Newest);
        assert_eq!(history.push(now, packet(12, 3000, false, true, now)), Placed::Newest);
        assert_eq!(history.whole_gop(), None);
        assert!(history.get(11).is_none());
        assert_eq!(history.push(now, packet(11, 0, false, false, now)), Placed::Late);
        assert_eq!(history.push(now, packet(11, 0, false, false, now)), Placed::Useless);
        assert_eq!(history.push(now, packet(9, 0, false, false, now)), Placed::Useless);
        let gop = history.whole_gop().expect("whole");
        assert_eq!((gop.first, gop.frames, gop.bytes), (10, 2, 300));
    }

    #[test]
    fn a_keyframe_whose_first_packet_is_late_counts() {
        let now = beginning();
        let mut history = History::default();
        history.push(now, packet(0, 0, true, true, now));
        history.push(now, packet(2, 3000, false, false, now));
        history.push(now, packet(1, 3000, true, true, now));
        assert_eq!(history.whole_gop().map(|gop| (gop.first, gop.frames)), Some((1, 1)));
    }

    #[test]
    fn an_encoder_without_keyframes_fills_no_more_than_a_second() {
        let mut now = beginning();
        let mut history = History::default();
        for seq in 0..3000 {
            history.push(now, packet(seq, seq as i64 * 9000, seq == 0, true, now));
            let age = Duration::from_millis(100) * seq as u32;
            assert_eq!(history.whole_gop().is_some(), age <= START_MAX, "{age:?}");
            // Bursts that have begun are finished.
            assert_eq!(history.get(0).is_some(), age <= GOP_MAX, "{age:?}");
            now += Duration::from_millis(100);
        }
        assert!((10..13).contains(&history.packets.len()), "{}", history.packets.len());
        assert_eq!(history.take_cut(), 1);
        history.push(now, packet(3000, 0, true, true, now));
        assert!(history.whole_gop().is_some(), "the next keyframe starts viewers again");
        assert_eq!(history.take_cut(), 0);
    }

    #[test]
    fn it_keeps_the_gop_and_a_second_and_no_more_than_its_bounds() {
        let now = beginning();
        let mut history = History::default();
        for seq in 0..100 {
            history.push(now, packet(seq, seq as i64, seq == 0 || seq == 50, true, now));
        }
        assert!(history.get(0).is_some(), "a second is kept");
        let soon = now + KEEP / 2;
        history.push(soon, packet(100, 100, true, true, soon));
        let later = soon + KEEP - Duration::from_millis(1);
        history.push(later, packet(101, 101, false, true, later));
        assert!(history.get(50).is_some(), "a second after it was superseded");
        let later = soon + KEEP * 2;
        history.push(later, packet(102, 102, false, true, later));
        assert!(history.get(99).is_none() && history.get(100).is_some());
        for seq in 103..103 + 2 * PACKETS_MAX as u64 {
            history.push(later, packet(seq, seq as i64, false, true, later));
        }
        assert_eq!(history.packets.len(), PACKETS_MAX);
        assert_eq!(history.whole_gop(), None, "the keyframe is gone");
        history.push(later, packet(1 << 40, 0, true, true, later));
        assert_eq!(history.packets.len(), 1);
    }
}
