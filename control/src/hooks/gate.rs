//! The gate: asks the backend whether somebody may come in.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::ChannelName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::answer::Answer;
use super::call::{self, Action, Caller};
use super::client::Client;
use super::config::{Config, HookUrl, Keys};
use super::decisions::Decisions;
use super::network::Reach;
use super::question::{Line, Question};
use super::stats::{Counters, Stats};
use super::visit::{Teller, Visit};
use crate::clock;
use crate::seldom::Seldom;

/// How long a refusal is good: encoders try again every few seconds, and whoever corrects his key should not wait.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(2);

/// How long a failure is good: a backend that is back should serve at once, and one that is down not be stormed.
const FAILURE_LIFETIME: Duration = Duration::from_millis(500);

/// How often the cache is looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

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
    line: Line,
    publishers: Question,
    viewers: Question,
    teller: Arc<Teller>,
    counters: Arc<Counters>,
    decisions: Mutex<Decisions<Decision>>,
    logged: Seldom,
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
        Ok(Arc::new(Self {
            line: Line::new(client, Arc::clone(&teller), Arc::clone(&counters), &config),
            publishers: Question::new(Action::Publish, &config.on_publish, &config),
            viewers: Question::new(Action::Play, &config.on_play, &config),
            config,
            teller,
            counters,
            decisions: Mutex::default(),
            logged: Seldom::default(),
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
        let (decision, channel) = self.ask(&self.publishers, caller).await;
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
                self.ask(&self.viewers, caller).await.0
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
        let open = [&self.publishers, &self.viewers].into_iter().filter(|it| it.is_open()).count() as u64;
        self.counters.snapshot(decisions, open)
    }

    async fn ask(&self, question: &Question, caller: &Caller) -> (Decision, Option<ChannelName>) {
        let (action, client_id) = (question.action(), call::fresh_client_id());
        let (answer, url) = question.ask(&self.line, caller, &client_id).await;
        let outcomes = self.counters.of(action);
        match answer {
            Answer::Allowed { channel } => {
                outcomes.allowed.bump();
                let visit = Visit::new(&self.teller, action.end(), client_id, caller.clone());
                (Decision::Allowed(visit), channel)
            }
            Answer::Refused { message } => {
                outcomes.refused.bump();
                let message = message.map(|message| caller.redact(&message));
                debug!(action = action.as_str(), ?caller, reason = message, "the hook backend refuses");
                (Decision::Refused(message), None)
            }
            Answer::Broken(why) => {
                outcomes.failed.bump();
                self.log_failure(action, url, &caller.redact(&why));
                if !self.config.fail_open {
                    return (Decision::Failed, None);
                }
                self.counters.opened.bump();
                (Decision::Opened, None)
            }
        }
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
        if !self.logged.may(clock::now()) {
            return;
        }
        let (action, url) = (action.as_str(), url.map(HookUrl::to_string).unwrap_or_default());
        let failures = self.counters.publish.failed.get() + self.counters.play.failed.get();
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

fn refusal(decision: &Decision) -> Refusal {
    match decision {
        Decision::Refused(message) => Refusal::Forbidden(message.clone()),
        Decision::Allowed(_) | Decision::Failed | Decision::Opened => Refusal::Unavailable,
    }
}

#[cfg(test)]
mod tests;
