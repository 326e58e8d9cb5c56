//! Channels.

use sqlx::any::AnyRow;

use super::live_stream::{Dead, end_dead};
use super::{Database, Error, Page, fresh_id, maybe_number, maybe_text, number, text};
use crate::Rewind;

/// Channels of one instance: every node keeps all of them in memory (300 bytes each), so that no viewer costs a query.
const CHANNELS_MAX: i64 = 100_000;

/// Channels of one account.
const CHANNELS_PER_USER_MAX: i64 = 20;

/// Who may watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// Everybody; shown in lists.
    Public,
    /// Everybody who has the link.
    Unlisted,
    /// Who follows the Channel.
    Followers,
    /// Who has subscribed to the Channel.
    Subscribers,
    /// Who has a grant that the owner's own service made.
    Signed,
}

impl Visibility {
    /// As it stands in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Followers => "followers",
            Self::Subscribers => "subscribers",
            Self::Signed => "signed",
        }
    }

    /// Reads what [`Visibility::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Public, Self::Unlisted, Self::Followers, Self::Subscribers, Self::Signed]
            .into_iter()
            .find(|it| it.as_str() == text)
    }

    /// Whether a viewer needs a grant.
    pub const fn needs_grant(self) -> bool {
        !matches!(self, Self::Public | Self::Unlisted)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Channel {
    /// `chn_…`
    pub id: String,
    /// Whose; none if the configuration file names it.
    pub owner_id: Option<String>,
    /// In URLs.
    pub name: String,
    /// What viewers read.
    pub title: String,
    /// Who may watch.
    pub visibility: Visibility,
    /// Grants of an older epoch are void.
    pub grant_epoch: i64,
    /// How far live viewers may go back.
    pub rewind: Rewind,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What a new row needs.
#[derive(Clone, Debug)]
pub struct NewChannel<'a> {
    /// Whose.
    pub owner_id: &'a str,
    /// In URLs; checked by the caller.
    pub name: &'a str,
    /// What viewers read.
    pub title: &'a str,
    /// Who may watch.
    pub visibility: Visibility,
}

/// What changes; the rest stays.
#[derive(Clone, Debug, Default)]
pub struct ChannelChange<'a> {
    /// What viewers read.
    pub title: Option<&'a str>,
    /// Who may watch.
    pub visibility: Option<Visibility>,
    /// Make all grants void.
    pub next_epoch: bool,
    /// How far live viewers may go back, in seconds; `Some(None)`: what the server says.
    pub rewind_s: Option<Option<u32>>,
    /// The same in MiB.
    pub rewind_mib: Option<Option<u32>>,
}

const ADD: &str = "INSERT INTO channels (id, owner_id, name, title, visibility, created_at, updated_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $6)";

const BUMP: &str = "UPDATE revisions SET value = value + 1 WHERE name = 'channels'";

impl Database {
    /// Adds a Channel.
    ///
    /// # Errors
    /// [`Error::Taken`] if the name is in use, [`Error::Full`] if the owner or the instance has too many.
    pub async fn add_channel(&self, channel: NewChannel<'_>, now: i64) -> Result<Channel, Error> {
        let mut transaction = self.begin().await?;
        // First: on PostgreSQL it makes those who add channels wait for each other, so that nobody overtakes a count.
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        let count = sqlx::query(
            "SELECT COUNT(*) AS total, CAST(COALESCE(SUM(CASE WHEN owner_id = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS own \
             FROM channels",
        )
        .bind(channel.owner_id)
        .fetch_one(&mut *transaction)
        .await?;
        if number(&count, "own")? >= CHANNELS_PER_USER_MAX || number(&count, "total")? >= CHANNELS_MAX {
            return Err(Error::Full("channels"));
        }
        let id = fresh_id("chn");
        sqlx::query(ADD)
            .bind(id.as_str())
            .bind(Some(channel.owner_id))
            .bind(channel.name)
            .bind(channel.title)
            .bind(channel.visibility.as_str())
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(Error::taken("this channel name"))?;
        transaction.commit().await?;
        Ok(Channel {
            id,
            owner_id: Some(channel.owner_id.to_owned()),
            name: channel.name.to_owned(),
            title: channel.title.to_owned(),
            visibility: channel.visibility,
            grant_epoch: 0,
            rewind: Rewind::default(),
            created_at: now,
        })
    }

