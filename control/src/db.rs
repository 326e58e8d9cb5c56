//! What is remembered: one schema and the same statements on SQLite and on PostgreSQL.
//!
//! A file per table holds its statements. Times are unix milliseconds and come in as arguments; ids are a prefix and a
//! ULID. Secrets are kept as hashes, or sealed where they must be read again.

mod api_token;
mod audit;
mod backup;
mod channel;
mod chat;
mod delivery;
mod error;
mod follow;
mod grant_key;
mod hook;
mod invite;
mod live_stream;
mod look;
mod migration;
mod page;
mod role;
mod session;
mod stream_key;
mod subscription;
mod user;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, Row, Transaction};

pub use api_token::{ApiToken, NewApiToken};
pub use audit::AuditEntry;
pub use channel::{Channel, ChannelChange, NewChannel, Visibility};
pub use chat::{Ban, BanEntry, ChatSettings, ChatStanding, NewBan};
pub use delivery::{Attempt, Delivery, DeliveryState, NewDelivery};
pub use error::Error;
pub use grant_key::{NewGrantKey, StoredGrantKey};
pub use hook::{Hook, NewHook};
pub use live_stream::{Claim, Ended, LEASE, LiveStream};
pub use look::Look;
pub use page::Page;
pub use role::{ChannelRole, RoleEntry};
pub use session::SessionUser;
pub use stream_key::{KeyOwner, NewStreamKey, StoredKey};
pub use user::{NewUser, Role, Status, User};

/// Connections for reading on SQLite: readers of a WAL do not wait for each other, and answers take microseconds.
const SQLITE_READERS: u32 = 4;

/// Connections to PostgreSQL of one node. Its default limit is 100 for all nodes together.
const POSTGRES_CONNECTIONS: u32 = 10;

/// Who waits longer for a connection gets an error: an encoder would give up, and requests would pile up.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Which engine it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// A file in the data directory.
    Sqlite,
    /// A server, by URL.
    Postgres,
}

impl Engine {
    /// `sqlite` or `postgres`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    engine: Engine,
    /// SQLite has one writer: a second would only meet its lock.
    writer: AnyPool,
    readers: AnyPool,
    queries: Arc<AtomicU64>,
}

impl Database {
    /// Opens `url` (`postgres://…`, `sqlite:FILE`), or `swiftwater.db` in the data directory, and brings its schema up
    /// to date. Several nodes may start at once.
    ///
    /// # Errors
    /// [`Error::Open`] with the engine's reason; [`Error::Newer`] if a newer version has written it.
    pub async fn open(url: Option<&str>, data: &Path) -> Result<Self, Error> {
        let database = Self::connect(url, data).await?;
        migration::run(&database).await?;
        Ok(database)
    }

    /// The same with the schema as it is.
    async fn connect(url: Option<&str>, data: &Path) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let Some(file) = file(url, data)? else {
            let pool = AnyPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect(url.unwrap_or_default())
                .await
                .map_err(Error::open)?;
            return Ok(Self::new(Engine::Postgres, pool.clone(), pool));
        };
        if url.is_none() {
            std::fs::create_dir_all(data).map_err(|error| Error::Open(error.to_string()))?;
        }
        Self::open_file(&file).await
    }

    async fn open_file(path: &Path) -> Result<Self, Error> {
        let text = path.to_str().ok_or_else(|| Error::Open("its path is not UTF-8".to_owned()))?;
        // A path is not a URL: these three would end it or be decoded.
        let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let url = format!("sqlite://{text}?mode=rwc");
        private(path)?;
        let options = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        // NORMAL loses the last transactions at a power cut, never the file; kill -9 loses nothing.
                        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                                       PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;";
                        sqlx::raw_sql(pragmas).execute(&mut *connection).await?;
                        Ok(())
                    })
                })
        };
        // The writer first: it makes the file and turns it to WAL.
        let writer = options(1).connect(&url).await.map_err(Error::open)?;
        let readers = options(SQLITE_READERS).connect(&url).await.map_err(Error::open)?;
        Ok(Self::new(Engine::Sqlite, writer, readers))
    }

    fn new(engine: Engine, writer: AnyPool, readers: AnyPool) -> Self {
        Self { engine, writer, readers, queries: Arc::default() }
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Statements run since the start: what a viewer costs must not show here.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Asks the engine for an answer.
    ///
    /// # Errors
    /// [`Error::Engine`] if it has none.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.read()).await?;
        Ok(())
    }

    /// Closes all connections; SQLite's log is written back to its file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// For one reading statement.
    fn read(&self) -> &AnyPool {
        self.queries.fetch_add(1, Ordering::Relaxed);
        &self.readers
    }

    /// For one writing statement.
    fn write(&self) -> &AnyPool {
        self.queries.fetch_add(1, Ordering::Relaxed);
        &self.writer
    }

    /// For several writing statements that hold together. Dropped without a commit it is undone.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Any>, Error> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        // A transaction that begins with reading could not become a writer later beside another one.
        let begin = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres => "BEGIN",
        };
        Ok(self.writer.begin_with(begin).await?)
    }
}

/// The file of SQLite that `url` means, or no URL; none for PostgreSQL.
///
/// # Errors
/// [`Error::Scheme`] for anything else.
pub fn file(url: Option<&str>, data: &Path) -> Result<Option<PathBuf>, Error> {
    match url {
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(None),
        Some(url) => match url.strip_prefix("sqlite:") {
            Some(path) => Ok(Some(path.trim_start_matches("//").into())),
            None => Err(Error::Scheme),
        },
        None => Ok(Some(data.join("swiftwater.db"))),
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("engine", &self.engine)
            .field("queries", &self.queries())
            .finish_non_exhaustive()
    }
}

/// One after the other also within a millisecond: lists go by the ids, newest first.
static IDS: Mutex<ulid::Generator> = Mutex::new(ulid::Generator::new());

/// A fresh id: `prefix` and a ULID, greater than those that this process made before.
pub(crate) fn fresh_id(prefix: &str) -> String {
    let mut ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    // It runs out only within a millisecond, after 2^80 or so.
    let id = ids.generate().unwrap_or_else(|_| ulid::Ulid::new());
    format!("{prefix}_{}", id.to_string().to_ascii_lowercase())
}

/// Makes the file readable by its owner only, before anything is in it. SQLite gives its other files the same mode.
fn private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create(true).truncate(false).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Open(format!("{}: {error}", path.display()))),
    }
}

/// A column by its name.
fn text(row: &AnyRow, column: &str) -> Result<String, Error> {
    Ok(row.try_get(column)?)
}

fn maybe_text(row: &AnyRow, column: &str) -> Result<Option<String>, Error> {
    Ok(row.try_get(column)?)
}

fn number(row: &AnyRow, column: &str) -> Result<i64, Error> {
    Ok(row.try_get(column)?)
}

fn maybe_number(row: &AnyRow, column: &str) -> Result<Option<i64>, Error> {
    Ok(row.try_get(column)?)
}

#[cfg(test)]
mod tests {
    use super::fresh_id;

    #[test]
    fn ids_of_one_millisecond_keep_their_order() {
        let ids: Vec<String> = (0..1000).map(|_| fresh_id("lst")).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}
