//! Webhooks: signed messages about events to URLs that users chose, at least once, from an outbox in the database.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use super::client::{self, Client};
use super::event::{EVENT_TYPES, Event};
use super::network::Reach;
use super::signature::{self, Secret};
use super::stats::Counter;
use crate::Secrets;
use crate::db::{self, Attempt, Database, Delivery, DeliveryState, Hook, NewDelivery, NewHook};

/// What the signing secrets are sealed for.
const PURPOSE: &str = "webhook secret";

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long a delivery is this node's: longer than an attempt, so that nobody else makes it as well. After a crash it
/// is due again then.
const LEASE: Duration = Duration::from_secs(30);

/// Attempts at a time, of all hooks. Each is a connection; a receiver that hangs holds one for 15 s.
const ATTEMPTS_MAX: usize = 32;

/// How often the outbox is looked at when nobody says that something is in it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What follows the first, second, … failed attempt: five days in all, then the delivery is dead.
const RETRY_SECONDS: [i64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Retries are spread by this part, so that what failed together does not come back together.
const JITTER: f64 = 0.1;

/// A hook that has failed for so long is turned off.
const FAILING_MAX: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// How long finished deliveries are kept to be looked at, and how often old ones are looked for.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const FORGET_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Longest URL of a hook.
const URL_BYTES_MAX: usize = 2048;

/// Longest reason that is kept of a failed attempt.
const ERROR_CHARS_MAX: usize = 200;

/// Settings of webhooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Networks that are not public and that webhooks of users may lead to all the same.
    pub allow_networks: Vec<IpNet>,
}

/// Why a hook cannot be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// Its URL.
    #[error("{0}")]
    Url(String),
    /// What it wants to hear of.
    #[error("{event} is no event: there are {known}", event = .0, known = EVENT_TYPES.join(", "))]
    Event(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// HTTPS.
    #[error("webhooks need TLS: {0}")]
    Tls(String),
}

/// What webhooks have counted; all but `pending` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WebhookStats {
    /// Messages put into the outbox.
    pub queued: u64,
    /// Messages that a receiver took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Messages given up.
    pub dead: u64,
    /// Hooks turned off because they failed for too long or said so.
    pub disabled: u64,
    /// Statements of the outbox that failed.
    pub errors: u64,
    /// Messages that waited at the last look.
    pub pending: u64,
}

#[derive(Debug, Default)]
struct Counters {
    queued: Counter,
    delivered: Counter,
    failed: Counter,
    dead: Counter,
    disabled: Counter,
    errors: Counter,
    pending: Counter,
}

/// The sender of webhooks.
pub struct Webhooks {
    database: Database,
    secrets: Secrets,
    client: Client,
    counters: Counters,
    wake: Notify,
}

impl Webhooks {
    /// A sender; [`Webhooks::run`] sends.
    ///
    /// # Errors
    /// [`WebhookError::Tls`].
    pub fn new(
        database: Database,
        secrets: Secrets,
        config: &WebhookConfig,
    ) -> Result<Arc<Self>, WebhookError> {
        let reach = Reach::Public { besides: config.allow_networks.clone() };
        let client = Client::new(reach).map_err(|error| WebhookError::Tls(error.to_string()))?;
        Ok(Arc::new(Self { database, secrets, client, counters: Counters::default(), wake: Notify::new() }))
    }

    /// Adds a hook of a Channel, or of the instance. Its signing secret comes back in clear, for the only time.
    ///
    /// # Errors
    /// [`WebhookError`] says what to change.
    pub async fn add(
        &self,
        channel_id: Option<&str>,
        url: &str,
        events: &[String],
    ) -> Result<(Hook, String), WebhookError> {
        let url = self.check_url(url)?;
        if let Some(unknown) =
            events.iter().find(|event| *event != "*" && !EVENT_TYPES.contains(&event.as_str()))
        {
            return Err(WebhookError::Event(unknown.chars().take(64).collect()));
        }
        let (_, secret) = signature::fresh();
        let sealed = self.secrets.seal(PURPOSE, &secret);
        let events = if events.is_empty() { "*".to_owned() } else { events.join(" ") };
        let new = NewHook { channel_id, url: &url, events: &events, secret_sealed: &sealed };
        Ok((self.database.add_hook(new, now_ms()).await?, secret))
    }

