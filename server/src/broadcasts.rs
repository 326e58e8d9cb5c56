//! What the database knows of this node's live Streams: who holds the Channel, by which key, and who is told.
//!
//! What webhooks are told of a Stream is written with its row, in one transaction: whenever the process dies, an event is
//! in the outbox if and only if it happened.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::db::{Claim, Database, Ended, LEASE, Page};
use control::hooks::{Broadcast, Webhooks};
use control::{Authority, Grant};
use media::{ChannelName, Hub, HubEvent, Stream};
use serde::Serialize;
use signaling::Gateway;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::http::v1::now_ms;

/// How often changes by other nodes and by commands are looked for: one small query.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How often this node says that it lives.
const LEASE_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);

/// How often old rows are forgotten.
const CLEAN_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long the audit log is kept.
const AUDIT_MS: i64 = 90 * 24 * 60 * 60 * 1000;

/// Streams that are over and whose end the database did not take yet. While it is away every Stream that ends becomes one,
/// and has some hundred bytes; beyond it, the oldest are left to the lease and counted as an error.
const UNFINISHED_MAX: usize = 4096;

/// Live Streams of this node, by Channel.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    database: Database,
    authority: Arc<Authority>,
    hub: Arc<Hub>,
    node_id: String,
    webhooks: Arc<Webhooks>,
    live: Mutex<HashMap<ChannelName, Row>>,
    unfinished: Mutex<VecDeque<(ChannelName, Row)>>,
    wake: Notify,
    counters: Counters,
}

/// The row of a live Stream.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    channel_id: String,
    key_id: Option<String>,
    end_reason: &'static str,
    begun: Option<Begun>,
    /// The database knows that it has begun, and so do those who want to.
    named: bool,
}

/// The Stream of a row.
#[derive(Clone, Debug)]
struct Begun {
    stream: String,
    /// Unix milliseconds.
    at: i64,
}

#[derive(Debug, Default)]
struct Counters {
    busy: AtomicU64,
    cut: AtomicU64,
    followers_told: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Stats {
    /// Publishers refused because the Channel is live on another node.
    pub(crate) busy: u64,
    /// Publishers cut off: key revoked, Channel removed, a moderator.
    pub(crate) cut: u64,
    /// Followers on this node that were told of a Stream.
    pub(crate) followers_told: u64,
    /// Streams of nodes that died, marked as ended by this one.
    pub(crate) lost: u64,
    /// Statements that failed.
    pub(crate) errors: u64,
}

impl Broadcasts {
    /// Ends in the database what this node left behind when it died.
    pub(crate) async fn start(
        database: Database,
        authority: Arc<Authority>,
        hub: Arc<Hub>,
        webhooks: Arc<Webhooks>,
        node_id: String,
    ) -> Result<Arc<Self>, control::db::Error> {
        let ended = database.end_streams_of(&node_id, now_ms()).await?;
        let broadcasts = Arc::new(Self {
            database,
            authority,
            hub,
            node_id,
            webhooks,
            live: Mutex::default(),
            unfinished: Mutex::default(),
            wake: Notify::new(),
            counters: Counters::default(),
        });
        broadcasts.lost(ended, "streams that this node left behind were marked as ended");
        Ok(broadcasts)
    }

    /// Takes the Channel for this node; false if it is live on another.
    pub(crate) async fn claim(&self, grant: &Grant, transport: &str) -> Result<bool, control::db::Error> {
        let Some(channel_id) = &grant.channel_id else { return Ok(true) };
        let continues = self.hub.stream(&grant.channel).is_some();
        if !continues {
            // The Stream before it has just ended: noted before the Channel is taken anew.
            self.close(&grant.channel).await;
        }
        let claim = Claim {
            channel_id,
            key_id: grant.key_id.as_deref(),
            node_id: &self.node_id,
            transport,
            continues,
        };
        let Some(id) = self.database.go_live(claim, now_ms()).await? else {
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        };
        let mut live = self.live();
        let before = live.get(&grant.channel).filter(|before| before.id == id);
        let row = Row {
            channel_id: channel_id.clone(),
            key_id: grant.key_id.clone(),
            end_reason: "ended",
            begun: before.and_then(|before| before.begun.clone()),
            named: before.is_some_and(|before| before.named),
            id,
        };
        live.insert(grant.channel.clone(), row);
        Ok(true)
    }

