//! What the database knows of this node's live Streams: who holds the Channel, by which key, and who is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::db::{Claim, Database, LEASE, Page};
use control::{Authority, Grant};
use media::{ChannelName, Hub, HubEvent, Stream};
use serde::Serialize;
use signaling::Gateway;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::http::v1::now_ms;

/// How often changes by other nodes and by commands are looked for: one small query.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How often this node says that it lives.
const LEASE_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);

/// How often old rows are forgotten.
const CLEAN_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long the audit log is kept.
const AUDIT_MS: i64 = 90 * 24 * 60 * 60 * 1000;

/// Live Streams of this node, by Channel.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    database: Database,
    authority: Arc<Authority>,
    hub: Arc<Hub>,
    node_id: String,
    live: Mutex<HashMap<ChannelName, Row>>,
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
}

#[derive(Debug, Default)]
struct Counters {
    busy: AtomicU64,
    cut: AtomicU64,
    followers_told: AtomicU64,
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
    /// Statements that failed.
    pub(crate) errors: u64,
}

impl Broadcasts {
    /// Ends in the database what this node left behind when it died.
    pub(crate) async fn start(
        database: Database,
        authority: Arc<Authority>,
        hub: Arc<Hub>,
        node_id: String,
    ) -> Result<Arc<Self>, control::db::Error> {
        let ended = database.end_streams_of(&node_id).await?;
        if ended > 0 {
            info!(ended, "streams that this node left behind were marked as ended");
        }
        Ok(Arc::new(Self {
            database,
            authority,
            hub,
            node_id,
            live: Mutex::default(),
            wake: Notify::new(),
            counters: Counters::default(),
        }))
    }

    /// Takes the Channel for this node; false if it is live on another.
    pub(crate) async fn claim(&self, grant: &Grant, transport: &str) -> Result<bool, control::db::Error> {
        let Some(channel_id) = &grant.channel_id else { return Ok(true) };
        let claim = Claim {
            channel_id,
            key_id: grant.key_id.as_deref(),
            node_id: &self.node_id,
            transport,
            continues: self.hub.stream(&grant.channel).is_some(),
        };
        let Some(id) = self.database.go_live(claim, now_ms()).await? else {
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        };
        let row =
            Row { id, channel_id: channel_id.clone(), key_id: grant.key_id.clone(), end_reason: "ended" };
        self.live().insert(grant.channel.clone(), row);
        Ok(true)
    }

    /// The Stream has begun: notes its id, and that its key was used.
    pub(crate) async fn begun(&self, stream: &Stream) {
        let Some(row) = self.live().get(stream.channel()).cloned() else { return };
        self.note(self.database.name_live_stream(&row.id, &stream.id().to_string()).await);
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
                    if let Some(ended @ 1..) = self.note(self.database.renew_lease(&self.node_id, now_ms()).await) {
                        warn!(ended, "streams of a node that died were marked as ended");
                    }
                }
                _ = clean.tick() => {
                    self.note(self.database.forget_sessions(now_ms()).await);
                    self.note(self.database.forget_audit(now_ms() - AUDIT_MS).await);
                }
            }
        }
        let all: Vec<ChannelName> = self.live().keys().cloned().collect();
        for channel in all {
            self.ended(&channel).await;
        }
    }

    async fn ended(&self, channel: &ChannelName) {
        // A new Stream may have begun meanwhile, with a row of its own.
        if self.hub.stream(channel).is_some() {
            return;
        }
        let Some(row) = self.live().remove(channel) else { return };
        self.note(self.database.end_live_stream(&row.id, row.end_reason, now_ms()).await);
    }

    async fn end_gone(&self) {
        let all: Vec<ChannelName> = self.live().keys().cloned().collect();
        for channel in all {
            self.ended(&channel).await;
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
        let Some(standing) = self.note(self.database.standing_streams(&self.node_id).await) else { return };
        for (channel, row) in rows.into_iter().filter(|(_, row)| !standing.contains(&row.id)) {
            // A Channel that another thread has just begun or ended is none of these.
            if self.live().get(&channel).is_none_or(|now| now.id != row.id) {
                continue;
            }
            match self.reclaim(&row).await {
                Some(id) => {
                    if let Some(now) = self.live().get_mut(&channel) {
                        now.id = id;
                    }
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
}
