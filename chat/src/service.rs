//! The Rooms of this node, and the memory broker between their members.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use ulid::Ulid;

use crate::{Config, Message, Refused, Room, User};

/// Messages on their way to the gateway. It only copies pointers on, so it is never behind for long; if it
/// is, it is told how many it missed and members see a `gap`.
const FANOUT_MAX: usize = 1024;

/// The Rooms of this node.
#[derive(Debug)]
pub struct Service {
    config: Config,
    started: Instant,
    rooms: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    fanout: broadcast::Sender<Arc<Message>>,
}

/// What somebody gets who joins a Room.
#[derive(Debug)]
pub struct Joined {
    /// This life of the Room.
    pub epoch: String,
    /// The newest sequence number.
    pub seq: u64,
    /// True if `history` is everything since what the client had seen: no hole.
    pub recovered: bool,
    /// What was missed, or the newest messages.
    pub history: Vec<Arc<Message>>,
}

impl Service {
    /// No Rooms yet; each is made when it is first spoken of. The caller lets only real channels in, which
    /// bounds their number.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self { config, started: now(), rooms: Mutex::default() })
    }

    /// The limits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Joins `ch`. `since` is the epoch and sequence number that the client has seen.
    pub fn join(&self, ch: &str, since: Option<(&str, u64)>, history_max: usize) -> Joined {
        self.with(ch, |entry| {
            let missed = since.and_then(|(epoch, seq)| entry.room.since(epoch, seq));
            Joined {
                epoch: entry.room.epoch().to_owned(),
                seq: entry.room.seq(),
                recovered: missed.is_some(),
                history: missed.unwrap_or_else(|| entry.room.latest(history_max)),
            }
        })
    }

    /// Follows the messages of `ch` from now on.
    pub fn follow(&self, ch: &str) -> broadcast::Receiver<Arc<Message>> {
        self.with(ch, |entry| entry.fanout.subscribe())
    }

    /// Says something. `slow_ms`: see [`Room::post`].
    ///
    /// # Errors
    /// [`Refused`] with what to do about it.
    pub fn post(&self, ch: &str, user: User, text: &str, slow_ms: u64) -> Result<Arc<Message>, Refused> {
        let now_ms = millis(now().saturating_duration_since(self.started));
        let ts = unix_millis();
        self.with(ch, |entry| {
            let message = entry.room.post(now_ms, ts, Ulid::new().to_string(), user, text, slow_ms)?;
            // Nobody listening is no error: history has it. Sent under the lock, so that order is seq.
            let _ = entry.fanout.send(Arc::clone(&message));
            Ok(message)
        })
    }

    /// How many Rooms there are.
    pub fn rooms(&self) -> usize {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn with<T>(&self, ch: &str, act: impl FnOnce(&mut Entry) -> T) -> T {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = rooms.entry(ch.to_owned()).or_insert_with(|| Entry {
            room: Room::new(ch.to_owned(), Ulid::new().to_string(), self.config.clone()),
            fanout: broadcast::Sender::new(FANOUT_MAX),
        });
        act(entry)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the shell around Room reads the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "messages carry wall clock")]
fn unix_millis() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn members_get_what_is_said_after_they_follow() {
        let service = Service::new(Config::default());
        let user = User { id: "u".into(), login: "u".into(), display: "U".into(), badges: vec![] };
        service.post("stream:a", user.clone(), "before", 0).expect("sent");
        let mut follower = service.follow("stream:a");
        service.post("stream:b", user.clone(), "elsewhere", 0).expect("sent");
        let sent = service.post("stream:a", user, "after", 0).expect("sent");
        assert_eq!(follower.recv().await.expect("there").id, sent.id);
        let joined = service.join("stream:a", None, 50);
        assert_eq!((joined.seq, joined.history.len(), joined.recovered), (2, 2, false));
        assert_eq!(service.join("stream:a", Some((&joined.epoch, 1)), 50).history.len(), 1);
    }
}
