//! What waits for one socket: four lanes, each with its own rule for a consumer that is slow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::sync::Notify;

/// Frames of signaling that may wait. They are few and small; a socket that does not take them is dead.
const CONTROL_MAX: usize = 64;

/// Bytes of answers that may wait while a client's requests are answered: then they are written first, and the client
/// waits for its next answers until it has taken these. The history of a room has up to 128 KiB, and one message may ask
/// for it many times.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Chat frames that may wait: about ten seconds of the fastest chat that can be read. Beyond it the oldest
/// go and the member is told of the `gap`.
const CHAT_MAX: usize = 256;

/// Kinds of state of which the newest value waits.
const STATE_MAX: usize = 64;

/// Frames joined into one WebSocket message: one write instead of many, the write being the cost.
const JOIN_FRAMES_MAX: usize = 64;

/// Bytes joined into one WebSocket message.
const JOIN_BYTES_MAX: usize = 16 * 1024;

/// Which rule holds for a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Never dropped; too many end the socket.
    Control,
    /// A message of `ch` with its sequence number: the oldest are dropped and replaced by one `gap`.
    Chat {
        /// Whose message.
        ch: Arc<str>,
        /// Its number.
        seq: u64,
    },
    /// The newest value of a key wins.
    State(String),
}

/// Frames that wait for one socket.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    control: VecDeque<Arc<str>>,
    chat: VecDeque<(Arc<str>, u64, Arc<str>)>,
    state: VecDeque<(String, Arc<str>)>,
    /// What was dropped of the chat lane: channel, first and last number.
    gap: Option<(Arc<str>, u64, u64)>,
    overflowed: bool,
    gaps: u64,
}

impl Lanes {
    /// Queues a frame by the rule of its lane.
    pub(crate) fn push(&mut self, lane: Lane, frame: Arc<str>) {
        match lane {
            Lane::Control if self.control.len() >= CONTROL_MAX => self.overflowed = true,
            Lane::Control => self.control.push_back(frame),
            Lane::Chat { ch, seq } => {
                if self.chat.len() >= CHAT_MAX
                    && let Some((ch, seq, _)) = self.chat.pop_front()
                {
                    self.widen_gap(ch, seq);
                }
                self.chat.push_back((ch, seq, frame));
            }
            Lane::State(key) => match self.state.iter().position(|(known, _)| *known == key) {
                Some(at) => self.state[at].1 = frame,
                None if self.state.len() < STATE_MAX => self.state.push_back((key, frame)),
                None => {}
            },
        }
    }

    fn widen_gap(&mut self, ch: Arc<str>, seq: u64) {
        match &mut self.gap {
            Some((known, _, to)) if *known == ch => *to = seq,
            // A second room in the same hole: its member sees the jump of `seq` itself.
            Some(_) => {}
            None => {
                self.gap = Some((ch, seq, seq));
                self.gaps += 1;
            }
        }
    }

    /// So much waits of what is never dropped that it must be written before there is more of it.
    pub(crate) fn is_laden(&self) -> bool {
        self.control.iter().map(|frame| frame.len()).sum::<usize>() >= CONTROL_BYTES_MAX
    }

    /// The next WebSocket message: as many frames as fit, one per line; `None` if nothing waits.
    pub(crate) fn pop(&mut self) -> Option<String> {
        let mut message = String::new();
        for _ in 0..JOIN_FRAMES_MAX {
            let frame = match self.next_frame() {
                Some(frame) => frame,
                None => break,
            };
            if !message.is_empty() {
                message.push('\n');
            }
            message.push_str(&frame);
            if message.len() >= JOIN_BYTES_MAX {
                break;
            }
        }
        (!message.is_empty()).then_some(message)
    }

