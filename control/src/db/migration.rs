//! Brings the schema up to date, one node at a time.

use sqlx::Row;

use super::{Database, Engine, Error};

/// The folder `migrations`, oldest first. A file that was released never changes; there is no way back but a backup.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001_first.sql")),
    (2, include_str!("../../migrations/0002_grant_keys.sql")),
    (3, include_str!("../../migrations/0003_rewind.sql")),
];

/// Any number, the same for all nodes: the name of the lock on PostgreSQL.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7251483)";

/// The schema of a database.
const NEWEST: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions";

/// The newest schema that this program knows.
pub(super) fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}

/// The schema that a database has; 0 if none.
pub(super) async fn found(database: &Database) -> Result<i64, Error> {
    let tables = match database.engine() {
        Engine::Sqlite => "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 'schema_versions'",
        Engine::Postgres => {
            "SELECT COUNT(*) AS n FROM pg_tables \
             WHERE tablename = 'schema_versions' AND schemaname = current_schema()"
        }
    };
    let there: i64 = sqlx::query(tables).fetch_one(database.read()).await?.try_get("n")?;
    if there == 0 {
        return Ok(0);
    }
    Ok(sqlx::query(NEWEST).fetch_one(database.read()).await?.try_get("version")?)
}

/// Runs what has not run. All of it in one transaction under a lock: other nodes that start meanwhile wait.
pub(super) async fn run(database: &Database) -> Result<(), Error> {
    let mut transaction = database.begin().await?;
    if database.engine() == Engine::Postgres {
        sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)";
    sqlx::raw_sql(table).execute(&mut *transaction).await?;
    let found: i64 = sqlx::query(NEWEST).fetch_one(&mut *transaction).await?.try_get("version")?;
    let known = known();
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
