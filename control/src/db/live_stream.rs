//! Streams that are live, on any node, and those that were. The database sees to it that a Channel has one at a time.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::delivery::tell;
use super::{Database, Error, Page, fresh_id, maybe_number, maybe_text, number, text};
use crate::hooks::Broadcast;

/// A node that has said nothing for so long is dead: its Streams are over, and their Channels free. Three times the
/// interval at which nodes say that they live.
pub const LEASE: Duration = Duration::from_secs(30);

/// Who wants to go live.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The Channel.
    pub channel_id: &'a str,
    /// With which key; none for keys of the configuration.
    pub key_id: Option<&'a str>,
    /// On which node.
    pub node_id: &'a str,
    /// By which protocol.
    pub transport: &'a str,
    /// The node has a Stream on the Channel, which goes on with this Publisher.
    pub continues: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct LiveStream {
    /// `lst_…`
    pub id: String,
    /// The Channel.
    pub channel_id: String,
    /// The id in URLs of media.
    pub stream: Option<String>,
    /// The node.
    pub node_id: String,
    /// By which protocol.
    pub transport: String,
    /// Unix milliseconds.
    pub started_at: i64,
    /// Unix milliseconds; none while it is live.
    pub ended_at: Option<i64>,
    /// Why it ended.
    pub end_reason: Option<String>,
}

/// Streams of dead nodes that were marked as ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many.
    pub streams: u64,
    /// Messages about it, in the outbox.
    pub told: u64,
}

/// Whose Streams are over though their node has not ended them. Empty texts are of all Channels, and of no node.
pub(super) struct Dead<'a> {
    pub(super) channel_id: &'a str,
    pub(super) node_id: &'a str,
    /// Not seen since then.
    pub(super) before: i64,
    pub(super) reason: &'static str,
}

/// Why most of them are over.
const NODE_LOST: &str = "node_lost";

const LEASE_MS: i64 = LEASE.as_millis() as i64;

impl Database {
    /// Takes the Channel for a Stream on this node. None if it is live on another node that lives. What a dead node, or
    /// this one in a former life, has left there is marked as ended first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn go_live(&self, claim: Claim<'_>, now: i64) -> Result<Option<String>, Error> {
        let mut transaction = self.begin().await?;
        let dead = Dead {
            channel_id: claim.channel_id,
            node_id: if claim.continues { "" } else { claim.node_id },
            before: now - LEASE_MS,
            reason: NODE_LOST,
        };
        end_dead(&mut transaction, dead, now).await?;
        let row = sqlx::query(
            "INSERT INTO live_streams (id, channel_id, stream_key_id, node_id, transport, started_at, last_seen_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) \
             ON CONFLICT (channel_id) WHERE ended_at IS NULL \
             DO UPDATE SET last_seen_at = excluded.last_seen_at, stream_key_id = excluded.stream_key_id, \
             transport = excluded.transport WHERE live_streams.node_id = excluded.node_id RETURNING id",
        )
        .bind(fresh_id("lst"))
        .bind(claim.channel_id)
        .bind(claim.key_id)
        .bind(claim.node_id)
        .bind(claim.transport)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        let id = row.map(|row| text(&row, "id")).transpose()?;
        transaction.commit().await?;
        Ok(id)
    }

    /// A Stream has begun: notes the id that it has in URLs, and puts `stream.online` into the outbox with it; how many
    /// hooks want that.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn name_live_stream(&self, begun: &Broadcast, now: i64) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let named = sqlx::query(
            "UPDATE live_streams SET stream = $2, started_at = $3 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(begun.id.as_str())
        .bind(begun.stream.as_str())
        .bind(begun.started_at)
        .execute(&mut *transaction)
        .await?;
        let told = match named.rows_affected() {
            0 => 0,
            _ => tell(&mut transaction, &begun.online(), now).await?,
        };
        transaction.commit().await?;
        Ok(told)
    }

    /// A Stream is over: notes it, and puts `stream.offline` into the outbox with it, if it had a name, so that others have
    /// heard that it began; how many hooks want that. One that is over already is not told of again.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn end_live_stream(
        &self,
        id: &str,
        reason: &str,
        told: Option<&Broadcast>,
        now: i64,
    ) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let ended = sqlx::query(
            "UPDATE live_streams SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL \
             RETURNING stream",
        )
        .bind(id)
        .bind(now)
        .bind(reason)
        .fetch_optional(&mut *transaction)
        .await?;
        let named = ended.map(|row| maybe_text(&row, "stream")).transpose()?.flatten().is_some();
        let told = match told.filter(|_| named) {
            Some(broadcast) => tell(&mut transaction, &broadcast.offline(now, reason), now).await?,
            None => 0,
        };
        transaction.commit().await?;
        Ok(told)
    }

    /// A node begins: what it left behind is over.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn end_streams_of(&self, node_id: &str, now: i64) -> Result<Ended, Error> {
        let mut transaction = self.begin().await?;
        let ended =
            end_dead(&mut transaction, Dead { channel_id: "", node_id, before: 0, reason: NODE_LOST }, now)
                .await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// A node lives, and so do its Streams; those of nodes that have died are over.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn renew_lease(&self, node_id: &str, now: i64) -> Result<Ended, Error> {
        sqlx::query("UPDATE live_streams SET last_seen_at = $2 WHERE node_id = $1 AND ended_at IS NULL")
            .bind(node_id)
            .bind(now)
            .execute(self.write())
            .await?;
        let mut transaction = self.begin().await?;
        let dead = Dead { channel_id: "", node_id: "", before: now - LEASE_MS, reason: NODE_LOST };
        let ended = end_dead(&mut transaction, dead, now).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// The live Streams of a node whose publishers may go on: the key is not revoked, its owner not suspended.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn standing_streams(&self, node_id: &str) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT l.id FROM live_streams l JOIN channels c ON c.id = l.channel_id \
             LEFT JOIN users u ON u.id = c.owner_id LEFT JOIN stream_keys k ON k.id = l.stream_key_id \
             WHERE l.node_id = $1 AND l.ended_at IS NULL AND k.revoked_at IS NULL \
             AND COALESCE(u.status, 'active') = 'active'",
        )
        .bind(node_id)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| text(row, "id")).collect()
    }

    /// The Streams of a Channel, newest first.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn past_streams(&self, channel_id: &str, page: &Page) -> Result<Vec<LiveStream>, Error> {
        // Ids sort by age.
        let before = page.after.clone().unwrap_or_else(|| "~".to_owned());
        let rows = sqlx::query(
            "SELECT id, channel_id, stream, node_id, transport, started_at, ended_at, end_reason FROM live_streams \
             WHERE channel_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(channel_id)
        .bind(before)
        .bind(page.rows())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(read).collect()
    }
}

