//! The outbox of event hooks, which is their log as well.

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::{Database, Error, Page, fresh_id, maybe_number, maybe_text, number, text};
use crate::hooks::{Event, wants};

/// Deliveries of one hook under way at a time, of all nodes. A sender makes 32 attempts at a time: a receiver that
/// hangs holds these and not all of them, and one that answers in 100 ms still gets 40 in a second.
const UNDER_WAY_MAX: i64 = 4;

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryState {
    /// It waits for its next attempt.
    Pending,
    /// The receiver took it.
    Delivered,
    /// There will be no more attempts.
    Dead,
}

impl DeliveryState {
    /// `pending`, `delivered` or `dead`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Reads what [`DeliveryState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|state| state.as_str() == text)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// `dlv_…`
    pub id: String,
    /// To which hook.
    pub hook_id: String,
    /// The same in every attempt: receivers know by it what they have seen.
    pub event_id: String,
    /// For example `stream.online`.
    pub event_type: String,
    /// JSON.
    pub payload: String,
    /// What became of it.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempt: i64,
    /// When the next one is due.
    pub next_at: i64,
    /// HTTP status of the last attempt.
    pub last_status: Option<i64>,
    /// What went wrong with it.
    pub last_error: Option<String>,
    /// How long it took, in milliseconds.
    pub last_ms: Option<i64>,
    /// Unix milliseconds.
    pub created_at: i64,
    /// When it was delivered or given up.
    pub finished_at: Option<i64>,
}

/// What a new row needs.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    /// To which hook.
    pub hook_id: &'a str,
    /// The same event is put into the box once per hook, however often this is called.
    pub event_id: &'a str,
    /// For example `stream.online`.
    pub event_type: &'a str,
    /// JSON.
    pub payload: &'a str,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// What becomes of the delivery.
    pub state: DeliveryState,
    /// When the next attempt is due, if there is one.
    pub next_at: i64,
    /// HTTP status.
    pub status: Option<i64>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

impl Database {
    /// Puts an event into the box of each enabled hook, of its Channel and of the instance, that wants it; how many do.
    /// What is there already is not put there again.
    ///
    /// # Errors
    /// If the engine fails: announce it again.
    pub async fn announce(&self, event: &Event, now: i64) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let hooks = tell(&mut transaction, event, now).await?;
        transaction.commit().await?;
        Ok(hooks)
    }

    /// Puts events into the box, all or none.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn add_deliveries(&self, deliveries: &[NewDelivery<'_>], now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for delivery in deliveries {
            add(&mut transaction, delivery, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes due deliveries of enabled hooks out for an attempt, the oldest few of each hook. Nobody else gets them until
    /// `lease_until`; if the node dies meanwhile they are due again then.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn take_due_deliveries(
        &self,
        limit: u32,
        lease_until: i64,
        now: i64,
    ) -> Result<Vec<Delivery>, Error> {
        // Looked for among the readers: a long backlog takes a while, and nobody who writes waits meanwhile. What is under
        // way has the first places of its hook. Every node takes them in the same order: no deadlock.
        let due = sqlx::query(
            "SELECT id FROM (SELECT d.id, d.next_at, d.lease_until, ROW_NUMBER() OVER (PARTITION BY d.hook_id \
             ORDER BY CASE WHEN d.lease_until > $1 THEN 0 ELSE 1 END, d.next_at, d.id) AS place \
             FROM deliveries d JOIN hooks h ON h.id = d.hook_id WHERE d.state = 'pending' AND d.next_at <= $1 \
             AND h.enabled = 1) due WHERE place <= $2 AND lease_until <= $1 ORDER BY next_at, id LIMIT $3",
        )
        .bind(now)
        .bind(UNDER_WAY_MAX)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut taken = Vec::with_capacity(due.len());
        let mut transaction = self.begin().await?;
        for row in due {
            let row = sqlx::query(
                "UPDATE deliveries SET lease_until = $1 WHERE id = $3 AND state = 'pending' AND lease_until <= $2 \
                 AND next_at <= $2 \
                 RETURNING id, hook_id, event_id, event_type, payload, state, attempt, next_at, last_status, last_error, \
                 last_ms, created_at, finished_at",
            )
            .bind(lease_until)
            .bind(now)
            .bind(text(&row, "id")?)
            .fetch_optional(&mut *transaction)
            .await?;
            // Else another node was first.
            if let Some(row) = row {
                taken.push(read(&row)?);
            }
        }
        transaction.commit().await?;
        Ok(taken)
    }

    /// Notes how an attempt ended, with the hook's row of failures.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn note_attempt(
        &self,
        delivery: &Delivery,
        attempt: Attempt<'_>,
        now: i64,
    ) -> Result<(), Error> {
        let finished = (attempt.state != DeliveryState::Pending).then_some(now);
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE deliveries SET state = $2, attempt = attempt + 1, next_at = $3, lease_until = 0, last_status = $4, \
             last_error = $5, last_ms = $6, finished_at = $7 WHERE id = $1",
        )
        .bind(delivery.id.as_str())
        .bind(attempt.state.as_str())
        .bind(attempt.next_at)
        .bind(attempt.status)
        .bind(attempt.error)
        .bind(attempt.took_ms)
        .bind(finished)
        .execute(&mut *transaction)
        .await?;
        let hook = if attempt.state == DeliveryState::Delivered {
            sqlx::query("UPDATE hooks SET failures = 0, failing_since = NULL WHERE id = $1 AND failures > 0")
                .bind(delivery.hook_id.as_str())
        } else {
            sqlx::query(
                "UPDATE hooks SET failures = failures + 1, failing_since = COALESCE(failing_since, $2) WHERE id = $1",
            )
            .bind(delivery.hook_id.as_str())
            .bind(now)
        };
        hook.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a finished delivery due again.
    ///
    /// # Errors
    /// [`Error::Missing`] if the hook has no such delivery.
    pub async fn replay_delivery(&self, hook_id: &str, id: &str, now: i64) -> Result<(), Error> {
        let changed = sqlx::query(
            "UPDATE deliveries SET state = 'pending', attempt = 0, next_at = $3, lease_until = 0, finished_at = NULL \
             WHERE id = $1 AND hook_id = $2",
        )
        .bind(id)
        .bind(hook_id)
        .bind(now)
        .execute(self.write())
        .await?;
        if changed.rows_affected() == 0 { Err(Error::Missing("delivery")) } else { Ok(()) }
    }

    /// The deliveries of a hook, newest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn deliveries(&self, hook_id: &str, page: &Page) -> Result<Vec<Delivery>, Error> {
        let before = page.after.clone().unwrap_or_else(|| "~".to_owned());
        let rows = sqlx::query(
            "SELECT id, hook_id, event_id, event_type, payload, state, attempt, next_at, last_status, last_error, \
             last_ms, created_at, finished_at FROM deliveries WHERE hook_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(hook_id)
        .bind(before)
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// How many wait.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn deliveries_pending(&self) -> Result<i64, Error> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM deliveries WHERE state = 'pending'")
            .fetch_one(self.read())
            .await?;
        number(&row, "n")
    }

    /// Forgets deliveries that were finished before `before`.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn forget_deliveries(&self, before: i64) -> Result<u64, Error> {
        let gone = sqlx::query("DELETE FROM deliveries WHERE state <> 'pending' AND finished_at < $1")
            .bind(before)
            .execute(self.write())
            .await?;
        Ok(gone.rows_affected())
    }
}

