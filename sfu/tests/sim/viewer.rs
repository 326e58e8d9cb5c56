//! A viewer of another stack, and what it got.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use sfu::{PeerEvent, PeerId};
use str0m::Rtc;

use crate::line::{Line, LineState};

/// What a viewer got: the stamp in the payload, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) video: bool,
    pub(crate) frame: u32,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    pub(crate) timestamp: u32,
    pub(crate) at: Instant,
}

pub(crate) struct Viewer {
    pub(crate) id: PeerId,
    pub(crate) rtc: Rtc,
    pub(crate) address: SocketAddr,
    pub(crate) line: Line,
    pub(crate) line_state: LineState,
    pub(crate) connected: Option<Instant>,
    pub(crate) joined: Instant,
    pub(crate) got: Vec<Got>,
    pub(crate) events: Vec<PeerEvent>,
    pub(crate) due: Instant,
    pub(crate) alive: bool,
    pub(crate) silent: bool,
    pub(crate) answer: String,
    pub(crate) video: str0m::media::Mid,
}

impl Viewer {
    pub(crate) fn video_frames(&self) -> Vec<u32> {
        let mut parts: HashMap<u32, Vec<bool>> = HashMap::new();
        for got in self.got.iter().filter(|got| got.video) {
            parts.entry(got.frame).or_insert_with(|| vec![false; got.parts.into()])[usize::from(got.part)] =
                true;
        }
        let mut whole: Vec<u32> = parts
            .into_iter()
            .filter(|(_, parts)| parts.iter().all(|there| *there))
            .map(|(frame, _)| frame)
            .collect();
        whole.sort_unstable();
        whole
    }

    pub(crate) fn first_video(&self) -> Option<Instant> {
        self.got.iter().find(|got| got.video).map(|got| got.at)
    }
}