/// Marks Streams as ended where they were last seen, and puts `stream.offline` of each into the outbox, in one
/// transaction: whoever comes first does it, and nobody else finds them.
pub(super) async fn end_dead(
    transaction: &mut Transaction<'static, Any>,
    dead: Dead<'_>,
    now: i64,
) -> Result<Ended, Error> {
    let rows = sqlx::query(
        "UPDATE live_streams SET ended_at = last_seen_at, end_reason = $4 WHERE ended_at IS NULL \
         AND ($1 = '' OR channel_id = $1) AND (last_seen_at < $2 OR node_id = $3) \
         RETURNING id, channel_id, stream, node_id, transport, started_at, ended_at, end_reason",
    )
    .bind(dead.channel_id)
    .bind(dead.before)
    .bind(dead.node_id)
    .bind(dead.reason)
    .fetch_all(&mut **transaction)
    .await?;
    let mut ended = Ended::default();
    for row in rows {
        let it = read(&row)?;
        ended.streams += 1;
        // Of one without a name nobody has heard that it began.
        let (Some(stream), Some(at)) = (it.stream, it.ended_at) else { continue };
        let channel = sqlx::query("SELECT name, title FROM channels WHERE id = $1")
            .bind(it.channel_id.as_str())
            .fetch_one(&mut **transaction)
            .await?;
        let (name, title) = (text(&channel, "name")?, text(&channel, "title")?);
        let (id, channel_id, started_at) = (it.id, it.channel_id, it.started_at);
        let broadcast = Broadcast { id, channel_id, channel: name, title, stream, started_at };
        ended.told += tell(transaction, &broadcast.offline(at, dead.reason), now).await?;
    }
    Ok(ended)
}

fn read(row: &AnyRow) -> Result<LiveStream, Error> {
    Ok(LiveStream {
        id: text(row, "id")?,
        channel_id: text(row, "channel_id")?,
        stream: maybe_text(row, "stream")?,
        node_id: text(row, "node_id")?,
        transport: text(row, "transport")?,
        started_at: number(row, "started_at")?,
        ended_at: maybe_number(row, "ended_at")?,
        end_reason: maybe_text(row, "end_reason")?,
    })
}
