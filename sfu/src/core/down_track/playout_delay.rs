//! How long a viewer's picture waits for its sound.
//!
//! A browser plays sound later than it shows the picture that came with it: its jitter buffer for sound begins
//! with 80 ms and its output has a buffer of its own, while a picture is shown when it is whole. Browsers bring
//! the two together by sender reports, but look once per second, take two looks to know anything, and correct by
//! a part of the difference: seconds of bad lip synchronisation for everyone who joins, and then a picture that
//! slows down. So the picture is told from the first packet on how long to wait, by the playout-delay extension.

use std::time::Duration;

/// By how much a browser plays sound later than its jitter buffer gives it out, and shows a picture sooner than it is
/// told: measured in Chromium, 20 to 50 ms.
const OUTPUT: Duration = Duration::from_millis(40);
/// What a browser's sound waits at all, before anything is known of how late this one is.
const SOUND_WAITS: Duration = Duration::from_millis(70);
/// The picture waits for no more than this; later sound is late. Below the threshold of the range.
const MIN_MAX: Duration = Duration::from_millis(400);
/// Without sound. Zero would make Chromium show each picture at once, without evening out the line's jitter.
const MIN_WITHOUT_SOUND: Duration = Duration::from_millis(10);
/// What is told is changed when it is off by this: each change slows the picture down or speeds it up.
const CHANGE: Duration = Duration::from_millis(15);
/// Unit of the extension.
const UNIT_MILLIS: u128 = 10;

/// How long a picture waits at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlayoutDelay {
    min: Duration,
    /// It was told how late the sound is.
    follows: bool,
}

/// The value of the extension: 12 bits of least and 12 bits of longest delay, in hundredths of a second.
pub(super) type Value = [u8; 3];

impl PlayoutDelay {
    /// Before anything is known of how late the sound is.
    pub(super) fn new() -> Self {
        Self { min: SOUND_WAITS, follows: false }
    }

    /// Sound leaves a buffer `behind` microseconds after the picture of the same moment comes; `None`: there is no
    /// sound. True: what was told is wrong now.
    pub(super) fn follow(&mut self, behind: Option<i64>) -> bool {
        let wanted = match behind {
            Some(behind) => {
                let wait = OUTPUT.as_micros() as i64 + behind;
                Duration::from_micros(wait.max(0) as u64).clamp(MIN_WITHOUT_SOUND, MIN_MAX)
            }
            None => MIN_WITHOUT_SOUND,
        };
        let first = !std::mem::replace(&mut self.follows, true);
        let off = wanted.abs_diff(self.min);
        let changes = off >= CHANGE || (first && !off.is_zero());
        if changes {
            self.min = wanted;
        }
        changes
    }

    /// What the extension says, where the longest delay is `max`.
    pub(super) fn value(&self, max: Duration) -> Value {
        let units = |bound: Duration| ((bound.as_millis() + UNIT_MILLIS / 2) / UNIT_MILLIS).min(0xfff) as u32;
        let [_, value @ ..] = (units(self.min.min(max)) << 12 | units(max).max(1)).to_be_bytes();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(value: Value) -> (u32, u32) {
        let [a, b, c] = value.map(u32::from);
        ((a << 4 | b >> 4) * 10, ((b & 15) << 8 | c) * 10)
    }

    #[test]
    fn the_picture_waits_as_long_as_the_sound_needs() {
        for (behind, max, expected) in [
            (Some(35_000), 500, (80, 500)),
            (Some(50_000), 500, (90, 500)),
            (Some(115_000), 500, (160, 500)),
            (Some(-10_000), 500, (30, 500)),
            (Some(-500_000), 10_000, (10, 10_000)),
            (Some(9_000_000), 10_000, (400, 10_000)),
            (Some(9_000_000), 100, (100, 100)),
            (None, 500, (10, 500)),
        ] {
            let mut delay = PlayoutDelay::new();
            delay.follow(behind);
            assert_eq!(millis(delay.value(Duration::from_millis(max))), expected, "{behind:?}");
        }
    }

    #[test]
    fn small_changes_change_nothing() {
        let mut delay = PlayoutDelay::new();
        assert!(delay.follow(Some(35_000)), "but what was told before anything was known");
        assert!(!delay.follow(Some(49_000)));
        assert!(delay.follow(Some(50_000)));
        assert!(!delay.follow(Some(64_000)));
    }
}
