//! The gate: asks the backend whether somebody may come in.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::ChannelName;
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::answer::{self, Answer};
use super::breaker::{Breaker, Change};
use super::call::{self, Action, Caller};
use super::client::Client;
use super::config::{Config, HookUrl, Keys};
use super::decisions::Decisions;
use super::network::Reach;
use super::stats::{Counter, Counters, Stats};
use super::visit::{Teller, Visit};

/// How long a refusal is good: encoders try again every few seconds, and whoever corrects his key should not wait.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(2);

/// How long a failure is good: a backend that is back should serve at once, and one that is down not be stormed.
const FAILURE_LIFETIME: Duration = Duration::from_millis(500);

/// How often the cache is looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// One line about a backend that fails per this long; the counters have the rest.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why somebody may not come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The backend said no, and perhaps why. The text comes from it, without the caller's secrets.
    Forbidden(Option<String>),
    /// The backend gave no clear answer in time: nobody knows.
    Unavailable,
}

/// A sentence for the one who was refused.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(Some(why)) => write!(f, "Refused by this site: {why}"),
            Self::Forbidden(None) => f.write_str("Refused by this site: ask its operator"),
            Self::Unavailable => {
                f.write_str("This site cannot check at the moment who may come in: try again in a minute")
            }
        }
    }
}

/// A publisher who may come in.
#[derive(Debug)]
pub struct Admitted {
    /// Keep it for as long as he publishes.
    pub visit: Visit,
    /// The Channel that the backend named.
    pub channel: Option<ChannelName>,
}

/// What came of a question.
#[derive(Clone, Debug)]
enum Decision {
    Allowed(Visit),
    Refused(Option<String>),
    Failed,
    /// It failed, and everybody may come in meanwhile.
    Opened,
}

/// Asks the backend that the operator configured. With none, everybody may come in, at no cost.
pub struct Gate {
    config: Config,
    client: Client,
    teller: Arc<Teller>,
    counters: Arc<Counters>,
    places: Semaphore,
    decisions: Mutex<Decisions<Decision>>,
    /// One for publishers, one for viewers: their backends may be two.
    publish_breaker: Mutex<Breaker>,
    play_breaker: Mutex<Breaker>,
    logged: Mutex<Option<Instant>>,
}