    /// A Publisher has the Stream: notes its id, and that its key was used.
    pub(crate) async fn begun(&self, stream: &Stream) {
        let zero = media::MediaTime::zero(media::Timescale::MICROS);
        let at = stream.clock().ntp(zero).as_unix_micros() / 1000;
        let begun = Begun { stream: stream.id().to_string(), at: i64::try_from(at).unwrap_or(i64::MAX) };
        let row = {
            let mut live = self.live();
            let Some(row) = live.get_mut(stream.channel()) else { return };
            if row.begun.as_ref().is_none_or(|known| known.stream != begun.stream) {
                row.begun = Some(begun);
                row.named = false;
            }
            row.clone()
        };
        if !row.named {
            self.name(stream.channel(), &row).await;
        }
        if let Some(key) = &row.key_id {
            self.note(self.database.touch_stream_key(key, now_ms()).await);
        }
    }

    /// Looks now whether all who publish still may.
    pub(crate) fn check(&self) {
        self.wake.notify_one();
    }

    /// Ends a Stream and notes why. False if there is none.
    pub(crate) fn cut(&self, channel: &ChannelName, reason: &'static str) -> bool {
        if let Some(row) = self.live().get_mut(channel) {
            row.end_reason = reason;
        }
        let cut = self.hub.end(channel);
        if cut {
            self.counters.cut.fetch_add(1, Ordering::Relaxed);
            warn!(%channel, reason, "publisher cut off");
        }
        cut
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            busy: get(&self.counters.busy),
            cut: get(&self.counters.cut),
            followers_told: get(&self.counters.followers_told),
            lost: get(&self.counters.lost),
            errors: get(&self.counters.errors),
        }
    }

