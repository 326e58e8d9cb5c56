//! The keys of grants take turns: a new one is published before it signs, and the old one is good until the last token
//! that it signed has expired.

use tracing::{info, warn};

use super::{Authority, GRANT_SECONDS_MAX};
use crate::auth::signing_key::SigningKey;
use crate::auth::token::LEEWAY_S;
use crate::clock;
use crate::db::{Database, Error, NewGrantKey, StoredGrantKey};

/// A key of grants, without its secret. Times are unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantKey {
    /// The `kid` of what it signs.
    pub id: String,
    /// It signs now.
    pub signs: bool,
    /// When it begins to sign.
    pub signs_from: i64,
    /// When it is good for nothing any more; none while nothing has taken its place.
    pub retires_at: Option<i64>,
}

impl Authority {
    /// Makes a new key, which signs after `delay_seconds`. Other nodes know it a second later; let those who keep the JWKS
    /// for longer have that much time. With nobody to keep a key, without a database, nothing happens.
    ///
    /// # Errors
    /// [`Error::Full`] if that was done too often; if the engine fails.
    pub async fn rotate_grant_keys(&self, delay_seconds: i64) -> Result<(), Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let now = clock::unix_ms();
        let signs_from = now.saturating_add(delay_seconds.max(0).saturating_mul(1000));
        let (id, sealed) = SigningKey::fresh(&self.secrets);
        let derived = SigningKey::derived(&self.secrets).id;
        let new = NewGrantKey {
            id: &id,
            secret_sealed: &sealed,
            signs_from,
            others_retire_at: signs_from.saturating_add((GRANT_SECONDS_MAX + 2 * LEEWAY_S) * 1000),
            derived: &derived,
        };
        database.rotate_grant_keys(new, now).await?;
        info!(key = id, delay_seconds, "a new key will sign grants");
        self.refresh().await
    }

    /// Makes void what an old key has signed.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such key, or nothing has taken its place; if the engine fails.
    pub async fn revoke_grant_key(&self, id: &str) -> Result<(), Error> {
        let Some(database) = &self.database else { return Err(Error::Missing("key")) };
        database.revoke_grant_key(id).await?;
        warn!(key = id, "a key of grants was revoked: what it signed is void");
        self.refresh().await
    }

    /// The keys that are good, oldest first.
    pub fn grant_keys(&self) -> Vec<GrantKey> {
        self.signer.list(clock::unix_ms())
    }

    pub(super) async fn read_grant_keys(&self, database: &Database) -> Result<(), Error> {
        let rows = database.grant_keys(clock::unix_ms()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let key = |row: &StoredGrantKey| {
            let key = SigningKey::stored(&self.secrets, row);
            if key.is_none() {
                warn!(key = row.id, "a key of grants cannot be read: is secret.key the same on every node?");
            }
            key
        };
        self.signer.replace(rows.iter().filter_map(key).collect());
        Ok(())
    }
}