impl Gate {
    /// A gate; [`Gate::run`] keeps its cache small. Ends are told in `tasks`, of the runtime of the caller.
    ///
    /// # Errors
    /// A sentence, for settings that cannot work.
    pub fn new(config: Config, tasks: TaskTracker) -> Result<Arc<Self>, String> {
        config.validate()?;
        // The operator's own URLs: a backend on this machine or in this network is the usual case.
        let client = Client::new(Reach::Anywhere).map_err(|error| error.to_string())?;
        let counters = Arc::new(Counters::default());
        let teller = Teller::new(client.clone(), &config, Arc::clone(&counters), tasks);
        let breaker = || {
            let open_for = Duration::from_millis(config.breaker_open_ms);
            Mutex::new(Breaker::new(config.breaker_failures, open_for))
        };
        Ok(Arc::new(Self {
            places: Semaphore::new(config.in_flight_max),
            publish_breaker: breaker(),
            play_breaker: breaker(),
            config,
            client,
            teller,
            counters,
            decisions: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// Whether viewers are anybody's business: asked for, or told of.
    pub fn minds_viewers(&self) -> bool {
        !self.config.on_play.is_empty() || !self.config.on_stop.is_empty()
    }

    /// Whether the backend may know keys that this server does not.
    pub fn knows_keys(&self) -> bool {
        self.config.keys == Keys::Backend
    }

    /// May `caller` publish? Every publisher is asked for, since the backend counts on hearing of each; only a
    /// refusal is good for the same caller's next try, two seconds long.
    ///
    /// # Errors
    /// [`Refusal`] with a sentence for him.
    pub async fn publish(&self, caller: &Caller) -> Result<Admitted, Refusal> {
        let key = caller.digest(Action::Publish);
        let known = self.lock().known(&key, Instant::now());
        if let Some(decision) = known.as_ref().and_then(|cell| cell.get()) {
            self.counters.cached.bump();
            return Err(refusal(decision));
        }
        let (decision, channel) = self.ask(Action::Publish, &self.config.on_publish, caller).await;
        match decision {
            Decision::Allowed(visit) => Ok(Admitted { visit, channel }),
            Decision::Opened => Ok(Admitted { visit: Visit::default(), channel: None }),
            refused => {
                let refusal = refusal(&refused);
                let lifetime = self.lifetime(&refused);
                self.lock().keep(key, refused, Instant::now(), lifetime);
                Err(refusal)
            }
        }
    }

    /// May `caller` watch? Asked once for all who are the same caller, and not again while the answer is good.
    ///
    /// # Errors
    /// [`Refusal`] with a sentence for him.
    pub async fn play(&self, caller: &Caller) -> Result<Visit, Refusal> {
        if !self.minds_viewers() {
            return Ok(Visit::default());
        }
        let key = caller.digest(Action::Play);
        let cell = self.lock().cell(key, Instant::now());
        let mut asked = false;
        let decision = cell
            .get_or_init(|| async {
                asked = true;
                self.ask(Action::Play, &self.config.on_play, caller).await.0
            })
            .await
            .clone();
        if asked {
            let lifetime = self.lifetime(&decision);
            self.lock().decided(key, &cell, Instant::now(), lifetime);
        } else {
            self.counters.cached.bump();
        }
        match decision {
            Decision::Allowed(visit) => Ok(visit),
            Decision::Opened => Ok(Visit::default()),
            refused => Err(refusal(&refused)),
        }
    }

    /// Forgets old decisions until `stop`, then all of them.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            // Dropped after the lock: the last of a visit tells of its end.
            let old = self.lock().sweep(Instant::now());
            drop(old);
        }
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        let decisions = self.lock().len() as u64;
        let breakers = [&self.publish_breaker, &self.play_breaker];
        let open = breakers.into_iter().filter(|breaker| lock(breaker).is_open()).count() as u64;
        self.counters.snapshot(decisions, open)
    }

    async fn ask(
        &self,
        action: Action,
        urls: &[HookUrl],
        caller: &Caller,
    ) -> (Decision, Option<ChannelName>) {
        let client_id = call::fresh_client_id();
        let (answer, url) = if urls.is_empty() {
            (Answer::Allowed { channel: None }, None)
        } else if caller.too_long() {
            (Answer::Refused { message: Some("the name or its parameters are too long".to_owned()) }, None)
        } else {
            self.ask_unless_open(action, urls, caller, &client_id).await
        };
        let (allowed, refused, failed) = match action {
            Action::Publish | Action::Unpublish => (
                &self.counters.publish_allowed,
                &self.counters.publish_refused,
                &self.counters.publish_failed,
            ),
            Action::Play | Action::Stop => {
                (&self.counters.play_allowed, &self.counters.play_refused, &self.counters.play_failed)
            }
        };
        match answer {
            Answer::Allowed { channel } => {
                allowed.bump();
                let end = if action == Action::Publish { Action::Unpublish } else { Action::Stop };
                (Decision::Allowed(Visit::new(&self.teller, end, client_id, caller.clone())), channel)
            }
            Answer::Refused { message } => {
                refused.bump();
                let message = message.map(|message| caller.redact(&message));
                debug!(action = action.as_str(), ?caller, reason = message, "the hook backend refuses");
                (Decision::Refused(message), None)
            }
            Answer::Broken(why) => {
                failed.bump();
                self.log_failure(action, url, &caller.redact(&why));
                if !self.config.fail_open {
                    return (Decision::Failed, None);
                }
                self.counters.opened.bump();
                (Decision::Opened, None)
            }
        }
    }

    /// Asks, unless the backend has failed too often in a row.
    async fn ask_unless_open<'a>(
        &self,
        action: Action,
        urls: &'a [HookUrl],
        caller: &Caller,
        client_id: &str,
    ) -> (Answer, Option<&'a HookUrl>) {
        let breaker = match action {
            Action::Publish | Action::Unpublish => &self.publish_breaker,
            Action::Play | Action::Stop => &self.play_breaker,
        };
        let may_ask = lock(breaker).may_ask(Instant::now());
        if !may_ask {
            self.counters.not_asked.bump();
            let why =
                format!("it is not asked: {} questions in a row had none", self.config.breaker_failures);
            return (Answer::Broken(why), urls.first());
        }
        let (answer, url) = self.ask_all(action, urls, caller, client_id).await;
        let change = lock(breaker).answered(Instant::now(), !matches!(answer, Answer::Broken(_)));
        let (action, open_ms) = (action.as_str(), self.config.breaker_open_ms);
        match change {
            Some(Change::Opened) => {
                let failures = self.config.breaker_failures;
                warn!(
                    action,
                    failures,
                    open_ms,
                    "the hook backend has failed too often in a row: it is not asked for a while"
                );
            }
            Some(Change::Closed) => info!(action, "the hook backend answers again: everybody is asked for"),
            None => {}
        }
        (answer, url)
    }

    /// Asks one after the other until one does not allow it. All of it within `timeout_ms`.
    async fn ask_all<'a>(
        &self,
        action: Action,
        urls: &'a [HookUrl],
        caller: &Caller,
        client_id: &str,
    ) -> (Answer, Option<&'a HookUrl>) {
        let timeout = self.config.timeout();
        let deadline = Instant::now() + timeout;
        let body = call::body(action, client_id, caller);
        let questions = async {
            if action == Action::Publish {
                self.teller.settled(&caller.stream_digest()).await;
            }
            let Ok(_place) = self.places.acquire().await else {
                return (Answer::Broken("the server stops".to_owned()), None);
            };
            let mut named = None;
            for url in urls {
                let _flying = Flying::new(&self.counters);
                let reply = self.client.post(url.url(), HeaderMap::new(), body.clone(), timeout).await;
                let answer = match reply {
                    Ok(reply) => answer::read(reply.status, &reply.body),
                    Err(error) => Answer::Broken(error.to_string()),
                };
                match answer {
                    Answer::Allowed { channel } => named = named.or(channel),
                    other => return (other, Some(url)),
                }
            }
            (Answer::Allowed { channel: named }, None)
        };
        timeout_at(deadline, questions).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} ms", timeout.as_millis());
            (Answer::Broken(why), urls.first())
        })
    }

    fn lifetime(&self, decision: &Decision) -> Duration {
        let cache = self.config.cache();
        match decision {
            Decision::Allowed(_) => cache,
            Decision::Refused(_) => cache.min(REFUSAL_LIFETIME),
            Decision::Failed | Decision::Opened => cache.min(FAILURE_LIFETIME),
        }
    }

    fn log_failure(&self, action: Action, url: Option<&HookUrl>, why: &str) {
        let now = Instant::now();
        {
            let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
            if logged.is_some_and(|last| now.saturating_duration_since(last) < LOG_EVERY) {
                return;
            }
            *logged = Some(now);
        }
        let (action, url) = (action.as_str(), url.map(HookUrl::to_string).unwrap_or_default());
        let failures = self.counters.publish_failed.get() + self.counters.play_failed.get();
        if self.config.fail_open {
            warn!(
                action,
                url, why, failures, "the hook backend gives no clear answer: everybody is let in (fail_open)"
            );
        } else {
            warn!(
                action,
                url, why, failures, "the hook backend gives no clear answer: who needs it is refused"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Decisions<Decision>> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("config", &self.config).finish_non_exhaustive()
    }
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(decision: &Decision) -> Refusal {
    match decision {
        Decision::Refused(message) => Refusal::Forbidden(message.clone()),
        Decision::Allowed(_) | Decision::Failed | Decision::Opened => Refusal::Unavailable,
    }
}

/// One request, counted while it runs, whatever ends it.
struct Flying<'a> {
    counters: &'a Counters,
    since: Instant,
}

impl<'a> Flying<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.requests.bump();
        counters.in_flight.bump();
        Self { counters, since: Instant::now() }
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        Counter::drop_one(&self.counters.in_flight);
        let micros = self.since.elapsed().as_micros();
        self.counters.request_micros.add(u64::try_from(micros).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
