//! Who may publish: the one file that every publisher passes, whatever protocol it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use control::{Authority, Denied, Grant, Request, StreamKey};
use ingest::{PublishRequest, Rejection};
use media::{Hub, NtpTime, Publication, Stream};
use tokio::sync::{Mutex, Semaphore, mpsc};
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
    /// Streams at a time.
    pub(crate) publishers_max: usize,
    /// New Streams go elsewhere.
    pub(crate) draining: Arc<AtomicBool>,
    /// Who met that limit.
    pub(crate) refused: Arc<AtomicU64>,
    /// Places are given one after the other: nobody takes the last one twice.
    pub(crate) turn: Mutex<()>,
}

impl Admission {
    /// Answers publish requests until all ingests are gone.
    pub(crate) async fn run(self, mut requests: mpsc::Receiver<PublishRequest>, tasks: TaskTracker) {
        let (admission, seats) = (Arc::new(self), Arc::new(Semaphore::new(AT_ONCE)));
        while let Some(request) = requests.recv().await {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            let admission = Arc::clone(&admission);
            tasks.spawn(async move {
                admission.admit(request).await;
                drop(seat);
            });
        }
    }

    async fn admit(&self, request: PublishRequest) {
        let key = StreamKey::from(request.key.clone());
        let asked =
            Request::Publish { key: &key, channel: request.channel.as_ref(), remote: request.remote.ip() };
        let grant = match self.authority.authorize(asked).await {
            Ok(grant) => grant,
            Err(denied) => {
                // Without the key: logs are read by more people than streams are published by.
                warn!(transport = request.transport.as_str(), remote = %request.remote, reason = %denied, "publisher refused");
                return request.reject(match denied {
                    Denied::KeyMissing | Denied::KeyUnknown => Rejection::UnknownKey,
                    Denied::Unavailable => Rejection::Unavailable,
                    other => Rejection::Forbidden(other.to_string()),
                });
            }
        };
        let turn = self.turn.lock().await;
        if let Err(rejection) = self.take_place(&request, &grant).await {
            return request.reject(rejection);
        }
        let stream = self.accept(request, &grant);
        drop(turn);
        self.broadcasts.begun(&stream).await;
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

    fn accept(&self, request: PublishRequest, grant: &Grant) -> Arc<Stream> {
        let publication = Publication {
            transport: request.transport.as_str(),
            encoder: request.encoder.clone(),
            remote: Some(request.remote),
        };
        let (now, wall) = moment();
        // The holder of the key is the streamer: a second connection replaces the first, which is what an
        // encoder that lost its network without a goodbye needs.
        let writer = self.hub.take_over(&grant.channel, publication, now, wall);
        let stream = Arc::clone(writer.stream());
        info!(
            channel = %grant.channel, stream = %stream.id(), transport = request.transport.as_str(),
            remote = %request.remote, encoder = request.encoder.as_deref().unwrap_or("unknown"),
            key = grant.key_id.as_deref().unwrap_or("configured"), epoch = stream.epoch(), "publisher accepted"
        );
        request.accept(writer);
        stream
    }
}

/// The same moment on the monotonic and on the wall clock.
#[expect(clippy::disallowed_methods, reason = "the edge where a Stream's clock gets its origin")]
fn moment() -> (Instant, NtpTime) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), NtpTime::from_unix_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)))
}
