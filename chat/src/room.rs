//! One chat room, without I/O: time comes in, decisions go out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::message::fragments;
use crate::{Config, Kind, Message, User};

/// People whose window is remembered. More than this many talking within one window is an attack; the
/// oldest windows are forgotten first, which only ever allows a message more.
const WINDOWS_MAX: usize = 100_000;

/// Why a message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many in the window: wait.
    SlowMode {
        /// For how long, in milliseconds; at least 1.
        wait_ms: u64,
    },
    /// Nothing but white space.
    Empty,
    /// Longer than allowed.
    TooLong,
}

/// One chat room.
#[derive(Debug)]
pub struct Room {
    config: Config,
    ch: String,
    epoch: String,
    seq: u64,
    history: VecDeque<Arc<Message>>,
    /// Per person the times of the last `messages_max` accepted messages: an exact sliding window, which
    /// a token bucket is not (it lets twice the burst through).
    windows: HashMap<String, VecDeque<u64>>,
}

impl Room {
    /// An empty room. `epoch` names this life of the room: sequence numbers mean nothing across epochs.
    pub fn new(ch: String, epoch: String, config: Config) -> Self {
        Self { config, ch, epoch, seq: 0, history: VecDeque::new(), windows: HashMap::new() }
    }

    /// This life of the room.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The newest sequence number; 0 before the first message.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes a message. `now_ms` grows steadily (any origin); `ts` is unix milliseconds; `id` is fresh; `slow_ms` is how
    /// long its author must have been silent (slow mode of the channel; 0 without).
    ///
    /// # Errors
    /// [`Refused`]; a refused message does not count against the limit.
    pub fn post(
        &mut self,
        now_ms: u64,
        ts: u64,
        id: String,
        user: User,
        text: &str,
        slow_ms: u64,
    ) -> Result<Arc<Message>, Refused> {
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            return Err(Refused::Empty);
        }
        if text.chars().count() > self.config.text_chars_max {
            return Err(Refused::TooLong);
        }
        self.take_from_window(now_ms, &user.id, slow_ms)?;
        self.seq += 1;
        let message = Arc::new(Message {
            kind: Kind::Message,
            id,
            ch: self.ch.clone(),
            seq: self.seq,
            ts,
            user,
            frags: fragments(&text),
            text,
        });
        self.history.push_back(Arc::clone(&message));
        while self.history.len() > self.config.history_max {
            self.history.pop_front();
        }
        Ok(message)
    }

    fn take_from_window(&mut self, now_ms: u64, user: &str, slow_ms: u64) -> Result<(), Refused> {
        let (max, window) = (self.config.messages_max, self.config.window_ms);
        if self.windows.len() >= WINDOWS_MAX && !self.windows.contains_key(user) {
            self.windows
                .retain(|_, times| times.back().is_some_and(|&last| now_ms.saturating_sub(last) < window));
            if self.windows.len() >= WINDOWS_MAX {
                self.windows.clear();
            }
        }
        let times = self.windows.entry(user.to_owned()).or_default();
        if let Some(&newest) = times.back() {
            let silent = now_ms.saturating_sub(newest);
            if silent < slow_ms {
                return Err(Refused::SlowMode { wait_ms: slow_ms - silent });
            }
        }
        if times.len() >= max
            && let Some(&oldest) = times.front()
        {
            let age = now_ms.saturating_sub(oldest);
            if age < window {
                return Err(Refused::SlowMode { wait_ms: window - age });
            }
            times.pop_front();
        }
        times.push_back(now_ms);
        Ok(())
    }

    /// What somebody missed who has seen everything up to `seq` of `epoch`; `None` if that cannot be said
    /// (another epoch, or too long ago): then there is a hole.
    pub fn since(&self, epoch: &str, seq: u64) -> Option<Vec<Arc<Message>>> {
        let oldest = self.history.front().map_or(self.seq + 1, |message| message.seq);
        if epoch != self.epoch || seq > self.seq || seq + 1 < oldest {
            return None;
        }
        Some(self.history.iter().filter(|message| message.seq > seq).cloned().collect())
    }

    /// The newest messages, oldest first, at most `max`.
    pub fn latest(&self, max: usize) -> Vec<Arc<Message>> {
        let skip = self.history.len().saturating_sub(max);
        self.history.iter().skip(skip).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> User {
        User { id: id.into(), login: id.into(), display: id.into(), badges: vec![] }
    }

    fn room() -> Room {
        Room::new("stream:ana".into(), "e1".into(), Config::default())
    }

    #[test]
    fn twenty_in_five_seconds_and_not_one_more() {
        let mut room = room();
        let mut post = |now: u64| room.post(now, 0, String::new(), user("a"), "x", 0).map(|m| m.seq);
        for n in 0..20 {
            assert_eq!(post(n * 100), Ok(n + 1));
        }
        assert_eq!(post(1900), Err(Refused::SlowMode { wait_ms: 3100 }));
        assert_eq!(post(4999), Err(Refused::SlowMode { wait_ms: 1 }));
        // The window slides message by message: one is free when the first is five seconds old.
        assert_eq!(post(5000), Ok(21));
        assert_eq!(post(5000), Err(Refused::SlowMode { wait_ms: 100 }));
        assert_eq!(post(5100), Ok(22));
    }

    #[test]
    fn no_five_second_window_ever_holds_more_than_twenty() {
        let mut room = room();
        let mut accepted: Vec<u64> = Vec::new();
        for now in (0..60_000).step_by(37) {
            if room.post(now, 0, String::new(), user("a"), "x", 0).is_ok() {
                accepted.push(now);
            }
        }
        for start in &accepted {
            let held = accepted.iter().filter(|&t| (*start..*start + 5000).contains(t)).count();
            assert!(held <= 20, "{held} from {start}");
        }
        assert!(accepted.len() >= 12 * 20, "the limit is used up: {}", accepted.len());
    }

    #[test]
    fn a_slow_chat_wants_silence_between_two_messages_of_one_person() {
        let mut room = room();
        let mut post = |now: u64, who: &str, slow: u64| {
            room.post(now, 0, String::new(), user(who), "x", slow).map(|message| message.seq)
        };
        assert_eq!(post(0, "a", 10_000), Ok(1));
        assert_eq!(post(9_999, "a", 10_000), Err(Refused::SlowMode { wait_ms: 1 }));
        assert_eq!(post(9_999, "b", 10_000), Ok(2), "others need not wait");
        assert_eq!(post(10_000, "a", 10_000), Ok(3), "who was refused does not begin anew");
        assert_eq!(post(10_001, "a", 0), Ok(4), "whoever moderates");
    }

    #[test]
    fn each_person_has_a_window_and_refusals_do_not_count() {
        let mut room = room();
        for _ in 0..20 {
            assert!(room.post(0, 0, String::new(), user("a"), "x", 0).is_ok());
        }
        assert!(room.post(0, 0, String::new(), user("b"), "x", 0).is_ok());
        assert_eq!(room.post(1, 0, String::new(), user("b"), " \u{7} ", 0).err(), Some(Refused::Empty));
        assert_eq!(
            room.post(1, 0, String::new(), user("b"), &"x".repeat(501), 0).err(),
            Some(Refused::TooLong)
        );
        assert_eq!(room.seq(), 21);
    }

    #[test]
    fn who_comes_back_gets_what_was_missed_or_is_told_of_the_hole() {
        let mut room = Room::new("c".into(), "e1".into(), Config { history_max: 3, ..Config::default() });
        for now in 0..5 {
            room.post(now, 0, String::new(), user("a"), "x", 0).expect("within the limit");
        }
        let seqs =
            |missed: Option<Vec<Arc<Message>>>| missed.map(|m| m.iter().map(|m| m.seq).collect::<Vec<_>>());
        assert_eq!(seqs(room.since("e1", 3)), Some(vec![4, 5]));
        assert_eq!(seqs(room.since("e1", 5)), Some(vec![]));
        assert_eq!(seqs(room.since("e1", 2)), Some(vec![3, 4, 5]));
        assert_eq!(seqs(room.since("e1", 1)), None);
        assert_eq!(seqs(room.since("e0", 4)), None);
        assert_eq!(seqs(room.since("e1", 9)), None);
        assert_eq!(room.latest(2).len(), 2);
    }
}
