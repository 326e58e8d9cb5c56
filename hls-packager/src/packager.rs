//! The table of packaged Streams.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::{ChannelName, Stream, StreamId};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::feed;
use crate::recording::{Reach, Recordings, Tap};
use crate::session::Session;
use crate::stats::{State, Stats, Status};

/// Packages Streams and answers for them. One per process.
#[derive(Debug)]
pub struct Packager {
    config: Config,
    recordings: Option<Arc<Recordings>>,
    sessions: Mutex<HashMap<StreamId, Arc<Session>>>,
    /// What Streams counted that are gone.
    retired: Mutex<Stats>,
    pub(crate) requests: RequestCounters,
    stopping: CancellationToken,
}

/// What the routes count.
#[derive(Debug, Default)]
pub(crate) struct RequestCounters {
    pub(crate) waiting: AtomicU64,
    pub(crate) playlists: AtomicU64,
    pub(crate) files: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) missing: AtomicU64,
    pub(crate) stalled: AtomicU64,
}

impl Packager {
    /// A packager without Streams that records nothing. The caller has validated `config`.
    pub fn new(config: Config) -> Arc<Self> {
        Self::with(config, None)
    }

    /// A packager without Streams that records what it packages. The caller has validated `config`.
    pub fn recording(config: Config, recordings: Arc<Recordings>) -> Arc<Self> {
        Self::with(config, Some(recordings))
    }

    fn with(config: Config, recordings: Option<Arc<Recordings>>) -> Arc<Self> {
        Arc::new(Self {
            config,
            recordings,
            sessions: Mutex::default(),
            retired: Mutex::default(),
            requests: RequestCounters::default(),
            stopping: CancellationToken::new(),
        })
    }

    /// What it records into.
    pub(crate) fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.recordings.as_ref()
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Packages `stream` until it ended and its viewers had time to drain; they may go back by `reach`, or by what the
    /// settings say. The caller owns the future; dropping it removes the Stream at once.
    pub fn attach(
        self: &Arc<Self>,
        stream: Arc<Stream>,
        reach: Option<Reach>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let packager = Arc::clone(self);
        async move {
            let session = Arc::new(Session::new(
                stream.channel().clone(),
                stream.id(),
                stream.clock(),
                packager.config.clone(),
            ));
            let tap = packager.recordings.as_ref().map(|it| it.begin(&stream, reach)).unwrap_or_default();
            session.read(|presentation| presentation.record(tap.clone()));
            let _entry = Entry::insert(Arc::clone(&packager), Arc::clone(&session), tap);
            feed::run(&packager.config, &session, &stream).await;
            drop(stream);
            tokio::select! {
                () = tokio::time::sleep(packager.config.linger()) => {}
                () = packager.stopping.cancelled() => {}
            }
        }
    }

    /// The process stops: Streams that ended linger no longer.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// How each Stream is available as HLS.
    pub fn statuses(&self) -> Vec<Status> {
        let mut sessions: Vec<_> = self.lock().values().cloned().collect();
        sessions.sort_unstable_by_key(|session| session.stream);
        sessions.iter().map(|session| session.status()).collect()
    }

    /// How the Stream of a Channel is available as HLS; `None` if none is packaged.
    pub fn status(&self, channel: &ChannelName) -> Option<Status> {
        self.current(channel).map(|session| session.status())
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let sessions: Vec<_> = self.lock().values().cloned().collect();
        let mut stats = *self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        for session in sessions {
            stats.add(&session.stats());
        }
        let requests = &self.requests;
        Stats {
            requests_waiting: requests.waiting.load(Ordering::Relaxed),
            playlists_served_total: requests.playlists.load(Ordering::Relaxed),
            files_served_total: requests.files.load(Ordering::Relaxed),
            bytes_served_total: requests.bytes.load(Ordering::Relaxed),
            requests_rejected_total: requests.rejected.load(Ordering::Relaxed),
            requests_missing_total: requests.missing.load(Ordering::Relaxed),
            requests_stalled_total: requests.stalled.load(Ordering::Relaxed),
            ..stats
        }
    }

    /// The newest Stream of a Channel that is not over; else the newest.
    pub(crate) fn current(&self, channel: &ChannelName) -> Option<Arc<Session>> {
        let of_channel: Vec<_> =
            self.lock().values().filter(|session| session.channel == *channel).cloned().collect();
        of_channel.into_iter().max_by_key(|session| (session.status().state != State::Ended, session.stream))
    }

    pub(crate) fn session(&self, channel: &ChannelName, stream: StreamId) -> Option<Arc<Session>> {
        self.lock().get(&stream).filter(|session| session.channel == *channel).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Stream's place in the table, for as long as its future lives.
struct Entry {
    packager: Arc<Packager>,
    session: Arc<Session>,
    tap: Tap,
}

impl Entry {
    fn insert(packager: Arc<Packager>, session: Arc<Session>, tap: Tap) -> Self {
        packager.lock().insert(session.stream, Arc::clone(&session));
        Self { packager, session, tap }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tap.end();
        self.packager.lock().remove(&self.session.stream);
        let last = Stats { streams: 0, renditions: 0, bytes_held: 0, ..self.session.stats() };
        self.packager.retired.lock().unwrap_or_else(PoisonError::into_inner).add(&last);
    }
}
