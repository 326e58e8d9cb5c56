//! People with an account.

use sqlx::any::AnyRow;

use super::{Database, Error, Page, fresh_id, number, text};

/// What somebody may do on the whole instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Own channels, watch, follow.
    User,
    /// Moderate every channel.
    Moderator,
    /// Everything.
    Admin,
}

impl Role {
    /// `user`, `moderator` or `admin`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Moderator, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// Whether an account can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It can.
    Active,
    /// No login, and none of its keys and tokens work.
    Suspended,
}

impl Status {
    /// `active` or `suspended`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended].into_iter().find(|status| status.as_str() == text)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct User {
    /// `usr_…`
    pub id: String,
    /// Lower case.
    pub login: String,
    /// As others see it.
    pub display_name: String,
    /// On the whole instance.
    pub role: Role,
    /// Whether it can be used.
    pub status: Status,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What a new row needs.
#[derive(Clone)]
pub struct NewUser<'a> {
    /// Lower case; checked by the caller.
    pub login: &'a str,
    /// As others see it.
    pub display_name: &'a str,
    /// PHC string of argon2id.
    pub password_hash: &'a str,
    /// On the whole instance.
    pub role: Role,
}

const COLUMNS: &str = "id, login, display_name, role, status, created_at";

impl Database {
    /// Adds an account.
    ///
    /// # Errors
    /// [`Error::Taken`] if the login is in use.
    pub async fn add_user(&self, user: NewUser<'_>, now: i64) -> Result<User, Error> {
        self.insert_user(user, false, now).await
    }

    /// Adds the first account, if there is none yet.
    ///
    /// # Errors
    /// [`Error::Taken`] if there is an account already.
    pub async fn add_first_user(&self, user: NewUser<'_>, now: i64) -> Result<User, Error> {
        self.insert_user(user, true, now).await
    }

    async fn insert_user(&self, user: NewUser<'_>, first: bool, now: i64) -> Result<User, Error> {
        let id = fresh_id("usr");
        let mut transaction = self.begin().await?;
        if first {
            // Two setups at the same moment: SQLite has one writer; on PostgreSQL the table is locked.
            if self.engine() == super::Engine::Postgres {
                sqlx::raw_sql("LOCK TABLE users IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
            }
            if sqlx::query("SELECT id FROM users LIMIT 1").fetch_optional(&mut *transaction).await?.is_some()
            {
                return Err(Error::Taken("the first account"));
            }
        }
        sqlx::query(
            "INSERT INTO users (id, login, display_name, password_hash, role, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(id.as_str())
        .bind(user.login)
        .bind(user.display_name)
        .bind(user.password_hash)
        .bind(user.role.as_str())
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(Error::taken("this login"))?;
        transaction.commit().await?;
        Ok(User {
            id,
            login: user.login.to_owned(),
            display_name: user.display_name.to_owned(),
            role: user.role,
            status: Status::Active,
            created_at: now,
        })
    }

    /// Whether there is any account.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn has_users(&self) -> Result<bool, Error> {
        Ok(sqlx::query("SELECT id FROM users LIMIT 1").fetch_optional(self.read()).await?.is_some())
    }

    /// An account by its login, with the hash of its password.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn user_with_password(&self, login: &str) -> Result<Option<(User, String)>, Error> {
        let row = sqlx::query("SELECT id, login, display_name, role, status, created_at, password_hash FROM users WHERE login = $1")
            .bind(login)
            .fetch_optional(self.read())
            .await?;
        row.map(|row| Ok((read(&row)?, text(&row, "password_hash")?))).transpose()
    }

    /// An account by its login.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub async fn user(&self, login: &str) -> Result<User, Error> {
        let user = self.user_with_password(login).await?;
        user.map(|(user, _)| user).ok_or(Error::Missing("user"))
    }

    /// Accounts in the order of their logins.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn users(&self, page: &Page) -> Result<Vec<User>, Error> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM users WHERE login > $1 ORDER BY login LIMIT $2"
        )))
        .bind(page.after())
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Changes role and status. A suspended account loses its sessions.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such account.
    pub async fn set_user(&self, id: &str, role: Role, status: Status, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query("UPDATE users SET role = $2, status = $3, updated_at = $4 WHERE id = $1")
            .bind(id)
            .bind(role.as_str())
            .bind(status.as_str())
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::Missing("user"));
        }
        if status == Status::Suspended {
            sqlx::query("DELETE FROM sessions WHERE user_id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Changes the password; all sessions of the account end.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such account.
    pub async fn set_password(&self, id: &str, hash: &str, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query("UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1")
            .bind(id)
            .bind(hash)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::Missing("user"));
        }
        sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

pub(super) fn read(row: &AnyRow) -> Result<User, Error> {
    Ok(User {
        id: text(row, "id")?,
        login: text(row, "login")?,
        display_name: text(row, "display_name")?,
        role: Role::parse(&text(row, "role")?).ok_or(Error::Unreadable("role"))?,
        status: Status::parse(&text(row, "status")?).ok_or(Error::Unreadable("status"))?,
        created_at: number(row, "created_at")?,
    })
}
