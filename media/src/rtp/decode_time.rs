//! RTP says when a frame is shown; fMP4 must also say when it is decoded.

/// Frames that may wait for others at most (ITU-T H.264 section A.3.1 j: the picture buffer holds 16). Beyond
/// it times are no B-frames but nonsense.
const DEPTH_MAX: usize = 16;

/// Distance of the first decoding times, before there are others to go by: 30 frames per second at 90 kHz.
const FIRST_INTERVAL: i64 = 3_000;

/// Decoding times for frames that come in decoding order with presentation times only: the presentation
/// times in rising order, as many frames late as the encoder reorders.
#[derive(Debug, Default)]
pub(super) struct DecodeTimes {
    /// How many frames may precede one in decoding order and follow it in presentation.
    depth: usize,
    /// The latest presentation times that are no decoding time yet, rising; at most `depth` between calls.
    waiting: Vec<i64>,
    last: Option<i64>,
}

impl DecodeTimes {
    /// Begins anew: another publication.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The decoding time of the next frame. `announced`: what the SPS says about reordering.
    pub(super) fn next(&mut self, presentation: i64, announced: Option<u32>) -> i64 {
        let announced = announced.map_or(0, |depth| depth as usize);
        self.depth = self.depth.max(announced).min(DEPTH_MAX);
        if self.depth == 0 {
            // Nearly every WebRTC source.
            if self.last.is_none_or(|last| presentation > last) {
                self.last = Some(presentation);
                return presentation;
            }
            self.depth = 1;
        }
        let place = self.waiting.partition_point(|&waiting| waiting <= presentation);
        self.waiting.insert(place, presentation);
        let decoding = if self.waiting.len() > self.depth {
            self.waiting.remove(0)
        } else {
            let missing = (self.depth + 1 - self.waiting.len()) as i64;
            self.waiting[0] - missing * FIRST_INTERVAL
        };
        let decoding = self.last.map_or(decoding, |last| decoding.max(last + 1));
        if decoding > presentation {
            // The encoder reorders more than it said. Later frames wait longer.
            self.depth = (self.depth + 1).min(DEPTH_MAX);
        }
        self.last = Some(decoding);
        decoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(presentation: &[i64], announced: Option<u32>) -> Vec<i64> {
        let mut times = DecodeTimes::default();
        presentation.iter().map(|&time| times.next(time * 3000, announced)).collect()
    }

    #[test]
    fn decoding_times_grow_and_come_before_presentation() {
        for (presentation, announced) in [
            (&[0, 1, 2, 3, 4][..], Some(0)),
            (&[0, 1, 2, 3, 4], None),
            (&[0, 2, 1, 4, 3, 6, 5], Some(1)),
            (&[0, 4, 1, 2, 3, 8, 5, 6, 7], Some(1)),
            (&[0, 4, 2, 1, 3, 8, 6, 5, 7], Some(2)),
        ] {
            let decoding = run(presentation, announced);
            assert!(decoding.is_sorted_by(|a, b| a < b), "{presentation:?}: {decoding:?}");
            assert!(
                decoding.iter().zip(presentation).all(|(d, p)| *d <= p * 3000),
                "{presentation:?}: {decoding:?}"
            );
        }
        assert_eq!(run(&[0, 1, 2], None), [0, 3000, 6000]);
        assert_eq!(run(&[0, 2, 1, 4, 3], Some(1)), [-3000, 0, 3000, 6000, 9000]);
    }

    /// Without an announcement the first B-frames come as a surprise; then it is right.
    #[test]
    fn learns_from_what_it_sees() {
        let presentation: Vec<i64> =
            (0..20).flat_map(|gop| [4, 2, 1, 3].map(|time| gop * 4 + time)).collect();
        let decoding = run(&presentation, None);
        assert!(decoding.is_sorted_by(|a, b| a < b));
        let wrong = decoding.iter().zip(&presentation).filter(|(d, p)| **d > **p * 3000).count();
        assert!(wrong <= 4, "{wrong} frames");
        assert!(decoding.last().expect("some") + 6 * 3000 >= 80 * 3000, "does not fall behind");
    }
}
