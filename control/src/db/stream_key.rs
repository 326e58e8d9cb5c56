//! Stream keys, by the HMAC of the key.

use sqlx::any::AnyRow;

use super::{Database, Error, fresh_id, maybe_number, number, text};

/// Keys of one Channel that are not revoked.
const KEYS_MAX: i64 = 20;

/// One row, without its hash.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// `key_…`
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its last characters.
    pub hint: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// When somebody published with it last.
    pub last_used_at: Option<i64>,
    /// When it ends.
    pub expires_at: Option<i64>,
}

/// What a new row needs.
#[derive(Clone, Debug)]
pub struct NewStreamKey<'a> {
    /// Whose.
    pub channel_id: &'a str,
    /// What its owner calls it.
    pub name: &'a str,
    /// HMAC of the key, in hex.
    pub hash: &'a str,
    /// Its last characters.
    pub hint: &'a str,
    /// When it ends.
    pub expires_at: Option<i64>,
}

/// Where a key leads.
#[derive(Clone, Debug)]
pub struct KeyOwner {
    /// The key.
    pub key_id: String,
    /// The Channel.
    pub channel_id: String,
    /// The Channel's name.
    pub channel: String,
}

impl Database {
    /// Adds a key.
    ///
    /// # Errors
    /// [`Error::Full`] if the Channel has too many.
    pub async fn add_stream_key(&self, key: NewStreamKey<'_>, now: i64) -> Result<StoredKey, Error> {
        let mut transaction = self.begin().await?;
        let stored = insert(&mut transaction, &key, now).await?;
        transaction.commit().await?;
        Ok(stored)
    }

    /// Puts a new key in place of an old one, which works until `overlap_until`.
    ///
    /// # Errors
    /// [`Error::Missing`] if the Channel has no such key.
    pub async fn rotate_stream_key(
        &self,
        old_id: &str,
        key: NewStreamKey<'_>,
        overlap_until: i64,
        now: i64,
    ) -> Result<StoredKey, Error> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE stream_keys SET expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END \
             WHERE id = $1 AND channel_id = $2 AND revoked_at IS NULL",
        )
        .bind(old_id)
        .bind(key.channel_id)
        .bind(overlap_until)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::Missing("stream key"));
        }
        let stored = insert(&mut transaction, &key, now).await?;
        transaction.commit().await?;
        Ok(stored)
    }

    /// Revokes a key of a Channel.
    ///
    /// # Errors
    /// [`Error::Missing`] if the Channel has no such key.
    pub async fn revoke_stream_key(&self, channel_id: &str, id: &str, now: i64) -> Result<(), Error> {
        let changed = sqlx::query(
            "UPDATE stream_keys SET revoked_at = $3 WHERE id = $1 AND channel_id = $2 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(channel_id)
        .bind(now)
        .execute(self.write())
        .await?;
        if changed.rows_affected() == 0 { Err(Error::Missing("stream key")) } else { Ok(()) }
    }

    /// The keys of a Channel that are not revoked, oldest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn stream_keys(&self, channel_id: &str) -> Result<Vec<StoredKey>, Error> {
        let rows = sqlx::query(
            "SELECT id, name, hint, created_at, last_used_at, expires_at FROM stream_keys \
             WHERE channel_id = $1 AND revoked_at IS NULL ORDER BY id",
        )
        .bind(channel_id)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Where a key leads, if it may be used: one look-up by a unique index.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn key_owner(&self, hash: &str, now: i64) -> Result<Option<KeyOwner>, Error> {
        let row = sqlx::query(
            "SELECT k.id AS key_id, c.id AS channel_id, c.name FROM stream_keys k \
             JOIN channels c ON c.id = k.channel_id LEFT JOIN users u ON u.id = c.owner_id \
             WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2) \
             AND COALESCE(u.status, 'active') = 'active'",
        )
        .bind(hash)
        .bind(now)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            Ok(KeyOwner {
                key_id: text(&row, "key_id")?,
                channel_id: text(&row, "channel_id")?,
                channel: text(&row, "name")?,
            })
        })
        .transpose()
    }

    /// Whether a key that somebody publishes with may still be used. One that was rotated away may until its Stream
    /// ends, revoked ones and those of suspended owners may not.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn key_stands(&self, id: &str) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT k.id FROM stream_keys k JOIN channels c ON c.id = k.channel_id \
             LEFT JOIN users u ON u.id = c.owner_id \
             WHERE k.id = $1 AND k.revoked_at IS NULL AND COALESCE(u.status, 'active') = 'active'",
        )
        .bind(id)
        .fetch_optional(self.read())
        .await?;
        Ok(row.is_some())
    }

    /// Somebody publishes with a key.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn touch_stream_key(&self, id: &str, now: i64) -> Result<(), Error> {
        sqlx::query("UPDATE stream_keys SET last_used_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now)
            .execute(self.write())
            .await?;
        Ok(())
    }
}

async fn insert(
    transaction: &mut sqlx::Transaction<'static, sqlx::Any>,
    key: &NewStreamKey<'_>,
    now: i64,
) -> Result<StoredKey, Error> {
    let count =
        sqlx::query("SELECT COUNT(*) AS n FROM stream_keys WHERE channel_id = $1 AND revoked_at IS NULL")
            .bind(key.channel_id)
            .fetch_one(&mut **transaction)
            .await?;
    if number(&count, "n")? >= KEYS_MAX {
        return Err(Error::Full("stream keys of this channel: revoke one first"));
    }
    let id = fresh_id("key");
    sqlx::query(
        "INSERT INTO stream_keys (id, channel_id, name, key_hash, hint, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.as_str())
    .bind(key.channel_id)
    .bind(key.name)
    .bind(key.hash)
    .bind(key.hint)
    .bind(now)
    .bind(key.expires_at)
    .execute(&mut **transaction)
    .await
    .map_err(Error::taken("this stream key"))?;
    Ok(StoredKey {
        id,
        name: key.name.to_owned(),
        hint: key.hint.to_owned(),
        created_at: now,
        last_used_at: None,
        expires_at: key.expires_at,
    })
}

fn read(row: &AnyRow) -> Result<StoredKey, Error> {
    Ok(StoredKey {
        id: text(row, "id")?,
        name: text(row, "name")?,
        hint: text(row, "hint")?,
        created_at: number(row, "created_at")?,
        last_used_at: maybe_number(row, "last_used_at")?,
        expires_at: maybe_number(row, "expires_at")?,
    })
}