    fn next_frame(&mut self) -> Option<Arc<str>> {
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        if let Some((ch, from, to)) = self.gap.take() {
            let frame =
                json!({ "type": "gap", "ch": &*ch, "from": from, "to": to, "reason": "slow_consumer" });
            return Some(frame.to_string().into());
        }
        if let Some((_, _, frame)) = self.chat.pop_front() {
            return Some(frame);
        }
        self.state.pop_front().map(|(_, frame)| frame)
    }

    /// The control lane overflowed: the socket must be closed as a slow consumer.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Holes told since the last call.
    pub(crate) fn take_gaps(&mut self) -> u64 {
        std::mem::take(&mut self.gaps)
    }

    /// The socket is gone and another may come. What the session itself must hear waits for it; of rooms it
    /// has to join again, and a flood of control frames that was never taken is of no use to anybody.
    pub(crate) fn park(&mut self) {
        self.chat.clear();
        self.state.clear();
        self.gap = None;
        if std::mem::take(&mut self.overflowed) {
            self.control.clear();
        }
    }
}

/// [`Lanes`] shared between those who tell and the one socket that writes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: Mutex<Lanes>,
    ready: Notify,
}

impl Outbox {
    /// Queues a frame and wakes the socket.
    pub(crate) fn push(&self, lane: Lane, frame: Arc<str>) {
        self.lock().push(lane, frame);
        self.wake();
    }

    /// Lets a socket look even if nothing came since the last time.
    pub(crate) fn wake(&self) {
        self.ready.notify_one();
    }

    /// Waits until something can be written.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn control_goes_first_and_frames_are_joined() {
        let mut lanes = Lanes::default();
        lanes.push(Lane::Chat { ch: frame("a"), seq: 1 }, frame("chat"));
        lanes.push(Lane::State("s".into()), frame("old"));
        lanes.push(Lane::State("s".into()), frame("new"));
        lanes.push(Lane::Control, frame("control"));
        assert_eq!(lanes.pop().as_deref(), Some("control\nchat\nnew"));
        assert_eq!(lanes.pop(), None);
    }

    #[test]
    fn a_slow_member_loses_the_oldest_chat_and_is_told() {
        let mut lanes = Lanes::default();
        for seq in 1..=CHAT_MAX as u64 + 5 {
            lanes.push(Lane::Chat { ch: frame("a"), seq }, frame(&seq.to_string()));
        }
        let first = lanes.pop().expect("frames");
        let lines: Vec<&str> = first.lines().collect();
        assert!(lines[0].contains("\"from\":1") && lines[0].contains("\"to\":5"), "{}", lines[0]);
        assert_eq!(lines[1], "6");
        assert!(!lanes.overflowed());
    }

    #[test]
    fn what_a_session_must_hear_waits_for_its_next_socket() {
        let mut lanes = Lanes::default();
        lanes.push(Lane::Chat { ch: frame("a"), seq: 1 }, frame("chat"));
        lanes.push(Lane::State("s".into()), frame("state"));
        lanes.push(Lane::Control, frame("closed"));
        lanes.park();
        assert_eq!(lanes.pop().as_deref(), Some("closed"));
        for _ in 0..=CONTROL_MAX {
            lanes.push(Lane::Control, frame("x"));
        }
        lanes.park();
        assert!(!lanes.overflowed() && lanes.pop().is_none(), "it must not end the next socket too");
    }

    #[test]
    fn long_answers_are_written_before_the_next_ones() {
        let mut lanes = Lanes::default();
        for _ in 0..3 {
            lanes.push(Lane::Control, frame(&"x".repeat(CONTROL_BYTES_MAX / 3)));
            assert!(!lanes.is_laden());
        }
        lanes.push(Lane::Control, frame("xx"));
        assert!(lanes.is_laden());
        while lanes.pop().is_some() {}
        assert!(!lanes.is_laden());
    }

    #[test]
    fn control_is_never_dropped_silently() {
        let mut lanes = Lanes::default();
        for _ in 0..=CONTROL_MAX {
            lanes.push(Lane::Control, frame("x"));
        }
        assert!(lanes.overflowed());
    }
}
