//! Until `media::rtp` has its own.

use std::time::Instant;

use media::{Codec, MediaTime, NtpTime, StreamClock, Timescale};

pub(super) use media::rtp::Flags;

#[derive(Debug)]
pub(super) struct SourceClock {
    clock: StreamClock,
    scale: Timescale,
    base: Option<(u64, i64)>,
}

impl SourceClock {
    pub(super) fn new(clock: StreamClock, scale: Timescale) -> Self {
        Self { clock, scale, base: None }
    }

    pub(super) fn map(&mut self, arrival: Instant, timestamp: u64) -> MediaTime {
        let now = self.clock.media_time(arrival, self.scale).ticks();
        let (first, ticks) = *self.base.get_or_insert((timestamp, now));
        MediaTime::new(ticks + (timestamp as i64 - first as i64), self.scale)
    }

    pub(super) fn handle_report(&mut self, _now: Instant, _ntp: NtpTime, _rtp_time: u32) {}
}

#[derive(Debug, Default)]
pub(super) struct TimestampUnwrapper {
    newest: Option<u64>,
}

impl TimestampUnwrapper {
    pub(super) fn unwrap(&mut self, wire: u32) -> u64 {
        let number = match self.newest {
            None => u64::from(wire) | 1 << 32,
            Some(newest) => newest.saturating_add_signed(i64::from(wire.wrapping_sub(newest as u32) as i32)),
        };
        self.newest = self.newest.max(Some(number));
        number
    }
}

#[derive(Debug)]
pub(super) struct Inspector {
    codec: Codec,
    last: Option<u64>,
}

impl Inspector {
    pub(super) fn for_codec(codec: Codec) -> Self {
        Self { codec, last: None }
    }

    pub(super) fn inspect(&mut self, timestamp: u64, _marker: bool, payload: &[u8]) -> Flags {
        let new = self.last.replace(timestamp) != Some(timestamp);
        let keyframe = match (self.codec, payload) {
            (Codec::H264, [first, rest @ ..]) => match (first & 0x1f, rest) {
                (5 | 7, _) => true,
                (24, [_, _, nal, ..]) => matches!(nal & 0x1f, 5 | 7),
                (28, [fu, ..]) => fu & 0x80 != 0 && fu & 0x1f == 5,
                _ => false,
            },
            (Codec::Vp8, [descriptor, rest @ ..]) => {
                let header = if descriptor & 0x80 != 0 { rest.get(2) } else { rest.first() };
                descriptor & 0x10 != 0 && header.is_some_and(|byte| byte & 1 == 0)
            }
            _ => true,
        };
        Flags { frame_start: new, starts_keyframe: new && keyframe, discardable: false, temporal_id: 0 }
    }
}
