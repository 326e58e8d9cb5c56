//! Who may publish: the one file that every publisher passes, whatever protocol it speaks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use control::hooks::{self, Gate, Visit};
use control::{Authority, Denied, Grant, Permission, Request, StreamKey};
use ingest::{PublishRequest, Rejection};
use media::{ChannelName, Hub, HubEvent, NtpTime, Publication, Stream, StreamId, StreamState};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::broadcasts::Broadcasts;

/// Publish requests waiting for admission. Each costs milliseconds, so a queue is only a burst; beyond it
/// the ingest waits, which slows new publishers and nobody else.
pub(crate) const REQUESTS_MAX: usize = 64;

/// Requests looked at side by side: one that waits for a slow answer must not stop the others.
const AT_ONCE: usize = 32;

/// Decides about publish requests.
pub(crate) struct Admission {
    pub(crate) authority: Arc<Authority>,
    pub(crate) broadcasts: Arc<Broadcasts>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) gate: Arc<Gate>,
    /// Streams at a time.
    pub(crate) publishers_max: usize,
    /// New Streams go elsewhere.
    pub(crate) draining: Arc<AtomicBool>,
    /// Who met that limit.
    pub(crate) refused: Arc<AtomicU64>,
    /// Places are given one after the other: nobody takes the last one twice.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Who publishes, as far as a backend wants to hear of his end. Bounded by the Streams.
    pub(crate) visits: Mutex<HashMap<StreamId, Visit>>,
}

