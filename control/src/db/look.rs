//! What an operator wants to know of the database before a server uses it. Nothing is changed.

use std::path::Path;
use std::time::Duration;

use sqlx::Row;

use super::{Database, Engine, Error, migration, text};
use crate::clock;

/// Answers of which the middle one is the latency.
const PINGS: usize = 5;

/// What was found.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which engine.
    pub engine: Engine,
    /// Of the engine, as it says.
    pub version: String,
    /// PostgreSQL's number of it: 13 is 130000.
    pub version_number: Option<i64>,
    /// The schema that it has; 0 is none yet.
    pub schema: i64,
    /// The schema that this program brings it to.
    pub schema_known: i64,
    /// Why it cannot be written, if so.
    pub unwritable: Option<String>,
    /// How long it takes to answer.
    pub latency: Duration,
    /// What is broken in the file of SQLite.
    pub damage: Option<String>,
}

impl Database {
    /// Looks at the database that [`Database::open`] would open; none if that would make it.
    ///
    /// # Errors
    /// [`Error::Open`] if it cannot be reached, any other if it does not answer.
    pub async fn look(url: Option<&str>, data: &Path) -> Result<Option<Look>, Error> {
        let file = super::file(url, data)?;
        if file.as_ref().is_some_and(|file| !file.exists()) {
            return Ok(None);
        }
        let database = Self::connect(url, data).await?;
        let look = database.describe().await;
        database.close().await;
        look.map(Some)
    }

    /// What is broken in the file of SQLite, if anything is. It reads all of it. PostgreSQL looks after itself.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn damage(&self) -> Result<Option<String>, Error> {
        if self.engine == Engine::Postgres {
            return Ok(None);
        }
        let rows = sqlx::query("PRAGMA integrity_check(3)").fetch_all(self.read()).await?;
        let said: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(Some(said.join("; ")).filter(|said| said != "ok"))
    }

    async fn describe(&self) -> Result<Look, Error> {
        let mut latencies = Vec::new();
        for _ in 0..PINGS {
            let begun = clock::now();
            self.ping().await?;
            latencies.push(clock::now().saturating_duration_since(begun));
        }
        latencies.sort_unstable();
        let (version, version_number) = match self.engine {
            Engine::Sqlite => {
                let row = sqlx::query("SELECT sqlite_version() AS version").fetch_one(self.read()).await?;
                (text(&row, "version")?, None)
            }
            Engine::Postgres => {
                let row = sqlx::query(
                    "SELECT current_setting('server_version') AS version, \
                     CAST(current_setting('server_version_num') AS BIGINT) AS version_number",
                )
                .fetch_one(self.read())
                .await?;
                (text(&row, "version")?, Some(super::number(&row, "version_number")?))
            }
        };
        Ok(Look {
            engine: self.engine,
            version,
            version_number,
            schema: migration::found(self).await?,
            schema_known: migration::known(),
            unwritable: self.try_writing().await.err().map(|error| error.to_string()),
            latency: latencies[PINGS / 2],
            damage: self.damage().await?,
        })
    }

    /// Makes a table and takes it back.
    async fn try_writing(&self) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        sqlx::raw_sql("CREATE TABLE swiftwater_doctor (n BIGINT)").execute(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok(())
    }
}
