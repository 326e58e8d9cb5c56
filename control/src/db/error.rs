//! What can go wrong with the database.

/// Why a statement has no answer. Texts name no value: values may be secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened.
    #[error(
        "cannot open the database: {0}. Check [database] url, and that the data directory can be written"
    )]
    Open(String),
    /// The URL is of no engine that is known.
    #[error("[database] url must begin with postgres:// or sqlite:")]
    Scheme,
    /// A newer version of the program has changed its schema.
    #[error(
        "the database has schema {found}, this program knows {known}: start the newer program, or restore a backup"
    )]
    Newer {
        /// The schema of the database.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// There is such a row already.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// There is no such row.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// There are as many rows as there may be.
    #[error("there are too many {0}")]
    Full(&'static str),
    /// A row says what this program does not know.
    #[error("the database holds an unknown {0}")]
    Unreadable(&'static str),
    /// The backup's file cannot be made.
    #[error("cannot write the backup: {0}")]
    Backup(String),
    /// The engine failed.
    #[error("the database failed: {0}")]
    Engine(String),
}

impl Error {
    pub(super) fn open(error: sqlx::Error) -> Self {
        Self::Open(reason(&error))
    }

    /// For inserts: what is taken if the row is there already.
    pub(super) fn taken(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match error.as_database_error().map(|it| it.is_unique_violation()) {
            Some(true) => Self::Taken(what),
            _ => error.into(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(reason(&error))
    }
}

/// Only the engine's own sentence: the rest may quote what was written.
fn reason(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}
