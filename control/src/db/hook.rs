//! Event hooks: who is told of what, by HTTP.

use sqlx::any::AnyRow;

use super::{Database, Error, fresh_id, maybe_number, maybe_text, number, text};

/// Hooks of one Channel, and of the instance: each event goes to all of them.
const HOOKS_MAX: i64 = 20;

/// One row.
#[derive(Clone)]
pub struct Hook {
    /// `hok_…`
    pub id: String,
    /// Of which Channel; none: of all.
    pub channel_id: Option<String>,
    /// Where to.
    pub url: String,
    /// Event types, separated by spaces.
    pub events: String,
    /// The signing secret, sealed.
    pub secret_sealed: String,
    /// Whether it is told.
    pub enabled: bool,
    /// Why it is not.
    pub disabled_reason: Option<String>,
    /// Failed attempts since the last one that went well.
    pub failures: i64,
    /// When the first of them was.
    pub failing_since: Option<i64>,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("id", &self.id).field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// What a new row needs.
#[derive(Clone)]
pub struct NewHook<'a> {
    /// Of which Channel; none: of all.
    pub channel_id: Option<&'a str>,
    /// Where to.
    pub url: &'a str,
    /// Event types, separated by spaces.
    pub events: &'a str,
    /// The signing secret, sealed.
    pub secret_sealed: &'a str,
}

impl Database {
    /// Adds a hook.
    ///
    /// # Errors
    /// [`Error::Full`] if the Channel, or the instance, has too many.
    pub async fn add_hook(&self, hook: NewHook<'_>, now: i64) -> Result<Hook, Error> {
        if self.hooks(hook.channel_id).await?.len() as i64 >= HOOKS_MAX {
            return Err(Error::Full("hooks"));
        }
        let id = fresh_id("hok");
        sqlx::query(
            "INSERT INTO hooks (id, channel_id, url, events, secret_sealed, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.as_str())
        .bind(hook.channel_id)
        .bind(hook.url)
        .bind(hook.events)
        .bind(hook.secret_sealed)
        .bind(now)
        .execute(self.write())
        .await?;
        self.hook(&id).await
    }

    /// A hook by its id.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub async fn hook(&self, id: &str) -> Result<Hook, Error> {
        let row = sqlx::query(
            "SELECT id, channel_id, url, events, secret_sealed, enabled, disabled_reason, failures, failing_since, \
             created_at FROM hooks WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.read())
        .await?;
        read(&row.ok_or(Error::Missing("hook"))?)
    }

    /// The hooks of a Channel, or of the instance, oldest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn hooks(&self, channel_id: Option<&str>) -> Result<Vec<Hook>, Error> {
        let rows = sqlx::query(
            "SELECT id, channel_id, url, events, secret_sealed, enabled, disabled_reason, failures, failing_since, \
             created_at FROM hooks WHERE COALESCE(channel_id, '') = $1 ORDER BY id",
        )
        .bind(channel_id.unwrap_or_default())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Removes a hook with its deliveries.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub async fn remove_hook(&self, id: &str) -> Result<(), Error> {
        let gone = sqlx::query("DELETE FROM hooks WHERE id = $1").bind(id).execute(self.write()).await?;
        if gone.rows_affected() == 0 { Err(Error::Missing("hook")) } else { Ok(()) }
    }

    /// Turns a hook on, or off and says why.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub async fn enable_hook(&self, id: &str, disabled_reason: Option<&str>) -> Result<(), Error> {
        let changed = sqlx::query(
            "UPDATE hooks SET enabled = $2, disabled_reason = $3, failures = 0, failing_since = NULL WHERE id = $1",
        )
        .bind(id)
        .bind(i64::from(disabled_reason.is_none()))
        .bind(disabled_reason)
        .execute(self.write())
        .await?;
        if changed.rows_affected() == 0 { Err(Error::Missing("hook")) } else { Ok(()) }
    }
}

fn read(row: &AnyRow) -> Result<Hook, Error> {
    Ok(Hook {
        id: text(row, "id")?,
        channel_id: maybe_text(row, "channel_id")?,
        url: text(row, "url")?,
        events: text(row, "events")?,
        secret_sealed: text(row, "secret_sealed")?,
        enabled: number(row, "enabled")? == 1,
        disabled_reason: maybe_text(row, "disabled_reason")?,
        failures: number(row, "failures")?,
        failing_since: maybe_number(row, "failing_since")?,
        created_at: number(row, "created_at")?,
    })
}
