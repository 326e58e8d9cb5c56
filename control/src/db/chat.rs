//! The chat of a Channel: its settings, and who may not speak there.

use sqlx::any::AnyRow;

use super::{
    ChannelRole, Database, Error, Page, Role, Status, fresh_id, maybe_number, maybe_text, number, text,
};

/// Settings of one chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatSettings {
    /// Milliseconds between two messages of one person; 0: as many as the server allows.
    pub slow_ms: i64,
    /// Only those speak who have followed for so many minutes; none: everybody.
    pub followers_only_min: Option<i64>,
    /// Only those speak who have subscribed.
    pub subscribers_only: bool,
}

/// What an account is to a Channel, as far as its chat goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatStanding {
    /// The account cannot be used: it is suspended, or gone.
    pub closed: bool,
    /// When its password, status or role was changed last, in unix milliseconds: who signed in before must do so again.
    pub changed_at: i64,
    /// It is theirs.
    pub owner: bool,
    /// They have a role there.
    pub role: Option<ChannelRole>,
    /// On the instance.
    pub instance_role: Option<Role>,
    /// Unix milliseconds.
    pub follows_since: Option<i64>,
    /// Unix milliseconds.
    pub subscribed_until: Option<i64>,
    /// The ban that lasts longest, of those that last.
    pub ban: Option<Ban>,
}

/// Why somebody may not speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Unix milliseconds; none: for good.
    pub until: Option<i64>,
    /// What a moderator wrote.
    pub reason: String,
}

/// One row of a list.
#[derive(Clone, Debug)]
pub struct BanEntry {
    /// `ban_…`
    pub id: String,
    /// Who may not speak.
    pub login: String,
    /// Who said so; none if that account is gone.
    pub moderator: Option<String>,
    /// See there.
    pub ban: Ban,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What a new ban needs.
#[derive(Clone, Debug)]
pub struct NewBan<'a> {
    /// Where.
    pub channel_id: &'a str,
    /// Whom.
    pub user_id: &'a str,
    /// By whom.
    pub moderator_id: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Unix milliseconds; none: for good.
    pub until: Option<i64>,
}

