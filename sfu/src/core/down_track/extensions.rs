//! Header extensions that not every packet carries, and what stands in them.
//!
//! What a packet carried follows from its index, so that it can be written again as it was. Within a frame the
//! headers keep one length, apart from its first packet: only packets of equal size leave in one run.

use std::time::{Duration, Instant};

use media::{RtpPacket, StreamClock, Timescale};

use super::playout_delay::{PlayoutDelay, Value};

/// How often the capture time is told: receivers interpolate (the extension's section "Timestamp
/// interpolation").
const CAPTURE_INTERVAL: Duration = Duration::from_secs(1);
/// Packets with a capture time that are remembered: as many as the seconds in which a packet can be asked for
/// again, and one of a switch.
const CAPTURES_KEPT: usize = 4;

/// What was negotiated, each with its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extensions {
    /// The longest delay to tell: more than 0, which browsers read as "no smoothing at all".
    pub(crate) playout_delay: Option<(u8, Duration)>,
    pub(crate) capture_time: Option<u8>,
    pub(crate) send_time: Option<u8>,
    /// Of the Stream: what capture times are told by.
    pub(crate) clock: StreamClock,
}

/// What one packet carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    /// How long the picture waits.
    pub(super) playout_delay: Option<(u8, Value)>,
    /// Of the frame, as NTP.
    pub(super) capture_time: Option<(u8, u64)>,
    /// 6 bits of seconds, 18 of fractions.
    pub(super) send_time: Option<(u8, [u8; 3])>,
}

/// Until when packets carry the playout delay. One that got through is enough: receivers keep the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Playout {
    /// From this index on, once something was sent.
    Told { from: Option<u64> },
    /// It got through: up to the end of the frame.
    Heard,
    /// Up to this index, exclusive.
    Over { at: u64 },
}

/// Which packets of an m-line carry what.
#[derive(Debug)]
pub(super) struct Schedule {
    extensions: Extensions,
    playout: Playout,
    playout_delay: PlayoutDelay,
    /// Indices of the newest packets with a capture time.
    captures: [u64; CAPTURES_KEPT],
    next_capture: usize,
    /// When, on the Stream's clock, it was told last; `None`: it is due.
    told: Option<i64>,
    newest: u64,
}

impl Schedule {
    pub(super) fn new(extensions: Extensions) -> Self {
        Self {
            extensions,
            playout: Playout::Told { from: None },
            playout_delay: PlayoutDelay::new(),
            captures: [u64::MAX; CAPTURES_KEPT],
            next_capture: 0,
            told: None,
            newest: 0,
        }
    }

    /// Another source comes next: its capture time is due.
    pub(super) fn begin_anew(&mut self) {
        self.told = None;
    }

    /// How far sound comes behind the picture: see [`PlayoutDelay::follow`]. Not where the same bytes are sent again.
    pub(super) fn follow_sound(&mut self, behind: Option<i64>) {
        if self.playout_delay.follow(behind) {
            self.playout = Playout::Told { from: None };
        }
    }

    /// A packet up to this index reached the viewer.
    pub(super) fn heard(&mut self, index: u64) {
        if matches!(self.playout, Playout::Told { from: Some(from) } if index >= from) {
            self.playout = Playout::Heard;
        }
    }

    /// What a packet carries that is sent for the first time. Changes nothing: it may not fit into the batch.
    pub(super) fn plan(&self, now: Instant, index: u64, packet: &RtpPacket) -> Elements {
        let begins = packet.frame_start && index >= self.newest;
        let due = self.told.is_none_or(|told| {
            (packet.time.as_micros() - told).unsigned_abs() >= CAPTURE_INTERVAL.as_micros() as u64
        });
        Elements {
            playout_delay: self.playout_delay(index, begins),
            capture_time: if begins && due { self.capture_time(packet) } else { None },
            send_time: self.send_time(now),
        }
    }

    /// It was sent so.
    pub(super) fn commit(&mut self, index: u64, packet: &RtpPacket, elements: &Elements) {
        if index < self.newest {
            return;
        }
        self.newest = index;
        match &mut self.playout {
            Playout::Told { from } => *from = from.or(Some(index)),
            Playout::Heard if packet.frame_start => self.playout = Playout::Over { at: index },
            Playout::Heard | Playout::Over { .. } => {}
        }
        if elements.capture_time.is_some() {
            self.told = Some(packet.time.as_micros());
            self.captures[self.next_capture % CAPTURES_KEPT] = index;
            self.next_capture += 1;
        }
    }

    /// What a packet carried that is sent again as the same bytes. A send time is never negotiated then.
    pub(super) fn repeat(&self, index: u64, packet: &RtpPacket) -> Elements {
        Elements {
            playout_delay: self.playout_delay(index, false),
            capture_time: if self.captures.contains(&index) { self.capture_time(packet) } else { None },
            send_time: None,
        }
    }

    /// What a packet of the retransmission stream carries.
    pub(super) fn of_repair(&self, now: Instant) -> Elements {
        Elements { send_time: self.send_time(now), ..Elements::default() }
    }

