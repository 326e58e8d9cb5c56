//! From packets to pictures, as libwebrtc does for H.264: a frame is decoded when it is whole and follows the last
//! one without a gap in the numbers, or when it is a keyframe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Without a decodable frame for so long a keyframe is asked for (`VideoReceiveStream2`).
const STALL_MAX: Duration = Duration::from_millis(3000);
/// The same while nothing but a keyframe helps.
const KEYFRAME_WAIT_MAX: Duration = Duration::from_millis(200);
/// The jitter buffer waits for this at least: by then what is missing before a keyframe is given up.
const PLAYOUT_DELAY_MIN: Duration = Duration::from_millis(50);

/// A packet of a frame: which frame, which part of how many.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) frame: u32,
    pub(super) part: u16,
    pub(super) parts: u16,
    pub(super) keyframe: bool,
}

struct Assembly {
    of: Part,
    have: Vec<bool>,
    begun: Instant,
    whole_at: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Picture {
    /// By the number of the first packet.
    frames: BTreeMap<u64, Assembly>,
    /// Number of the last packet of the last decoded frame.
    last: Option<u64>,
    needs_keyframe: bool,
    progress: Option<Instant>,
    /// How long frames took of late, from their first packet to their last: the jitter buffer grows with repair.
    playout_delay: Duration,
    /// Source's number of each decoded frame, and when.
    pub(super) decoded: Vec<(u32, Instant)>,
    pub(super) keyframes_asked: u64,
}

impl Picture {
    /// Takes a packet. Says from which number on packets are of use still.
    pub(super) fn insert(&mut self, now: Instant, seq: u64, part: Part) -> Option<u64> {
        self.progress.get_or_insert(now);
        let first = seq - u64::from(part.part);
        if self.last.is_some_and(|last| first <= last) {
            return None;
        }
        let parts = usize::from(part.parts);
        let frame = self.frames.entry(first).or_insert_with(|| Assembly {
            of: part,
            have: vec![false; parts],
            begun: now,
            whole_at: None,
        });
        frame.have[usize::from(part.part)] = true;
        if frame.whole_at.is_none() && frame.have.iter().all(|have| *have) {
            frame.whole_at = Some(now);
            self.playout_delay =
                (self.playout_delay * 99 / 100).max(now - frame.begun).max(PLAYOUT_DELAY_MIN);
        }
        self.decode(now)
    }

    fn decode(&mut self, now: Instant) -> Option<u64> {
        let mut keyframe_at = None;
        loop {
            let next = self.last.filter(|_| !self.needs_keyframe).map(|last| last + 1);
            let follows = next.filter(|first| self.frames.get(first).is_some_and(|it| it.whole_at.is_some()));
            // A keyframe needs nothing before it, but what comes in its time is shown first.
            let first = follows.or_else(|| {
                let begins = |(_, frame): &(&u64, &Assembly)| {
                    let waited = frame.whole_at.is_some_and(|whole| {
                        self.last.is_none() || self.needs_keyframe || now >= whole + self.playout_delay
                    });
                    frame.of.keyframe && waited
                };
                self.frames.iter().find(begins).map(|(first, _)| *first)
            });
            let Some(first) = first else { return keyframe_at };
            let frame = self.frames.remove(&first)?;
            if frame.of.keyframe {
                self.needs_keyframe = false;
                keyframe_at = Some(first);
            }
            self.last = Some(first + u64::from(frame.of.parts) - 1);
            self.frames = self.frames.split_off(&(first + 1));
            self.progress = Some(now);
            self.decoded.push((frame.of.frame, now));
        }
    }

    /// Time has passed. True: ask for a keyframe.
    pub(super) fn process(&mut self, now: Instant) -> bool {
        self.decode(now);
        let Some(progress) = self.progress else { return false };
        let wait = match self.needs_keyframe || self.last.is_none() {
            true => KEYFRAME_WAIT_MAX,
            false => STALL_MAX,
        };
        if now.saturating_duration_since(progress) < wait {
            return false;
        }
        self.ask(now);
        true
    }

    /// It asks for a keyframe.
    pub(super) fn ask(&mut self, now: Instant) {
        self.needs_keyframe = true;
        self.progress = Some(now);
        self.keyframes_asked += 1;
    }
}
