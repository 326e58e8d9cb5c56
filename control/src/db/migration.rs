//! Brings the schema up to date, one node at a time.

use sqlx::Row;

use super::{Database, Engine, Error};

/// The folder `migrations`, oldest first. A file that was released never changes; there is no way back but a backup.
const MIGRATIONS: &[(i64, &str)] = &[(1, include_str!("../../migrations/0001_first.sql"))];

/// Any number, the same for all nodes: the name of the lock on PostgreSQL.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7251483)";

/// Runs what has not run. All of it in one transaction under a lock: other nodes that start meanwhile wait.
pub(super) async fn run(database: &Database) -> Result<(), Error> {
    let mut transaction = database.begin().await?;
    if database.engine() == Engine::Postgres {
        sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)";
    sqlx::raw_sql(table).execute(&mut *transaction).await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions")
        .fetch_one(&mut *transaction)
        .await?;
    let found: i64 = row.try_get("version")?;
    let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for (version, statements) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        sqlx::raw_sql(*statements).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
            .bind(*version)
            .execute(&mut *transaction)
            .await?;
        tracing::info!(version, engine = database.engine().as_str(), "database schema brought up to date");
    }
    transaction.commit().await?;
    Ok(())
}