impl Database {
    /// The settings of a chat.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn chat_settings(&self, channel_id: &str) -> Result<ChatSettings, Error> {
        let row = sqlx::query(
            "SELECT slow_ms, followers_only_min, subscribers_only FROM chat_settings WHERE channel_id = $1",
        )
        .bind(channel_id)
        .fetch_optional(self.read())
        .await?;
        let Some(row) = row else { return Ok(ChatSettings::default()) };
        Ok(ChatSettings {
            slow_ms: number(&row, "slow_ms")?,
            followers_only_min: maybe_number(&row, "followers_only_min")?,
            subscribers_only: number(&row, "subscribers_only")? == 1,
        })
    }

    /// Changes them.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn set_chat_settings(
        &self,
        channel_id: &str,
        settings: ChatSettings,
        now: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO chat_settings (channel_id, slow_ms, followers_only_min, subscribers_only, updated_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (channel_id) DO UPDATE SET slow_ms = excluded.slow_ms, \
             followers_only_min = excluded.followers_only_min, subscribers_only = excluded.subscribers_only, \
             updated_at = excluded.updated_at",
        )
        .bind(channel_id)
        .bind(settings.slow_ms)
        .bind(settings.followers_only_min)
        .bind(i64::from(settings.subscribers_only))
        .bind(now)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// What an account is to the chat of a Channel.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn chat_standing(
        &self,
        channel_id: &str,
        user_id: &str,
        now: i64,
    ) -> Result<ChatStanding, Error> {
        let row = sqlx::query(
            "SELECT u.role AS instance_role, u.status, u.updated_at, c.owner_id, r.role AS channel_role, f.created_at AS follows_since, \
             s.ends_at AS subscribed_until FROM users u JOIN channels c ON c.id = $1 \
             LEFT JOIN channel_roles r ON r.channel_id = c.id AND r.user_id = u.id \
             LEFT JOIN follows f ON f.channel_id = c.id AND f.user_id = u.id \
             LEFT JOIN subscriptions s ON s.channel_id = c.id AND s.user_id = u.id WHERE u.id = $2",
        )
        .bind(channel_id)
        .bind(user_id)
        .fetch_optional(self.read())
        .await?;
        // The account or the Channel is gone: neither is anybody's to speak with any more.
        let Some(row) = row else { return Ok(ChatStanding { closed: true, ..ChatStanding::default() }) };
        let bans = sqlx::query(
            "SELECT until, reason FROM chat_bans WHERE user_id = $2 AND (channel_id = $1 OR channel_id IS NULL) \
             AND lifted_at IS NULL AND (until IS NULL OR until > $3)",
        )
        .bind(channel_id)
        .bind(user_id)
        .bind(now)
        .fetch_all(self.read())
        .await?;
        let bans: Vec<Ban> = bans.iter().map(read_ban).collect::<Result<_, _>>()?;
        Ok(ChatStanding {
            closed: Status::parse(&text(&row, "status")?) != Some(Status::Active),
            changed_at: number(&row, "updated_at")?,
            owner: maybe_text(&row, "owner_id")?.as_deref() == Some(user_id),
            role: maybe_text(&row, "channel_role")?.as_deref().and_then(ChannelRole::parse),
            instance_role: Role::parse(&text(&row, "instance_role")?),
            follows_since: maybe_number(&row, "follows_since")?,
            subscribed_until: maybe_number(&row, "subscribed_until")?,
            ban: bans.into_iter().max_by_key(|ban| ban.until.unwrap_or(i64::MAX)),
        })
    }

    /// Bans somebody from the chat of a Channel, in place of a ban that they have there.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn ban(&self, new: NewBan<'_>, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        sqlx::query(LIFT).bind(new.channel_id).bind(new.user_id).bind(now).execute(&mut *transaction).await?;
        sqlx::query(
            "INSERT INTO chat_bans (id, channel_id, user_id, moderator_id, reason, until, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(fresh_id("ban"))
        .bind(new.channel_id)
        .bind(new.user_id)
        .bind(new.moderator_id)
        .bind(new.reason)
        .bind(new.until)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(Error::taken("ban"))?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets somebody speak again.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no ban.
    pub async fn lift_ban(&self, channel_id: &str, user_id: &str, now: i64) -> Result<(), Error> {
        let lifted = sqlx::query(LIFT).bind(channel_id).bind(user_id).bind(now).execute(self.write()).await?;
        if lifted.rows_affected() == 0 { Err(Error::Missing("ban")) } else { Ok(()) }
    }

    /// The bans of a Channel that last, newest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn bans(&self, channel_id: &str, page: &Page, now: i64) -> Result<Vec<BanEntry>, Error> {
        let before = page.after.clone().unwrap_or_else(|| "~".to_owned());
        let rows = sqlx::query(
            "SELECT b.id, b.until, b.reason, b.created_at, u.login, m.login AS moderator FROM chat_bans b \
             JOIN users u ON u.id = b.user_id LEFT JOIN users m ON m.id = b.moderator_id WHERE b.channel_id = $1 \
             AND b.lifted_at IS NULL AND (b.until IS NULL OR b.until > $2) AND b.id < $3 ORDER BY b.id DESC LIMIT $4",
        )
        .bind(channel_id)
        .bind(now)
        .bind(before)
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        let entry = |row: &AnyRow| {
            Ok(BanEntry {
                id: text(row, "id")?,
                login: text(row, "login")?,
                moderator: maybe_text(row, "moderator")?,
                ban: read_ban(row)?,
                created_at: number(row, "created_at")?,
            })
        };
        rows.iter().map(entry).collect()
    }
}

const LIFT: &str =
    "UPDATE chat_bans SET lifted_at = $3 WHERE channel_id = $1 AND user_id = $2 AND lifted_at IS NULL";

fn read_ban(row: &AnyRow) -> Result<Ban, Error> {
    Ok(Ban { until: maybe_number(row, "until")?, reason: text(row, "reason")? })
}