/// The same within a transaction: with what it tells of, or not at all.
pub(super) async fn tell(
    transaction: &mut Transaction<'static, Any>,
    event: &Event,
    now: i64,
) -> Result<u64, Error> {
    let rows = sqlx::query(
        "SELECT id, events FROM hooks WHERE enabled = 1 AND (channel_id IS NULL OR channel_id = $1) ORDER BY id",
    )
    .bind(event.channel_id.as_deref())
    .fetch_all(&mut **transaction)
    .await?;
    let payload = event.payload();
    let mut told = 0;
    for row in rows {
        if !wants(&text(&row, "events")?, event.kind) {
            continue;
        }
        let hook_id = text(&row, "id")?;
        let delivery =
            NewDelivery { hook_id: &hook_id, event_id: &event.id, event_type: event.kind, payload: &payload };
        add(transaction, &delivery, now).await?;
        told += 1;
    }
    Ok(told)
}

async fn add(
    transaction: &mut Transaction<'static, Any>,
    delivery: &NewDelivery<'_>,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO deliveries (id, hook_id, event_id, event_type, payload, state, next_at, created_at) \
         VALUES ($1, $2, $3, $4, $5, 'pending', $6, $6) ON CONFLICT (hook_id, event_id) DO NOTHING",
    )
    .bind(fresh_id("dlv"))
    .bind(delivery.hook_id)
    .bind(delivery.event_id)
    .bind(delivery.event_type)
    .bind(delivery.payload)
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: text(row, "id")?,
        hook_id: text(row, "hook_id")?,
        event_id: text(row, "event_id")?,
        event_type: text(row, "event_type")?,
        payload: text(row, "payload")?,
        state: DeliveryState::parse(&text(row, "state")?).ok_or(Error::Unreadable("state"))?,
        attempt: number(row, "attempt")?,
        next_at: number(row, "next_at")?,
        last_status: maybe_number(row, "last_status")?,
        last_error: maybe_text(row, "last_error")?,
        last_ms: maybe_number(row, "last_ms")?,
        created_at: number(row, "created_at")?,
        finished_at: maybe_number(row, "finished_at")?,
    })
}
