//! The keys that sign grants. While there is no row, the one that is derived from the instance's secret signs alone.

use sqlx::any::AnyRow;

use super::{Database, Error, maybe_number, maybe_text, number, text};

/// Keys at a time: each is tried by nobody but its own id, and stands in the JWKS. More than this many rotations within
/// the life of a grant are a mistake.
const GRANT_KEYS_MAX: i64 = 16;

/// One row.
#[derive(Clone)]
pub struct StoredGrantKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// The seed, sealed; none for the derived one.
    pub secret_sealed: Option<String>,
    /// Unix milliseconds.
    pub signs_from: i64,
    /// When its last token expires; none for the newest.
    pub retires_at: Option<i64>,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl std::fmt::Debug for StoredGrantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredGrantKey")
            .field("id", &self.id)
            .field("signs_from", &self.signs_from)
            .field("retires_at", &self.retires_at)
            .finish_non_exhaustive()
    }
}

/// What a new row needs.
#[derive(Clone)]
pub struct NewGrantKey<'a> {
    /// The `kid` of its tokens.
    pub id: &'a str,
    /// The seed, sealed.
    pub secret_sealed: &'a str,
    /// Unix milliseconds.
    pub signs_from: i64,
    /// When the last token of those before it expires.
    pub others_retire_at: i64,
    /// The `kid` of the derived one, which gets a row with the first rotation.
    pub derived: &'a str,
}

const BUMP: &str = "UPDATE revisions SET value = value + 1 WHERE name = 'grant_keys'";

impl Database {
    /// All keys that are not retired, oldest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn grant_keys(&self, now: i64) -> Result<Vec<StoredGrantKey>, Error> {
        let rows = sqlx::query(
            "SELECT id, secret_sealed, signs_from, retires_at, created_at FROM grant_keys \
             WHERE retires_at IS NULL OR retires_at > $1 ORDER BY signs_from, created_at",
        )
        .bind(now)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Adds a key that takes the place of the others.
    ///
    /// # Errors
    /// [`Error::Full`] if there are too many that are not retired.
    pub async fn rotate_grant_keys(&self, new: NewGrantKey<'_>, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        // First, so that of two who rotate at once one waits for the other.
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM grant_keys WHERE retires_at <= $1")
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        let count = sqlx::query("SELECT COUNT(*) AS n FROM grant_keys").fetch_one(&mut *transaction).await?;
        let count = number(&count, "n")?;
        if count >= GRANT_KEYS_MAX {
            return Err(Error::Full("keys of grants"));
        }
        let insert = "INSERT INTO grant_keys (id, secret_sealed, signs_from, retires_at, created_at) \
                      VALUES ($1, $2, $3, $4, $5)";
        if count == 0 {
            sqlx::query(insert)
                .bind(new.derived)
                .bind(None::<String>)
                .bind(0_i64)
                .bind(Some(new.others_retire_at))
                .bind(now)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("UPDATE grant_keys SET retires_at = $1 WHERE retires_at IS NULL")
            .bind(new.others_retire_at)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(insert)
            .bind(new.id)
            .bind(Some(new.secret_sealed))
            .bind(new.signs_from)
            .bind(None::<i64>)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(Error::taken("id"))?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a key at once: nothing that it signed is good any more.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none, or it is the newest: nothing would sign.
    pub async fn revoke_grant_key(&self, id: &str) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        let gone = sqlx::query("DELETE FROM grant_keys WHERE id = $1 AND retires_at IS NOT NULL")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if gone.rows_affected() == 0 {
            return Err(Error::Missing("key that has been rotated"));
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Numbers that grow with each change of the Channels and of the keys of grants.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn revisions(&self) -> Result<(i64, i64), Error> {
        let rows = sqlx::query("SELECT name, value FROM revisions").fetch_all(self.read()).await?;
        let (mut channels, mut keys) = (0, 0);
        for row in &rows {
            match text(row, "name")?.as_str() {
                "channels" => channels = number(row, "value")?,
                "grant_keys" => keys = number(row, "value")?,
                _ => {}
            }
        }
        Ok((channels, keys))
    }
}

fn read(row: &AnyRow) -> Result<StoredGrantKey, Error> {
    Ok(StoredGrantKey {
        id: text(row, "id")?,
        secret_sealed: maybe_text(row, "secret_sealed")?,
        signs_from: number(row, "signs_from")?,
        retires_at: maybe_number(row, "retires_at")?,
        created_at: number(row, "created_at")?,
    })
}
