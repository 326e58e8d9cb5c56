//! A kind of question to the backend, about publishers or about viewers: whom it goes to, and whether it is asked at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::answer::{self, Answer};
use super::breaker::{Breaker, Change};
use super::call::{self, Action, Caller};
use super::client::Client;
use super::config::{Config, HookUrl};
use super::stats::{Counter, Counters};
use super::visit::Teller;

/// The way to the backend, which all questions share.
pub(super) struct Line {
    client: Client,
    teller: Arc<Teller>,
    counters: Arc<Counters>,
    places: Semaphore,
    timeout: Duration,
}

impl Line {
    pub(super) fn new(client: Client, teller: Arc<Teller>, counters: Arc<Counters>, config: &Config) -> Self {
        let places = Semaphore::new(config.in_flight_max);
        Self { client, teller, counters, places, timeout: config.timeout() }
    }
}

/// One kind of question. Publishers and viewers have one each: their backends may be two.
pub(super) struct Question {
    action: Action,
    urls: Vec<HookUrl>,
    breaker: Mutex<Breaker>,
    /// Of the breaker, for those who read the log.
    failures_max: u32,
    open_ms: u64,
}

impl Question {
    /// `action` is what `urls` are asked about.
    pub(super) fn new(action: Action, urls: &[HookUrl], config: &Config) -> Self {
        let (failures_max, open_ms) = (config.breaker_failures, config.breaker_open_ms);
        let breaker = Mutex::new(Breaker::new(failures_max, Duration::from_millis(open_ms)));
        Self { action, urls: urls.to_vec(), breaker, failures_max, open_ms }
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    /// Whether the backend is left alone: it has failed too often in a row.
    pub(super) fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// Asks, unless the backend has failed too often in a row. Of a broken answer also whose it is.
    pub(super) async fn ask(
        &self,
        line: &Line,
        caller: &Caller,
        client_id: &str,
    ) -> (Answer, Option<&HookUrl>) {
        if self.urls.is_empty() {
            return (Answer::Allowed { channel: None }, None);
        }
        if caller.too_long() {
            let message = Some("the name or its parameters are too long".to_owned());
            return (Answer::Refused { message }, None);
        }
        let may_ask = self.breaker().may_ask(Instant::now());
        if !may_ask {
            line.counters.not_asked.bump();
            let why = format!("it is not asked: {} questions in a row had none", self.failures_max);
            return (Answer::Broken(why), self.urls.first());
        }
        let (answer, url) = self.ask_all(line, caller, client_id).await;
        let change = self.breaker().answered(Instant::now(), !matches!(answer, Answer::Broken(_)));
        self.log_change(change);
        (answer, url)
    }

    /// Asks one after the other until one does not allow it. All of it within the line's time.
    async fn ask_all(&self, line: &Line, caller: &Caller, client_id: &str) -> (Answer, Option<&HookUrl>) {
        let deadline = Instant::now() + line.timeout;
        let body = call::body(self.action, client_id, caller);
        let questions = async {
            if self.action == Action::Publish {
                line.teller.settled(&caller.stream_digest()).await;
            }
            let Ok(_place) = line.places.acquire().await else {
                return (Answer::Broken("the server stops".to_owned()), None);
            };
            let mut named = None;
            for url in &self.urls {
                let _flying = Flying::new(&line.counters);
                let reply = line.client.post(url.url(), HeaderMap::new(), body.clone(), line.timeout).await;
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
            let why = format!("no answer within {} ms", line.timeout.as_millis());
            (Answer::Broken(why), self.urls.first())
        })
    }

    fn log_change(&self, change: Option<Change>) {
        let (action, failures, open_ms) = (self.action.as_str(), self.failures_max, self.open_ms);
        match change {
            Some(Change::Opened) => warn!(
                action,
                failures,
                open_ms,
                "the hook backend has failed too often in a row: it is not asked for a while"
            ),
            Some(Change::Closed) => info!(action, "the hook backend answers again: everybody is asked for"),
            None => {}
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
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