    /// Keeps the database and this node in step, until `stop`; then ends what is live.
    pub(crate) async fn run(
        self: Arc<Self>,
        gateway: Arc<Gateway>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut events = self.hub.subscribe();
        let mut refresh = tokio::time::interval(REFRESH_INTERVAL);
        let mut lease = tokio::time::interval(LEASE_INTERVAL);
        let mut clean = tokio::time::interval(CLEAN_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Ok(HubEvent::Started(stream)) => {
                        tasks.spawn(Arc::clone(&self).tell_followers(stream, Arc::clone(&gateway)));
                    }
                    Ok(HubEvent::Ended(stream)) => self.ended(stream.channel()).await,
                    Ok(HubEvent::Interrupted(_) | HubEvent::Resumed(_)) => {}
                    Err(RecvError::Lagged(_)) => self.end_gone().await,
                    Err(RecvError::Closed) => break,
                },
                _ = refresh.tick() => {
                    self.note(self.authority.refresh().await);
                    self.check_all().await;
                }
                () = self.wake.notified() => self.check_all().await,
                _ = lease.tick() => {
                    self.finish().await;
                    if let Some(ended) = self.note(self.database.renew_lease(&self.node_id, now_ms()).await) {
                        self.lost(ended, "streams of a node that died were marked as ended");
                    }
                }
                _ = clean.tick() => {
                    self.note(self.database.forget_sessions(now_ms()).await);
                    self.note(self.database.forget_audit(now_ms() - AUDIT_MS).await);
                }
            }
        }
        // The node stops: all of them are over.
        let all = std::mem::take(&mut *self.live());
        self.unfinished().extend(all);
        self.finish().await;
    }

    async fn ended(&self, channel: &ChannelName) {
        // A new Stream may have begun meanwhile, with a row of its own.
        if self.hub.stream(channel).is_some() {
            return;
        }
        self.close(channel).await;
    }

    async fn close(&self, channel: &ChannelName) {
        let Some(row) = self.live().remove(channel) else { return };
        {
            let mut unfinished = self.unfinished();
            if unfinished.len() >= UNFINISHED_MAX {
                unfinished.pop_front();
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
            }
            unfinished.push_back((channel.clone(), row));
        }
        self.finish().await;
    }

    async fn end_gone(&self) {
        let all: Vec<ChannelName> = self.live().keys().cloned().collect();
        for channel in all {
            self.ended(&channel).await;
        }
    }

    /// Notes in the database what is over. What it does not take now it is asked to take again.
    async fn finish(&self) {
        let all = std::mem::take(&mut *self.unfinished());
        let mut left = VecDeque::new();
        for (channel, row) in all {
            let told = self.broadcast(&channel, &row);
            let now = now_ms();
            let ended = self.database.end_live_stream(&row.id, row.end_reason, told.as_ref(), now).await;
            match self.note(ended) {
                Some(messages) => self.webhooks.queued(messages),
                None => left.push_back((channel, row)),
            }
        }
        let mut unfinished = self.unfinished();
        left.append(&mut unfinished);
        *unfinished = left;
    }

    /// Notes in the database that a Stream has begun.
    async fn name(&self, channel: &ChannelName, row: &Row) {
        let Some(broadcast) = self.broadcast(channel, row) else { return };
        let Some(messages) = self.note(self.database.name_live_stream(&broadcast, now_ms()).await) else {
            return;
        };
        self.webhooks.queued(messages);
        if let Some(now) = self.live().get_mut(channel).filter(|now| now.id == row.id) {
            now.named = true;
        }
    }

    /// What is told of a row.
    fn broadcast(&self, channel: &ChannelName, row: &Row) -> Option<Broadcast> {
        let begun = row.begun.as_ref()?;
        Some(Broadcast {
            id: row.id.clone(),
            channel_id: row.channel_id.clone(),
            channel: channel.to_string(),
            title: self.authority.channel(channel).map(|known| known.title.clone()).unwrap_or_default(),
            stream: begun.stream.clone(),
            started_at: begun.at,
        })
    }

    fn lost(&self, ended: Ended, what: &'static str) {
        if ended.streams > 0 {
            warn!(streams = ended.streams, told = ended.told, "{what}");
            self.counters.lost.fetch_add(ended.streams, Ordering::Relaxed);
            self.webhooks.queued(ended.told);
        }
    }

    /// Cuts off publishers whose key was revoked, whose owner was suspended, whose Channel was removed or taken by
    /// another node. One query for all.
    async fn check_all(&self) {
        let rows: Vec<(ChannelName, Row)> =
            self.live().iter().map(|(channel, row)| (channel.clone(), row.clone())).collect();
        if rows.is_empty() {
            return;
        }
        for (channel, row) in rows.iter().filter(|(_, row)| !row.named) {
            self.name(channel, row).await;
        }
        let Some(standing) = self.note(self.database.standing_streams(&self.node_id).await) else { return };
        for (channel, row) in rows.into_iter().filter(|(_, row)| !standing.contains(&row.id)) {
            // A Channel that another thread has just begun or ended is none of these.
            if self.live().get(&channel).is_none_or(|now| now.id != row.id) {
                continue;
            }
            match self.reclaim(&row).await {
                // Webhooks have heard that it was over: it begins again for them.
                Some(id) => {
                    let row = Row { id, named: false, ..row };
                    self.live().insert(channel.clone(), row.clone());
                    self.name(&channel, &row).await;
                }
                None => drop(self.cut(&channel, "cut")),
            }
        }
    }

    /// The row was ended because this node was taken for dead: takes the Channel again, if the key is still good and
    /// nobody else has it.
    async fn reclaim(&self, row: &Row) -> Option<String> {
        if let Some(key) = &row.key_id
            && !self.note(self.database.key_stands(key).await)?
        {
            return None;
        }
        let claim = Claim {
            channel_id: &row.channel_id,
            key_id: row.key_id.as_deref(),
            node_id: &self.node_id,
            transport: "reclaimed",
            continues: true,
        };
        self.note(self.database.go_live(claim, now_ms()).await)?
    }

    async fn tell_followers(self: Arc<Self>, stream: Arc<Stream>, gateway: Arc<Gateway>) {
        let row = self.live().get(stream.channel()).cloned();
        let Some(channel_id) = row.map(|row| row.channel_id) else { return };
        let mut page = Page::first(100);
        loop {
            let found = self.database.followers_to_tell(&channel_id, &page).await;
            let Some(followers) = self.note(found) else { return };
            let told = gateway.tell_followers(&stream, &followers);
            self.counters.followers_told.fetch_add(told, Ordering::Relaxed);
            page.after = followers.last().cloned();
            if followers.len() < page.limit as usize {
                return;
            }
        }
    }

    /// Counts and logs what the database refused; publishers and viewers go on.
    fn note<T>(&self, result: Result<T, control::db::Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "the database did not take what happened to a stream");
                None
            }
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<ChannelName, Row>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfinished(&self) -> MutexGuard<'_, VecDeque<(ChannelName, Row)>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
