//! Who follows which Channel.

use super::{Database, Error, Page, number, text};

/// Channels that one account may follow.
const FOLLOWS_MAX: i64 = 2000;

impl Database {
    /// Follows a Channel, or changes whether to be told.
    ///
    /// # Errors
    /// [`Error::Full`] if the account follows too many.
    pub async fn follow(&self, user_id: &str, channel_id: &str, notify: bool, now: i64) -> Result<(), Error> {
        let count = sqlx::query("SELECT COUNT(*) AS n FROM follows WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(self.read())
            .await?;
        if number(&count, "n")? >= FOLLOWS_MAX {
            return Err(Error::Full("followed channels"));
        }
        sqlx::query(
            "INSERT INTO follows (user_id, channel_id, notify, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_id, channel_id) DO UPDATE SET notify = excluded.notify",
        )
        .bind(user_id)
        .bind(channel_id)
        .bind(i64::from(notify))
        .bind(now)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Follows no more; nothing happens if it did not.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn unfollow(&self, user_id: &str, channel_id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM follows WHERE user_id = $1 AND channel_id = $2")
            .bind(user_id)
            .bind(channel_id)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Whether an account follows a Channel.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn follows(&self, user_id: &str, channel_id: &str) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 AS one FROM follows WHERE user_id = $1 AND channel_id = $2")
            .bind(user_id)
            .bind(channel_id)
            .fetch_optional(self.read())
            .await?;
        Ok(row.is_some())
    }

    /// How many follow a Channel.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn follower_count(&self, channel_id: &str) -> Result<i64, Error> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM follows WHERE channel_id = $1")
            .bind(channel_id)
            .fetch_one(self.read())
            .await?;
        number(&row, "n")
    }

    /// The ids of accounts that want to be told when a Channel goes live, in order.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn followers_to_tell(&self, channel_id: &str, page: &Page) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT user_id FROM follows WHERE channel_id = $1 AND notify = 1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        )
        .bind(channel_id)
        .bind(page.after())
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| text(row, "user_id")).collect()
    }

    /// The names of the Channels that an account follows, in order.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn followed(&self, user_id: &str, page: &Page) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT c.name FROM follows f JOIN channels c ON c.id = f.channel_id WHERE f.user_id = $1 AND c.name > $2 \
             ORDER BY c.name LIMIT $3",
        )
        .bind(user_id)
        .bind(page.after())
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| text(row, "name")).collect()
    }
}
