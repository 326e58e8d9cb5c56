//! Spreads a keyframe out: it is many times a frame, and a burst of it overflows the buffers of home routers on clean
//! lines too. Its end comes before the next picture where it can, because that must wait for it.

use std::time::{Duration, Instant};

/// Packets that go at once; the next as many follow when these have been on the line.
const GROUP: u32 = 16;
/// The line is taken to carry two and a half times the Layer's rate, in tenths.
const RATE_TENTHS: u64 = 25;
/// It goes as many times faster at most, so that the next picture does not wait.
const HURRY_MAX: u32 = 3;
/// Tenths of a frame in which a keyframe should be gone.
const FRAME_TENTHS: u32 = 8;
/// Latest packet of a keyframe: beyond it the delay hurts more than the burst.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// A packet of video.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: usize,
    pub(crate) frame_start: bool,
    /// It begins a keyframe.
    pub(crate) keyframe: bool,
}

/// When the packets of the newest frame are due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyframePace {
    keyframe: bool,
    packets: u32,
    began: Option<Instant>,
    behind: Duration,
    /// How many the keyframe before had, which is what this one is expected to have.
    expected: u32,
}

impl KeyframePace {
    /// When a packet may go: at once, unless it is far inside a keyframe. `bps`: of the Layer, if it is known; `frame`:
    /// how long one lasts.
    pub(crate) fn due(&mut self, now: Instant, piece: Piece, bps: Option<u64>, frame: Duration) -> Instant {
        if piece.frame_start || self.began.is_none() {
            let expected = if self.keyframe { self.packets } else { self.expected };
            *self = Self { keyframe: piece.keyframe, began: Some(now), expected, ..Self::default() };
        }
        let at = self.packets;
        self.packets = at.saturating_add(1);
        let (true, Some(bps), Some(began)) = (self.keyframe, bps, self.began) else { return now };
        if at > 0 && at.is_multiple_of(GROUP) {
            // The group before this one has been on the line for so long.
            let bits = u64::from(GROUP) * piece.bytes as u64 * 8;
            let on_the_line = Duration::from_micros(bits * 1_000_000 / (bps * RATE_TENTHS / 10).max(1));
            // With this one, so many are left, of those that are expected; more come as a surprise.
            let left = self.expected.max(at + 1).div_ceil(GROUP) - at / GROUP;
            let in_time = (frame * FRAME_TENTHS / 10).saturating_sub(self.behind) / left;
            let gap = on_the_line.min(in_time.max(on_the_line / HURRY_MAX));
            self.behind = (self.behind + gap).min(BEHIND_MAX);
        }
        (began + self.behind).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    const FRAME: Duration = Duration::from_millis(40);

    /// Milliseconds after which each group of a frame of 1200 bytes per packet goes.
    fn groups(pace: &mut KeyframePace, packets: u32, keyframe: bool, bps: Option<u64>) -> Vec<u128> {
        let now = beginning();
        let due = (0..packets).map(|at| {
            let piece = Piece { bytes: 1200, frame_start: at == 0, keyframe: keyframe && at == 0 };
            pace.due(now, piece, bps, FRAME).duration_since(now).as_millis()
        });
        due.step_by(GROUP as usize).collect()
    }

    #[test]
    fn a_large_keyframe_is_spread_out_and_other_frames_are_not() {
        let mut pace = KeyframePace::default();
        // 16 × 1200 bytes by 6 Mbit/s.
        assert_eq!(groups(&mut pace, 50, true, Some(2_400_000)), [0, 25, 34, 42]);
        assert_eq!(groups(&mut pace, 50, false, Some(2_400_000)), [0; 4]);
        assert_eq!(groups(&mut pace, 50, true, None), [0; 4], "nothing is known of the line");
        assert_eq!(
            groups(&mut pace, 300, true, Some(2_400_000)).last(),
            Some(&100),
            "no packet waits for longer"
        );
    }

    #[test]
    fn it_is_gone_before_the_next_picture_where_that_does_not_take_too_much_hurry() {
        let cases: [(u32, u32, &[u128]); 7] = [
            (16, 16, &[0]),
            (30, 30, &[0, 25]),
            (45, 45, &[0, 16, 32]),
            (60, 60, &[0, 10, 21, 32]),
            (75, 75, &[0, 8, 17, 25, 34]),
            (100, 100, &[0, 8, 17, 25, 34, 42, 51]),
            // More than was expected: the rest hurries.
            (30, 45, &[0, 25, 34]),
        ];
        for (before, packets, due) in cases {
            let mut pace = KeyframePace::default();
            groups(&mut pace, before, true, Some(2_400_000));
            groups(&mut pace, 20, false, Some(2_400_000));
            assert_eq!(groups(&mut pace, packets, true, Some(2_400_000)), due, "{packets} after {before}");
        }
    }
}
