//! A copy of everything, while the server runs.

use std::path::Path;

use super::{Database, Engine, Error};

impl Database {
    /// Writes a consistent copy of an SQLite database to a file that does not exist yet. Of PostgreSQL `pg_dump` makes
    /// backups.
    ///
    /// # Errors
    /// [`Error::Backup`] if the file is there already or cannot be written, and for PostgreSQL.
    pub async fn backup(&self, to: &Path) -> Result<(), Error> {
        if self.engine == Engine::Postgres {
            return Err(Error::Backup("this database is PostgreSQL: use pg_dump".to_owned()));
        }
        if to.exists() {
            return Err(Error::Backup(format!("{} exists already", to.display())));
        }
        let path = to.to_str().ok_or_else(|| Error::Backup("its path is not UTF-8".to_owned()))?;
        // Made before the copy, with the right mode: VACUUM INTO takes an empty file.
        super::private(to).map_err(|error| Error::Backup(error.to_string()))?;
        sqlx::query("VACUUM INTO $1")
            .bind(path)
            .execute(self.write())
            .await
            .map_err(|error| Error::Backup(Error::from(error).to_string()))?;
        Ok(())
    }
}
