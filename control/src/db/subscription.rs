//! Who has subscribed to which Channel, and until when. Payment is somebody else's: it calls the API.

use super::{Database, Error, number};

impl Database {
    /// Subscribes an account until `ends_at`, or moves that end.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn subscribe(
        &self,
        user_id: &str,
        channel_id: &str,
        tier: i64,
        ends_at: i64,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO subscriptions (channel_id, user_id, tier, starts_at, ends_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $4) \
             ON CONFLICT (channel_id, user_id) DO UPDATE SET tier = excluded.tier, ends_at = excluded.ends_at",
        )
        .bind(channel_id)
        .bind(user_id)
        .bind(tier)
        .bind(now)
        .bind(ends_at)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Ends a subscription; nothing happens if there is none.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn unsubscribe(&self, user_id: &str, channel_id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM subscriptions WHERE user_id = $1 AND channel_id = $2")
            .bind(user_id)
            .bind(channel_id)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Until when an account has subscribed to a Channel, if it has now.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn subscribed_until(
        &self,
        user_id: &str,
        channel_id: &str,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        let row = sqlx::query(
            "SELECT ends_at FROM subscriptions WHERE user_id = $1 AND channel_id = $2 AND ends_at > $3",
        )
        .bind(user_id)
        .bind(channel_id)
        .bind(now)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| number(&row, "ends_at")).transpose()
    }
}
