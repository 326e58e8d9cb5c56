//! One way to a Peer, and what it has to prove before anything but answers goes there.

use std::time::{Duration, Instant};

use crate::core::demux::Tuple;
use crate::core::stun::TransactionId;
use crate::egress::batch::Transport;

/// Between the first two challenges of a way. RFC 8489 section 6.2.1: the retransmission time-out of STUN.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often that doubles (the same section): a way that is silent gets one in 16 s at last, which is little for whoever
/// really is there, and soon enough for a way that works again.
const DOUBLINGS_MAX: u32 = 5;
/// Challenges without an answer, after 7.5 s, that make a way one which does not answer: it is told and counted
/// (`ways_unproven`), and goes on being asked. Four lost in a row are no accident.
pub(super) const UNANSWERED_MAX: u32 = 4;

#[derive(Debug)]
pub(super) struct Way {
    pub(super) tuple: Tuple,
    /// When the last authentic check came from there.
    pub(super) checked: Instant,
    /// `None`: it has proven that it receives what is sent to it.
    doubt: Option<Doubt>,
}

/// What a forged source address would look like too.
#[derive(Debug, Default)]
struct Doubt {
    /// Of all challenges of this way (RFC 8489 section 6.2.1: a repetition is the same message).
    id: Option<TransactionId>,
    /// Bytes that came from there, and bytes of challenges that went there: never more than came.
    came: usize,
    went: usize,
    challenges: u32,
    last: Option<Instant>,
}

impl Way {
    /// A way that a first check came by. TCP's own handshake has proven it.
    pub(super) fn new(now: Instant, tuple: Tuple) -> Self {
        let doubt = (tuple.transport != Transport::Tcp).then(Doubt::default);
        Self { tuple, checked: now, doubt }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.doubt.is_none()
    }

    pub(super) fn prove(&mut self) {
        self.doubt = None;
    }

    /// The next challenge need not wait longer than the second: the way is wanted more than before.
    pub(super) fn hurry(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.challenges = doubt.challenges.min(1);
        }
    }

    /// So many authentic bytes came from there.
    pub(super) fn came(&mut self, bytes: usize) {
        if let Some(doubt) = &mut self.doubt {
            doubt.came = doubt.came.saturating_add(bytes);
        }
    }

    /// Whether a challenge of so many bytes may go there now: by which id, and how many there were since it is wanted.
    /// `id` makes one. There is no timer: something has just come from there, or nobody asks.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        bytes: usize,
        id: impl FnOnce() -> TransactionId,
    ) -> Option<(TransactionId, u32)> {
        let doubt = self.doubt.as_mut()?;
        let (went, before) = (doubt.went.saturating_add(bytes), doubt.challenges);
        let distance = INTERVAL * (1 << before.saturating_sub(1).min(DOUBLINGS_MAX));
        if went > doubt.came || doubt.last.is_some_and(|last| now < last + distance) {
            return None;
        }
        doubt.went = went;
        doubt.challenges = before.saturating_add(1);
        doubt.last = Some(now);
        Some((*doubt.id.get_or_insert_with(id), before))
    }

    /// Whether that is the id of its challenge.
    pub(super) fn asked_by(&self, id: TransactionId) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.id == Some(id))
    }
}
