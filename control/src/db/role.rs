//! What somebody may do on one Channel besides its owner.

use super::{Database, Error, Page, text};

/// A role on one Channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelRole {
    /// Everything but keys, roles and removal.
    Editor,
    /// Chat and viewers.
    Moderator,
    /// Nothing more than to watch, always.
    Vip,
}

impl ChannelRole {
    /// `editor`, `moderator` or `vip`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Editor => "editor",
            Self::Moderator => "moderator",
            Self::Vip => "vip",
        }
    }

    /// Reads what [`ChannelRole::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Editor, Self::Moderator, Self::Vip].into_iter().find(|role| role.as_str() == text)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct RoleEntry {
    /// Who.
    pub login: String,
    /// Which role.
    pub role: ChannelRole,
}

impl Database {
    /// Gives a role, or another one.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn set_channel_role(
        &self,
        channel_id: &str,
        user_id: &str,
        role: ChannelRole,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO channel_roles (channel_id, user_id, role, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (channel_id, user_id) DO UPDATE SET role = excluded.role",
        )
        .bind(channel_id)
        .bind(user_id)
        .bind(role.as_str())
        .bind(now)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Takes a role away; nothing happens if there is none.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn remove_channel_role(&self, channel_id: &str, user_id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM channel_roles WHERE channel_id = $1 AND user_id = $2")
            .bind(channel_id)
            .bind(user_id)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The role of an account on a Channel.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn channel_role(&self, channel_id: &str, user_id: &str) -> Result<Option<ChannelRole>, Error> {
        let row = sqlx::query("SELECT role FROM channel_roles WHERE channel_id = $1 AND user_id = $2")
            .bind(channel_id)
            .bind(user_id)
            .fetch_optional(self.read())
            .await?;
        row.map(|row| ChannelRole::parse(&text(&row, "role")?).ok_or(Error::Unreadable("role"))).transpose()
    }

    /// The roles on a Channel, in the order of logins.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn channel_roles(&self, channel_id: &str, page: &Page) -> Result<Vec<RoleEntry>, Error> {
        let rows = sqlx::query(
            "SELECT u.login, r.role FROM channel_roles r JOIN users u ON u.id = r.user_id \
             WHERE r.channel_id = $1 AND u.login > $2 ORDER BY u.login LIMIT $3",
        )
        .bind(channel_id)
        .bind(page.after())
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                let role = ChannelRole::parse(&text(row, "role")?).ok_or(Error::Unreadable("role"))?;
                Ok(RoleEntry { login: text(row, "login")?, role })
            })
            .collect()
    }
}