    fn playout_delay(&self, index: u64, begins: bool) -> Option<(u8, Value)> {
        let carried = match self.playout {
            Playout::Told { .. } => true,
            Playout::Heard => !begins,
            Playout::Over { at } => index < at,
        };
        let (id, most) = self.extensions.playout_delay.filter(|_| carried)?;
        Some((id, self.playout_delay.value(most)))
    }

    fn capture_time(&self, packet: &RtpPacket) -> Option<(u8, u64)> {
        let id = self.extensions.capture_time?;
        Some((id, self.extensions.clock.ntp(packet.time).to_bits()))
    }

    fn send_time(&self, now: Instant) -> Option<(u8, [u8; 3])> {
        let id = self.extensions.send_time?;
        let micros = self.extensions.clock.media_time(now, Timescale::MICROS).ticks();
        let [_, time @ ..] = (((i128::from(micros) << 18) / 1_000_000) as u32).to_be_bytes();
        Some((id, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::tests::packet;
    use crate::core::up_track::beginning;
    use media::NtpTime;

    fn schedule() -> Schedule {
        Schedule::new(Extensions {
            playout_delay: Some((6, Duration::from_millis(500))),
            capture_time: Some(7),
            send_time: None,
            clock: StreamClock::new(beginning(), NtpTime::from_unix_micros(1_000_000)),
        })
    }

    /// Sends packets of frames of two packets each, 40 ms apart; says which carry what.
    fn send(schedule: &mut Schedule, indices: std::ops::Range<u64>) -> Vec<(u64, bool, bool)> {
        let now = beginning();
        let mut carried = Vec::new();
        for index in indices {
            let packet = packet(index, index as i64 / 2 * 3600, false, index % 2 == 0, now);
            let elements = schedule.plan(now, index, &packet);
            schedule.commit(index, &packet, &elements);
            carried.push((index, elements.playout_delay.is_some(), elements.capture_time.is_some()));
        }
        carried
    }

    #[test]
    fn the_playout_delay_is_told_until_it_got_through_and_changes_at_a_frame() {
        let mut schedule = schedule();
        schedule.heard(99);
        assert!(send(&mut schedule, 100..105).iter().all(|(_, playout, _)| *playout));
        // A report about what was there before says nothing about it.
        schedule.heard(99);
        assert!(send(&mut schedule, 105..107).iter().all(|(_, playout, _)| *playout));
        schedule.heard(103);
        // 107 is the second half of a frame.
        let carried: Vec<bool> =
            send(&mut schedule, 107..112).iter().map(|(_, playout, _)| *playout).collect();
        assert_eq!(carried, [true, false, false, false, false]);
        let now = beginning();
        for (index, was) in [(100, true), (107, true), (108, false), (111, false)] {
            let again = schedule.repeat(index, &packet(index, 0, false, false, now));
            assert_eq!(again.playout_delay.is_some(), was, "{index}");
        }
        let first = schedule.repeat(100, &packet(100, 0, false, false, now));
        assert_eq!(first.playout_delay, Some((6, [0, 7 << 4, 50])), "70 to 500 ms");
        // Sound turns out to be late: it is told anew.
        schedule.follow_sound(Some(70_000));
        let again = schedule.plan(now, 112, &packet(112, 56 * 3600, false, true, now));
        assert_eq!(again.playout_delay, Some((6, [0, 11 << 4, 50])), "110 to 500 ms");
    }

    #[test]
    fn the_capture_time_is_told_once_a_second_and_after_a_switch() {
        let mut schedule = schedule();
        let told = |carried: Vec<(u64, bool, bool)>| -> Vec<u64> {
            carried.into_iter().filter(|(.., capture)| *capture).map(|(index, ..)| index).collect()
        };
        assert_eq!(told(send(&mut schedule, 0..120)), [0, 50, 100]);
        schedule.begin_anew();
        assert_eq!(told(send(&mut schedule, 121..130)), [122], "with the first packet of a frame");
        let now = beginning();
        let source = packet(122, 61 * 3600, false, true, now);
        let again = schedule.repeat(122, &source);
        // 61 frames of 40 ms after 1970-01-01T00:00:01.
        let expected = NtpTime::from_unix_micros(1_000_000 + 61 * 40_000).to_bits();
        assert_eq!(again.capture_time, Some((7, expected)));
        assert_eq!(schedule.repeat(123, &source).capture_time, None);
    }

    #[test]
    fn the_send_time_is_24_bits_of_the_clock() {
        let now = beginning();
        let mut schedule = schedule();
        schedule.extensions.send_time = Some(3);
        for (millis, expected) in [(0, [0, 0, 0]), (1000, [4, 0, 0]), (1500, [6, 0, 0]), (64_000, [0, 0, 0])]
        {
            let at = now + Duration::from_millis(millis);
            schedule.extensions.clock = StreamClock::new(now, NtpTime::from_unix_micros(0));
            assert_eq!(schedule.of_repair(at).send_time, Some((3, expected)), "{millis}");
        }
    }
}
