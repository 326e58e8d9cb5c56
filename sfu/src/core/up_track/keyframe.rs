//! When to ask an encoder for a keyframe.

use std::time::{Duration, Instant};

/// Requests of all readers of a Layer become at most one in this time: every keyframe costs the encoder
/// quality or bandwidth.
const INTERVAL: Duration = Duration::from_millis(500);
/// An encoder that does not answer these does not answer at all: the next demand starts over.
const ATTEMPTS_MAX: u8 = 4;
/// From this attempt on by FIR, if it was negotiated: some encoders know only that.
const FIR_FROM: u8 = 2;

/// The keyframe requests of one Layer.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequest {
    wanted: bool,
    attempts: u8,
    last: Option<Instant>,
}

/// How to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Pli,
    Fir,
}

impl KeyframeRequest {
    /// Somebody needs a keyframe.
    pub(super) fn want(&mut self) {
        if !self.wanted {
            self.wanted = true;
            self.attempts = 0;
        }
    }

    /// One has come.
    pub(super) fn fulfil(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now.
    pub(super) fn poll(&mut self, now: Instant, pli: bool, fir: bool) -> Option<Ask> {
        if now < self.due(now)? {
            return None;
        }
        let ask = match (pli, fir) {
            (false, false) => {
                self.wanted = false;
                return None;
            }
            (false, true) => Ask::Fir,
            (true, false) => Ask::Pli,
            (true, true) => {
                if self.attempts < FIR_FROM {
                    Ask::Pli
                } else {
                    Ask::Fir
                }
            }
        };
        self.last = Some(now);
        self.attempts += 1;
        if self.attempts == ATTEMPTS_MAX {
            self.wanted = false;
        }
        Some(ask)
    }

    /// When [`Self::poll`] wants to ask; `None` if nobody wants a keyframe.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.last.map_or(now, |last| last + INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::up_track::beginning;

    #[test]
    fn requests_are_coalesced_and_give_up() {
        let start = beginning();
        let at = |millis| start + Duration::from_millis(millis);
        let mut request = KeyframeRequest::default();
        assert_eq!(request.poll(at(0), true, true), None);
        let mut asked = Vec::new();
        for millis in (0..10_000).step_by(50) {
            if millis == 0 || millis == 100 {
                request.want();
            }
            asked.extend(request.poll(at(millis), true, true).map(|ask| (millis, ask)));
        }
        assert_eq!(asked, [(0, Ask::Pli), (500, Ask::Pli), (1000, Ask::Fir), (1500, Ask::Fir)]);
        request.want();
        assert_eq!(request.poll(at(10_000), true, false), Some(Ask::Pli));
        request.fulfil();
        assert_eq!(request.poll(at(11_000), true, false), None);
    }
}
