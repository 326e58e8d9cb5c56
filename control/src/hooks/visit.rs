//! Somebody who was let in: when the last of it is dropped, the backend is told that he left.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::answer::{self, Answer};
use super::call::{self, Action, Caller};
use super::client::Client;
use super::config::HookUrl;
use super::stats::{Counter, Counters};

/// Ends of a kind that may wait to be told. A node that stops tells of all its viewers at once; over it they are not
/// told, which `swiftwater_hooks_tells_dropped_total` counts. Each has about a kilobyte.
pub(super) const WAITING_MAX: u64 = 16_384;

/// Ends of a kind told at a time.
const TELLING_MAX: usize = 32;

/// Somebody who was let in. Clones are the same visit; keep one for as long as he stays.
#[derive(Clone, Default)]
pub struct Visit(Option<Arc<Inner>>);

struct Inner {
    teller: Arc<Teller>,
    action: Action,
    client_id: String,
    caller: Caller,
    silent: AtomicBool,
}

impl Visit {
    /// `action` will be told of `caller`, unless nobody wants to hear of it.
    pub(super) fn new(teller: &Arc<Teller>, action: Action, client_id: String, caller: Caller) -> Self {
        if teller.urls(action).is_empty() {
            return Self::default();
        }
        let (teller, silent) = (Arc::clone(teller), AtomicBool::new(false));
        Self(Some(Arc::new(Inner { teller, action, client_id, caller, silent })))
    }

    /// Ends it without a word: somebody else continues it.
    pub fn forget(self) {
        if let Some(inner) = &self.0 {
            inner.silent.store(true, Ordering::Relaxed);
        }
    }
}

/// The same visit, not one like it.
impl PartialEq for Visit {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Visit").field(&self.0.as_ref().map(|inner| &inner.client_id)).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.silent.load(Ordering::Relaxed) {
            self.teller.tell(self.action, &self.client_id, &self.caller);
        }
    }
}

/// Tells of ends, from wherever a visit is dropped.
pub(super) struct Teller {
    client: Client,
    on_unpublish: Vec<HookUrl>,
    on_stop: Vec<HookUrl>,
    timeout: Duration,
    counters: Arc<Counters>,
    /// Publishers and viewers wait apart: who comes back to publish waits until his end is told, and must not wait for
    /// a crowd of viewers that leaves.
    publishers: Queue,
    viewers: Queue,
    tasks: TaskTracker,
    runtime: Handle,
    /// Per stream the end that is being told. Bounded by the ends that wait.
    ending: Mutex<HashMap<[u8; 32], CancellationToken>>,
}

impl Teller {
    pub(super) fn new(
        client: Client,
        config: &super::Config,
        counters: Arc<Counters>,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            on_unpublish: config.on_unpublish.clone(),
            on_stop: config.on_stop.clone(),
            timeout: config.timeout(),
            counters,
            publishers: Queue::default(),
            viewers: Queue::default(),
            tasks,
            runtime: Handle::current(),
            ending: Mutex::default(),
        })
    }

    /// Waits until the backend has heard that the last publisher of this stream left. Else it could hear of the next
    /// one first, and take the end for his.
    pub(super) async fn settled(&self, stream: &[u8; 32]) {
        let ending = self.lock().get(stream).cloned();
        if let Some(ending) = ending {
            ending.cancelled().await;
        }
    }

    fn urls(&self, action: Action) -> &[HookUrl] {
        match action {
            Action::Unpublish => &self.on_unpublish,
            Action::Stop => &self.on_stop,
            Action::Publish | Action::Play => &[],
        }
    }

    fn queue(&self, action: Action) -> &Queue {
        match action {
            Action::Publish | Action::Unpublish => &self.publishers,
            Action::Play | Action::Stop => &self.viewers,
        }
    }

    fn tell(self: &Arc<Self>, action: Action, client_id: &str, caller: &Caller) {
        if self.queue(action).waiting.get() >= WAITING_MAX {
            return self.counters.tell_dropped.bump();
        }
        self.queue(action).waiting.bump();
        self.counters.telling.bump();
        let done = (action == Action::Unpublish).then(|| self.begin_ending(caller.stream_digest()));
        let body = call::body(action, client_id, caller);
        let teller = Arc::clone(self);
        let caller = caller.clone();
        let told = async move {
            let _done = done;
            let queue = teller.queue(action);
            if let Ok(_place) = queue.places.acquire().await {
                teller.post(action, &caller, &body).await;
            }
            queue.waiting.drop_one();
            teller.counters.telling.drop_one();
        };
        self.tasks.spawn_on(told, &self.runtime);
    }

    async fn post(&self, action: Action, caller: &Caller, body: &[u8]) {
        for url in self.urls(action) {
            let reply = self.client.post(url.url(), HeaderMap::new(), body.to_vec(), self.timeout).await;
            let problem = match reply.map(|reply| answer::read(reply.status, &reply.body)) {
                Ok(Answer::Allowed { .. }) => None,
                // There is nothing to refuse any more, but a backend that says so has not understood.
                Ok(Answer::Refused { .. }) => Some("it refuses".to_owned()),
                Ok(Answer::Broken(why)) => Some(why),
                Err(error) => Some(error.to_string()),
            };
            let action = action.as_str();
            match problem {
                None => {
                    self.counters.told.bump();
                    debug!(action, ?caller, "the hook backend was told");
                }
                Some(why) => {
                    self.counters.tell_failed.bump();
                    warn!(action, %url, channel = caller.channel.as_ref().map(|it| it.as_str()), why, "the hook backend could not be told");
                }
            }
        }
    }

    /// Notes that an end is being told, until the guard is dropped.
    fn begin_ending(self: &Arc<Self>, stream: [u8; 32]) -> Ending {
        let token = CancellationToken::new();
        self.lock().insert(stream, token.clone());
        Ending { teller: Arc::clone(self), stream, told: token }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], CancellationToken>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ends of a kind that wait to be told, or are being told.
struct Queue {
    places: Semaphore,
    waiting: Counter,
}

impl Default for Queue {
    fn default() -> Self {
        Self { places: Semaphore::new(TELLING_MAX), waiting: Counter::default() }
    }
}

/// An end that is being told.
struct Ending {
    teller: Arc<Teller>,
    stream: [u8; 32],
    told: CancellationToken,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.told.cancel();
        // A later end of the same stream has taken the place: it is still to be waited for.
        let mut ending = self.teller.lock();
        if ending.get(&self.stream).is_some_and(CancellationToken::is_cancelled) {
            ending.remove(&self.stream);
        }
    }
}