impl Admission {
    /// Answers publish requests until all ingests are gone.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut requests: mpsc::Receiver<PublishRequest>,
        tasks: TaskTracker,
    ) {
        let seats = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(request) = requests.recv().await {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            let admission = Arc::clone(&self);
            tasks.spawn(async move {
                admission.admit(request).await;
                drop(seat);
            });
        }
    }

    /// Ends the visit of each publisher who leaves, for good or for now, until `stop`; then all of them.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.hub.subscribe();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => event,
            };
            match event {
                Ok(HubEvent::Interrupted(stream) | HubEvent::Ended(stream)) => self.left(&stream),
                Ok(HubEvent::Started(_) | HubEvent::Resumed(_)) => {}
                Err(RecvError::Lagged(_)) => self.look_again(),
                Err(RecvError::Closed) => break,
            }
        }
        // Dropping a visit tells of its end.
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    async fn admit(&self, request: PublishRequest) {
        let key = StreamKey::from(request.key.clone());
        let asked =
            Request::Publish { key: &key, channel: request.channel.as_ref(), remote: request.remote.ip() };
        let grant = match self.authority.authorize(asked).await {
            Ok(grant) => Some(grant),
            // No key of ours: it may be one of the backend's, and so may those before it be.
            Err(Denied::KeyMissing | Denied::KeyUnknown | Denied::TooMany { .. })
                if self.gate.knows_keys() =>
            {
                None
            }
            Err(denied) => {
                refused(&request, &denied);
                return request.reject(match denied {
                    Denied::KeyMissing | Denied::KeyUnknown => Rejection::UnknownKey,
                    Denied::Unavailable => Rejection::Unavailable,
                    Denied::TooMany { seconds } => Rejection::TooMany {
                        why: denied.to_string(),
                        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
                    },
                    other => Rejection::Forbidden(other.to_string()),
                });
            }
        };
        let (grant, visit) = match self.ask_backend(&request, grant).await {
            Ok(admitted) => admitted,
            Err(rejection) => return request.reject(rejection),
        };
        let turn = self.turn.lock().await;
        if let Err(rejection) = self.take_place(&request, &grant).await {
            return request.reject(rejection);
        }
        let stream = self.accept(request, &grant, visit);
        drop(turn);
        self.broadcasts.begun(&stream).await;
    }

    /// What the operator's backend says, if there is one; with its word, a grant for keys that only it knows.
    async fn ask_backend(
        &self,
        request: &PublishRequest,
        grant: Option<Grant>,
    ) -> Result<(Grant, Visit), Rejection> {
        let caller = hooks::Caller {
            transport: request.transport.as_str(),
            remote: request.remote.ip(),
            channel: grant.as_ref().map(|grant| grant.channel.clone()).or_else(|| request.channel.clone()),
            app: request.written.app.clone(),
            stream: request.written.stream.clone(),
            param: request.written.param.clone(),
            page: None,
        };
        let admitted = self.gate.publish(&caller).await.map_err(|refusal| {
            refused(request, &refusal);
            match refusal {
                hooks::Refusal::Forbidden(_) => Rejection::Forbidden(refusal.to_string()),
                hooks::Refusal::Unavailable => Rejection::Unavailable,
            }
        })?;
        if let Some(grant) = grant {
            return Ok((grant, admitted.visit));
        }
        let forbidden = |why: String| {
            refused(request, &why);
            Rejection::Forbidden(why)
        };
        // The key never becomes the name: names are public.
        let Some(channel) = admitted.channel.or_else(|| request.channel.clone()) else {
            let why = "The server cannot tell which channel this key is of: write the channel into the server URL, \
                       as in rtmp://host/live/CHANNEL";
            return Err(forbidden(why.to_owned()));
        };
        let Some(known) = self.authority.channel(&channel) else {
            return Err(forbidden(Denied::NoChannel { channel }.to_string()));
        };
        let grant = Grant {
            channel,
            permission: Permission::Publish,
            channel_id: Some(known.id.clone()).filter(|id| !id.is_empty()),
            key_id: None,
            subject: None,
            expires: None,
            public: false,
        };
        Ok((grant, admitted.visit))
    }

    /// A place on this node, and the Channel for this node.
    async fn take_place(&self, request: &PublishRequest, grant: &Grant) -> Result<(), Rejection> {
        let (channel, transport) = (&grant.channel, request.transport.as_str());
        // An encoder that comes back to its Stream always finds its place.
        if self.hub.stream(channel).is_none() {
            if self.draining.load(Ordering::Relaxed) {
                warn!(%channel, transport, remote = %request.remote, "publisher refused: the node drains");
                return Err(Rejection::Unavailable);
            }
            if self.hub.streams().len() >= self.publishers_max {
                self.refused.fetch_add(1, Ordering::Relaxed);
                // Who holds a key is no stranger: an encoder tries again every few seconds at most.
                warn!(
                    %channel, transport, remote = %request.remote,
                    publishers_max = self.publishers_max, "publisher refused: no room for another stream"
                );
                return Err(Rejection::Capacity);
            }
        }
        match self.broadcasts.claim(grant, transport).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                warn!(%channel, transport, remote = %request.remote, "publisher refused: live on another node");
                Err(Rejection::Busy)
            }
            Err(error) => {
                warn!(%channel, transport, remote = %request.remote, %error, "publisher refused: the database failed");
                Err(Rejection::Unavailable)
            }
        }
    }

    fn accept(&self, request: PublishRequest, grant: &Grant, visit: Visit) -> Arc<Stream> {
        let publication = Publication {
            transport: request.transport.as_str(),
            encoder: request.encoder.clone(),
            remote: Some(request.remote),
        };
        let (now, wall) = moment();
        // Held while the Stream changes hands: see `left`.
        let mut visits = self.lock();
        // The holder of the key is the streamer: a second connection replaces the first, which is what an
        // encoder that lost its network without a goodbye needs.
        let writer = self.hub.take_over(&grant.channel, publication, now, wall);
        let stream = Arc::clone(writer.stream());
        let replaced = visits.insert(stream.id(), visit);
        drop(visits);
        if let Some(replaced) = replaced {
            // The Stream goes on: a backend that heard of an end now would take it for the newer one's.
            replaced.forget();
        }
        info!(
            channel = %grant.channel, stream = %stream.id(), transport = request.transport.as_str(),
            remote = %request.remote, encoder = request.encoder.as_deref().unwrap_or("unknown"),
            key = grant.key_id.as_deref().unwrap_or("configured"), epoch = stream.epoch(), "publisher accepted"
        );
        request.accept(writer);
        stream
    }

    fn left(&self, stream: &Stream) {
        let mut visits = self.lock();
        // Under the lock: whoever continues the Stream takes it before he leaves his own visit.
        let visit = if stream.state() == StreamState::Live { None } else { visits.remove(&stream.id()) };
        drop(visits);
        drop(visit);
    }

    /// Events were missed: those who publish still are the ones in the Hub.
    fn look_again(&self) {
        let live: Vec<StreamId> = self
            .hub
            .streams()
            .iter()
            .filter(|stream| stream.state() == StreamState::Live)
            .map(|stream| stream.id())
            .collect();
        let mut visits = self.lock();
        let all = std::mem::take(&mut *visits);
        let (still, gone): (HashMap<_, _>, HashMap<_, _>) =
            all.into_iter().partition(|(id, _)| live.contains(id));
        *visits = still;
        drop(visits);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the key: logs are read by more people than streams are published by.
fn refused(request: &PublishRequest, reason: &dyn std::fmt::Display) {
    let channel = request.channel.as_ref().map(ChannelName::as_str);
    let (transport, remote) = (request.transport.as_str(), request.remote);
    warn!(channel, transport, %remote, %reason, "publisher refused");
}

/// The same moment on the monotonic and on the wall clock.
#[expect(clippy::disallowed_methods, reason = "the edge where a Stream's clock gets its origin")]
fn moment() -> (Instant, NtpTime) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), NtpTime::from_unix_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)))
}