    /// Puts an event into the outbox of every hook that wants it; how many do. When this returns it will be delivered,
    /// whatever happens to this process. Announcing it again changes nothing.
    ///
    /// # Errors
    /// If the database fails: announce it again.
    pub async fn announce(&self, event: &Event) -> Result<usize, db::Error> {
        let hooks = self.database.announce(event, now_ms()).await?;
        self.queued(hooks);
        Ok(usize::try_from(hooks).unwrap_or(usize::MAX))
    }

    /// So many messages were put into the outbox, with what they tell of: they are sent now, not at the next look.
    pub fn queued(&self, messages: u64) {
        if messages > 0 {
            self.counters.queued.add(messages);
            self.wake.notify_one();
        }
    }

    /// Puts an event into the outbox of one hook.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn announce_to(&self, hook: &Hook, event: &Event) -> Result<(), db::Error> {
        let payload = event.payload();
        let delivery =
            NewDelivery { hook_id: &hook.id, event_id: &event.id, event_type: event.kind, payload: &payload };
        self.database.add_deliveries(&[delivery], now_ms()).await?;
        self.queued(1);
        Ok(())
    }

    /// Sends what is in the outbox, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut attempts = JoinSet::new();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut forget = tokio::time::interval(FORGET_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = attempts.join_next(), if !attempts.is_empty() => {}
                () = self.wake.notified() => {}
                _ = look.tick() => self.note_pending().await,
                _ = forget.tick() => self.forget().await,
            }
            let room = ATTEMPTS_MAX.saturating_sub(attempts.len());
            if room == 0 {
                continue;
            }
            let now = now_ms();
            let lease_until = now + millis(LEASE);
            match self.database.take_due_deliveries(u32::try_from(room).unwrap_or(1), lease_until, now).await
            {
                Ok(due) => {
                    for delivery in due {
                        let webhooks = Arc::clone(&self);
                        attempts.spawn(async move { webhooks.attempt(delivery).await });
                    }
                }
                Err(error) => self.failed("the outbox cannot be read", &error),
            }
        }
        // What is under way is due again after its lease; receivers know the id.
        attempts.shutdown().await;
    }

    /// What was counted.
    pub fn stats(&self) -> WebhookStats {
        let counters = &self.counters;
        WebhookStats {
            queued: counters.queued.get(),
            delivered: counters.delivered.get(),
            failed: counters.failed.get(),
            dead: counters.dead.get(),
            disabled: counters.disabled.get(),
            errors: counters.errors.get(),
            pending: counters.pending.get(),
        }
    }

    async fn attempt(&self, delivery: Delivery) {
        let hook = match self.database.hook(&delivery.hook_id).await {
            Ok(hook) => hook,
            // Removed meanwhile, with its deliveries.
            Err(db::Error::Missing(_)) => return,
            Err(error) => return self.failed("a hook cannot be read", &error),
        };
        let started = Instant::now();
        let outcome = self.send(&hook, &delivery).await;
        let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let (status, problem) = match outcome {
            Ok(status @ 200..=299) => (Some(status), None),
            Ok(status @ 300..=399) => (Some(status), Some("redirects are not followed".to_owned())),
            Ok(status) => (Some(status), Some(format!("status {status}"))),
            Err(error) => (None, Some(error)),
        };
        let now = now_ms();
        let gone = status == Some(410);
        let (state, next_at) = match &problem {
            None => (DeliveryState::Delivered, now),
            Some(_) => match retry_after(delivery.attempt).filter(|_| !gone) {
                Some(wait) => (DeliveryState::Pending, now + jittered(wait)),
                None => (DeliveryState::Dead, now),
            },
        };
        let error: Option<String> = problem.map(|text| text.chars().take(ERROR_CHARS_MAX).collect());
        let attempt =
            Attempt { state, next_at, status: status.map(i64::from), error: error.as_deref(), took_ms };
        if let Err(error) = self.database.note_attempt(&delivery, attempt, now).await {
            // Then it is made again after its lease: at least once.
            return self.failed("an attempt cannot be noted", &error);
        }
        match state {
            DeliveryState::Delivered => self.counters.delivered.bump(),
            DeliveryState::Pending => self.counters.failed.bump(),
            DeliveryState::Dead => {
                self.counters.failed.bump();
                self.counters.dead.bump();
            }
        }
        if let Some(error) = error {
            info!(hook = %hook.id, event = delivery.event_type, attempt = delivery.attempt + 1, status, error, "a webhook was not taken");
            self.maybe_disable(&hook, gone, now).await;
        }
    }

    async fn send(&self, hook: &Hook, delivery: &Delivery) -> Result<u16, String> {
        let secret = self.secrets.unseal(PURPOSE, &hook.secret_sealed).and_then(|text| Secret::parse(&text));
        let secret = secret.ok_or("its secret cannot be read: was the file of secrets changed?")?;
        let url = Url::parse(&hook.url).map_err(|error| error.to_string())?;
        let timestamp = now_ms() / 1000;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", delivery.event_id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", secret.sign(&delivery.event_id, timestamp, &delivery.payload)),
        ] {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = delivery.payload.clone().into_bytes();
        let reply = self.client.post(&url, headers, body, TIMEOUT).await;
        match reply {
            Ok(reply) => Ok(reply.status),
            // Its status says whether it was taken; what it says besides, however long, is its business.
            Err(client::Error::TooLong { status }) => Ok(status),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn maybe_disable(&self, hook: &Hook, gone: bool, now: i64) {
        let failing = hook.failing_since.is_some_and(|since| now - since >= millis(FAILING_MAX));
        let reason = match (gone, failing) {
            (true, _) => "its receiver said that it is gone (410)",
            (false, true) => "it has failed for five days",
            (false, false) => return,
        };
        match self.database.enable_hook(&hook.id, Some(reason)).await {
            Ok(()) => {
                self.counters.disabled.bump();
                warn!(hook = %hook.id, reason, "a webhook was turned off");
            }
            Err(error) => self.failed("a hook cannot be turned off", &error),
        }
    }

    /// `https` or `http`, without a password in it, and to a public address if it names one. What a name leads to is
    /// looked at when it is connected to.
    fn check_url(&self, text: &str) -> Result<String, WebhookError> {
        let wrong = |why: &str| WebhookError::Url(format!("the URL of a webhook {why}"));
        if text.len() > URL_BYTES_MAX {
            return Err(wrong("has 2048 bytes at most"));
        }
        let url = Url::parse(text).map_err(|error| WebhookError::Url(format!("this is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("begins with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has no password in it: check the signature instead"));
        }
        self.client.check_literal(&url).map_err(|error| WebhookError::Url(error.to_string()))?;
        Ok(url.into())
    }

    async fn note_pending(&self) {
        match self.database.deliveries_pending().await {
            Ok(pending) => self.counters.pending.set(u64::try_from(pending).unwrap_or(0)),
            Err(error) => self.failed("the outbox cannot be read", &error),
        }
    }

    async fn forget(&self) {
        if let Err(error) = self.database.forget_deliveries(now_ms() - millis(KEEP)).await {
            self.failed("old deliveries cannot be forgotten", &error);
        }
    }

    fn failed(&self, what: &str, error: &db::Error) {
        self.counters.errors.bump();
        warn!(%error, what, "webhooks: the database failed");
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Milliseconds until the next attempt, if there is one, after `attempts` earlier ones and the one that just failed.
fn retry_after(attempts: i64) -> Option<i64> {
    RETRY_SECONDS.get(usize::try_from(attempts).ok()?).map(|seconds| seconds * 1000)
}

fn jittered(ms: i64) -> i64 {
    let part = 1.0 - JITTER + 2.0 * JITTER * rand::random::<f64>();
    (ms as f64 * part) as i64
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the outbox is a shell: rows carry the wall clock")]
fn now_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_take_five_days_and_end() {
        let all: Vec<i64> = (0..).map_while(retry_after).collect();
        assert_eq!(all.len(), RETRY_SECONDS.len());
        assert!(all.is_sorted());
        let days = all.iter().sum::<i64>() as f64 / 86_400_000.0;
        assert!((3.0..=5.0).contains(&days), "{days}");
        assert_eq!((retry_after(9), retry_after(-1)), (None, None));
        for _ in 0..100 {
            assert!((4500..=5500).contains(&jittered(5000)));
        }
    }
}
