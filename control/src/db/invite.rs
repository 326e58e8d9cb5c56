//! Invitations: who has a code may make one account.

use super::{Database, Error, fresh_id};

impl Database {
    /// Adds an invitation. `code_hash`: see `Secrets`.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn add_invite(
        &self,
        code_hash: &str,
        created_by: &str,
        expires_at: i64,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO invites (id, code_hash, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(fresh_id("inv"))
        .bind(code_hash)
        .bind(created_by)
        .bind(now)
        .bind(expires_at)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Uses an invitation up; false if there is none, or it is used or too old.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn use_invite(&self, code_hash: &str, now: i64) -> Result<bool, Error> {
        let used = sqlx::query(
            "UPDATE invites SET used_at = $2 WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2",
        )
        .bind(code_hash)
        .bind(now)
        .execute(self.write())
        .await?;
        Ok(used.rows_affected() == 1)
    }

    /// Gives an invitation back whose account could not be made.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn return_invite(&self, code_hash: &str) -> Result<(), Error> {
        sqlx::query("UPDATE invites SET used_at = NULL WHERE code_hash = $1")
            .bind(code_hash)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
