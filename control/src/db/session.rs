//! Browser sessions. Only a hash of the cookie is kept.

use super::{Database, Error, User, number, user};

/// Who a session is of.
#[derive(Clone, Debug)]
pub struct SessionUser {
    /// The account, which is active.
    pub user: User,
    /// When it was used last, to the hour.
    pub last_seen_at: i64,
}

impl Database {
    /// Adds a session.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn add_session(
        &self,
        hash: &str,
        user_id: &str,
        expires_at: i64,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO sessions (id_hash, user_id, created_at, last_seen_at, expires_at) VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(hash)
        .bind(user_id)
        .bind(now)
        .bind(expires_at)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// The active account of a session that has not expired.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn session(&self, hash: &str, now: i64) -> Result<Option<SessionUser>, Error> {
        let row = sqlx::query(
            "SELECT u.id, u.login, u.display_name, u.role, u.status, u.created_at, s.last_seen_at \
             FROM sessions s JOIN users u ON u.id = s.user_id \
             WHERE s.id_hash = $1 AND s.expires_at > $2 AND u.status = 'active'",
        )
        .bind(hash)
        .bind(now)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            Ok(SessionUser { user: user::read(&row)?, last_seen_at: number(&row, "last_seen_at")? })
        })
        .transpose()
    }

    /// A session was used: it lives longer.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn touch_session(&self, hash: &str, expires_at: i64, now: i64) -> Result<(), Error> {
        sqlx::query("UPDATE sessions SET last_seen_at = $2, expires_at = $3 WHERE id_hash = $1")
            .bind(hash)
            .bind(now)
            .bind(expires_at)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn end_session(&self, hash: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM sessions WHERE id_hash = $1").bind(hash).execute(self.write()).await?;
        Ok(())
    }

    /// Forgets sessions that have expired.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn forget_sessions(&self, now: i64) -> Result<u64, Error> {
        let gone = sqlx::query("DELETE FROM sessions WHERE expires_at <= $1")
            .bind(now)
            .execute(self.write())
            .await?;
        Ok(gone.rows_affected())
    }
}
