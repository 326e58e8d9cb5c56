//! The first thing that we say in DTLS, where we begin it.

use std::time::{Duration, Instant};

use crate::core::Transmit;

/// Where we begin the handshake, ffmpeg throws the first ClientHello away, because its ICE is not done; the
/// library would repeat it after a second.
const HELLO_INTERVAL: Duration = Duration::from_millis(100);
/// By then the library's own repetition has begun.
const HELLOS_MAX: u8 = 9;

/// The first thing that we said in DTLS, until somebody answers.
#[derive(Debug, Default)]
pub(super) struct Hello {
    first: Option<Transmit>,
    next: Option<Instant>,
    repeated: u8,
    answered: bool,
}

impl Hello {
    pub(super) fn sent(&mut self, transmit: &Transmit) {
        if !self.answered && self.first.is_none() {
            self.first = Some(transmit.clone());
        }
    }

    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.first = None;
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<Transmit> {
        let first = self.first.as_ref()?;
        if now < *self.next.get_or_insert(now + HELLO_INTERVAL) || self.repeated == HELLOS_MAX {
            return None;
        }
        self.next = Some(now + HELLO_INTERVAL);
        self.repeated += 1;
        Some(first.clone())
    }
}
