//! Who changed what. Entries name no secret.

use super::{Database, Error, Page, fresh_id, maybe_text, number, text};

/// One row.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// `aud_…`
    pub id: String,
    /// Unix milliseconds.
    pub at: i64,
    /// A login, or `command line`.
    pub actor: String,
    /// For example `key.revoke`.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// From where.
    pub remote: Option<String>,
}

impl Database {
    /// Adds an entry.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn audit(
        &self,
        actor: &str,
        action: &str,
        target: &str,
        remote: Option<&str>,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO audit_log (id, at, actor, action, target, remote) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(fresh_id("aud"))
        .bind(now)
        .bind(actor)
        .bind(action)
        .bind(target)
        .bind(remote)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn audit_log(&self, page: &Page) -> Result<Vec<AuditEntry>, Error> {
        let before = page.after.clone().unwrap_or_else(|| "~".to_owned());
        let rows = sqlx::query(
            "SELECT id, at, actor, action, target, remote FROM audit_log WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before)
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    id: text(row, "id")?,
                    at: number(row, "at")?,
                    actor: text(row, "actor")?,
                    action: text(row, "action")?,
                    target: text(row, "target")?,
                    remote: maybe_text(row, "remote")?,
                })
            })
            .collect()
    }

    /// Forgets entries from before `before`.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn forget_audit(&self, before: i64) -> Result<u64, Error> {
        let gone =
            sqlx::query("DELETE FROM audit_log WHERE at < $1").bind(before).execute(self.write()).await?;
        Ok(gone.rows_affected())
    }
}
