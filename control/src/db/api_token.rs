//! API tokens. 256 random bits need no slow hash.

use sqlx::any::AnyRow;

use super::{Database, Error, User, fresh_id, maybe_number, number, text, user};

/// Tokens of one account, without the revoked ones.
const TOKENS_MAX: i64 = 50;

/// One row, without its hash.
#[derive(Clone, Debug)]
pub struct ApiToken {
    /// `tok_…`
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its last characters.
    pub hint: String,
    /// What it may be used for, separated by spaces.
    pub scopes: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// When it was used last, to the minute.
    pub last_used_at: Option<i64>,
    /// When it ends.
    pub expires_at: Option<i64>,
}

/// What a new row needs.
#[derive(Clone, Debug)]
pub struct NewApiToken<'a> {
    /// Whose.
    pub user_id: &'a str,
    /// What its owner calls it.
    pub name: &'a str,
    /// Its last characters.
    pub hint: &'a str,
    /// See `Secrets`.
    pub hash: &'a str,
    /// Separated by spaces.
    pub scopes: &'a str,
    /// When it ends.
    pub expires_at: Option<i64>,
}

impl Database {
    /// Adds a token.
    ///
    /// # Errors
    /// [`Error::Full`] if the account has too many.
    pub async fn add_api_token(&self, token: NewApiToken<'_>, now: i64) -> Result<ApiToken, Error> {
        let count =
            sqlx::query("SELECT COUNT(*) AS n FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL")
                .bind(token.user_id)
                .fetch_one(self.read())
                .await?;
        if number(&count, "n")? >= TOKENS_MAX {
            return Err(Error::Full("API tokens: revoke one first"));
        }
        let id = fresh_id("tok");
        sqlx::query(
            "INSERT INTO api_tokens (id, user_id, name, hint, hash, scopes, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(id.as_str())
        .bind(token.user_id)
        .bind(token.name)
        .bind(token.hint)
        .bind(token.hash)
        .bind(token.scopes)
        .bind(now)
        .bind(token.expires_at)
        .execute(self.write())
        .await?;
        Ok(ApiToken {
            id,
            name: token.name.to_owned(),
            hint: token.hint.to_owned(),
            scopes: token.scopes.to_owned(),
            created_at: now,
            last_used_at: None,
            expires_at: token.expires_at,
        })
    }

    /// The active account and the row of a token that can be used.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn api_token(&self, hash: &str, now: i64) -> Result<Option<(User, ApiToken)>, Error> {
        let row = sqlx::query(
            "SELECT u.id, u.login, u.display_name, u.role, u.status, u.created_at, \
             t.id AS token_id, t.name, t.hint, t.scopes, t.created_at AS made_at, t.last_used_at, t.expires_at \
             FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = $1 AND t.revoked_at IS NULL \
             AND (t.expires_at IS NULL OR t.expires_at > $2) AND u.status = 'active'",
        )
        .bind(hash)
        .bind(now)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((user::read(&row)?, read(&row, "token_id", "made_at")?))).transpose()
    }

    /// A token was used.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn touch_api_token(&self, id: &str, now: i64) -> Result<(), Error> {
        sqlx::query("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The tokens of an account that are not revoked, oldest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn api_tokens(&self, user_id: &str) -> Result<Vec<ApiToken>, Error> {
        let rows = sqlx::query(
            "SELECT id, name, hint, scopes, created_at, last_used_at, expires_at FROM api_tokens \
             WHERE user_id = $1 AND revoked_at IS NULL ORDER BY id",
        )
        .bind(user_id)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| read(row, "id", "created_at")).collect()
    }

    /// Revokes a token of an account.
    ///
    /// # Errors
    /// [`Error::Missing`] if it has no such token.
    pub async fn revoke_api_token(&self, user_id: &str, id: &str, now: i64) -> Result<(), Error> {
        let changed = sqlx::query(
            "UPDATE api_tokens SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(user_id)
        .bind(now)
        .execute(self.write())
        .await?;
        if changed.rows_affected() == 0 { Err(Error::Missing("API token")) } else { Ok(()) }
    }
}

fn read(row: &AnyRow, id: &str, created_at: &str) -> Result<ApiToken, Error> {
    Ok(ApiToken {
        id: text(row, id)?,
        name: text(row, "name")?,
        hint: text(row, "hint")?,
        scopes: text(row, "scopes")?,
        created_at: number(row, created_at)?,
        last_used_at: maybe_number(row, "last_used_at")?,
        expires_at: maybe_number(row, "expires_at")?,
    })
}