    /// Sees to it that a Channel of the configuration file has a row, and that what stands in the file is in it.
    ///
    /// # Errors
    /// [`Error::Taken`] if somebody has a channel of that name.
    pub async fn import_channel(
        &self,
        name: &str,
        title: &str,
        rewind: Rewind,
        now: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "INSERT INTO channels (id, owner_id, name, title, created_at, updated_at, rewind_s, rewind_mib) \
             VALUES ($1, NULL, $2, $3, $4, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET title = excluded.title, \
             rewind_s = excluded.rewind_s, rewind_mib = excluded.rewind_mib WHERE channels.owner_id IS NULL RETURNING id",
        )
        .bind(fresh_id("chn"))
        .bind(name)
        .bind(title)
        .bind(now)
        .bind(rewind.seconds.map(i64::from))
        .bind(rewind.mib.map(i64::from))
        .fetch_optional(&mut *transaction)
        .await?;
        if row.is_none() {
            return Err(Error::Taken("a channel name of the configuration"));
        }
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Changes a Channel.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such channel.
    pub async fn change_channel(&self, id: &str, change: ChannelChange<'_>, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE channels SET title = COALESCE($2, title), visibility = COALESCE($3, visibility), \
             grant_epoch = grant_epoch + $4, updated_at = $5, \
             rewind_s = CASE WHEN $6 = 1 THEN $7 ELSE rewind_s END, \
             rewind_mib = CASE WHEN $8 = 1 THEN $9 ELSE rewind_mib END WHERE id = $1",
        )
        .bind(id)
        .bind(change.title)
        .bind(change.visibility.map(Visibility::as_str))
        .bind(i64::from(change.next_epoch))
        .bind(now)
        .bind(i64::from(change.rewind_s.is_some()))
        .bind(change.rewind_s.flatten().map(i64::from))
        .bind(i64::from(change.rewind_mib.is_some()))
        .bind(change.rewind_mib.flatten().map(i64::from))
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::Missing("channel"));
        }
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a Channel with all that hangs on it. Hooks of the instance hear that its Stream is over.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such channel.
    pub async fn remove_channel(&self, id: &str, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let over = Dead { channel_id: id, node_id: "", before: i64::MAX, reason: "removed" };
        end_dead(&mut transaction, over, now).await?;
        let gone =
            sqlx::query("DELETE FROM channels WHERE id = $1").bind(id).execute(&mut *transaction).await?;
        if gone.rows_affected() == 0 {
            return Err(Error::Missing("channel"));
        }
        sqlx::query(BUMP).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A Channel by its name.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub async fn channel(&self, name: &str) -> Result<Channel, Error> {
        let row = sqlx::query(
            "SELECT id, owner_id, name, title, visibility, grant_epoch, created_at, rewind_s, rewind_mib \
             FROM channels WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(self.read())
        .await?;
        read(&row.ok_or(Error::Missing("channel"))?)
    }

    /// Channels in the order of their names; of one owner if one is given.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn channels(&self, owner_id: Option<&str>, page: &Page) -> Result<Vec<Channel>, Error> {
        let rows = sqlx::query(
            "SELECT id, owner_id, name, title, visibility, grant_epoch, created_at, rewind_s, rewind_mib FROM channels \
             WHERE name > $1 AND (owner_id = $2 OR $3 = 1) ORDER BY name LIMIT $4",
        )
        .bind(page.after())
        .bind(owner_id)
        .bind(i64::from(owner_id.is_none()))
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }

    /// All Channels of active owners and of the configuration, for a node's memory.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn all_channels(&self) -> Result<Vec<Channel>, Error> {
        let rows = sqlx::query(
            "SELECT id, owner_id, name, title, visibility, grant_epoch, created_at, rewind_s, rewind_mib \
             FROM channels ORDER BY name LIMIT $1",
        )
        .bind(CHANNELS_MAX)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<Channel, Error> {
    Ok(Channel {
        id: text(row, "id")?,
        owner_id: maybe_text(row, "owner_id")?,
        name: text(row, "name")?,
        title: text(row, "title")?,
        visibility: Visibility::parse(&text(row, "visibility")?).ok_or(Error::Unreadable("visibility"))?,
        grant_epoch: number(row, "grant_epoch")?,
        rewind: Rewind { seconds: size(row, "rewind_s")?, mib: size(row, "rewind_mib")? },
        created_at: number(row, "created_at")?,
    })
}

fn size(row: &AnyRow, column: &'static str) -> Result<Option<u32>, Error> {
    let found = maybe_number(row, column)?;
    found.map(|it| u32::try_from(it).map_err(|_| Error::Unreadable(column))).transpose()
}
