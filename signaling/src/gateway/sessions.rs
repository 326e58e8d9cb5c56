//! Where each session is: on a socket, or waiting for its client to come back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::session::Session;

/// Sessions whose socket is gone and that may come back. Beyond it the oldest is ended: its picture stops
/// and the player starts a new one.
const PARKED_MAX: usize = 4096;

/// How long a session waits for its socket to come back. The picture plays on meanwhile.
const PARKED_FOR: Duration = Duration::from_secs(60);

/// How long a new socket waits for the old one to let go of its session.
const TAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// All sessions of this node.
#[derive(Default)]
pub(super) struct Sessions {
    whereabouts: Mutex<Whereabouts>,
    released: Notify,
}

#[derive(Default)]
struct Whereabouts {
    /// On a socket; the token asks that socket to let go.
    active: HashMap<String, CancellationToken>,
    parked: HashMap<String, (Session, Instant)>,
}

impl Sessions {
    /// A socket serves that session until it calls [`Sessions::release`], or the token is cancelled because
    /// another socket wants it.
    pub(super) fn activate(&self, session: &Session) -> CancellationToken {
        let wanted = CancellationToken::new();
        self.lock().active.insert(session.id().to_owned(), wanted.clone());
        wanted
    }

    /// The socket is gone: the session waits if there is a picture to keep alive.
    pub(super) fn release(&self, mut session: Session, now: Instant) {
        {
            let mut guard = self.lock();
            guard.active.remove(session.id());
            if session.worth_keeping() {
                if guard.parked.len() >= PARKED_MAX
                    && let Some(oldest) =
                        guard.parked.iter().min_by_key(|(_, (_, since))| *since).map(|(id, _)| id.clone())
                {
                    guard.parked.remove(&oldest);
                }
                guard.parked.insert(session.id().to_owned(), (session, now));
            }
        }
        self.released.notify_waiters();
    }

    /// The session of that id, if it waits. If a socket still has it, that socket lets go first: a client
    /// whose network changed is back long before its old socket is known to be dead.
    pub(super) async fn take(&self, id: &str) -> Option<Session> {
        let taking = async {
            loop {
                let released = self.released.notified();
                tokio::pin!(released);
                // From here on no release is missed.
                released.as_mut().enable();
                {
                    let mut guard = self.lock();
                    if let Some((session, _)) = guard.parked.remove(id) {
                        return Some(session);
                    }
                    guard.active.get(id)?.cancel();
                }
                released.await;
            }
        };
        tokio::time::timeout(TAKE_TIMEOUT, taking).await.unwrap_or(None)
    }

    /// Ends the sessions that have waited too long.
    pub(super) fn expire(&self, now: Instant) {
        self.lock().parked.retain(|_, (_, since)| now.saturating_duration_since(*since) < PARKED_FOR);
    }

    /// Ends all that wait.
    pub(super) fn clear(&self) {
        self.lock().parked.clear();
    }

    /// How many wait.
    pub(super) fn parked(&self) -> usize {
        self.lock().parked.len()
    }

    fn lock(&self) -> MutexGuard<'_, Whereabouts> {
        self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
