//! Who may publish: the one file that every publisher passes, whatever protocol it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use control::{Authority, Denied, StreamKey};
use ingest::{PublishRequest, Rejection};
use media::{ChannelName, Hub, NtpTime, Publication};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Publish requests waiting for admission. Each costs microseconds, so a queue is only a burst; beyond it
/// the ingest waits, which slows new publishers and nobody else.
pub(crate) const REQUESTS_MAX: usize = 64;

/// Decides about publish requests.
pub(crate) struct Admission {
    pub(crate) authority: Arc<Authority>,
    pub(crate) hub: Arc<Hub>,
    /// Streams at a time.
    pub(crate) publishers_max: usize,
    /// Who met that limit.
    pub(crate) refused: Arc<AtomicU64>,
}

impl Admission {
    /// Answers publish requests until all ingests are gone.
    pub(crate) async fn run(self, mut requests: mpsc::Receiver<PublishRequest>) {
        while let Some(request) = requests.recv().await {
            self.admit(request);
        }
    }

    fn admit(&self, request: PublishRequest) {
        let key = StreamKey::from(request.key.clone());
        let grant = match self.authority.publish(&key, request.channel.as_ref()) {
            Ok(grant) => grant,
            Err(denied) => {
                // Without the key: logs are read by more people than streams are published by.
                warn!(transport = request.transport.as_str(), remote = %request.remote, reason = %denied, "publisher refused");
                return request.reject(match denied {
                    Denied::KeyMissing | Denied::KeyUnknown => Rejection::UnknownKey,
                    other => Rejection::Forbidden(other.to_string()),
                });
            }
        };
        // Requests are answered one after the other: nobody takes the last place twice.
        if self.hub.stream(&grant.channel).is_none() && self.hub.streams().len() >= self.publishers_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            // Who holds a key is no stranger: an encoder tries again every few seconds at most.
            warn!(
                channel = %grant.channel, transport = request.transport.as_str(), remote = %request.remote,
                publishers_max = self.publishers_max, "publisher refused: no room for another stream"
            );
            return request.reject(Rejection::Capacity);
        }
        accept(request, &grant.channel, &self.hub);
    }
}

fn accept(request: PublishRequest, channel: &ChannelName, hub: &Arc<Hub>) {
    let publication = Publication {
        transport: request.transport.as_str(),
        encoder: request.encoder.clone(),
        remote: Some(request.remote),
    };
    let (now, wall) = moment();
    // The holder of the key is the streamer: a second connection replaces the first, which is what an
    // encoder that lost its network without a goodbye needs.
    let writer = hub.take_over(channel, publication, now, wall);
    info!(
        %channel, stream = %writer.stream().id(), transport = request.transport.as_str(),
        remote = %request.remote, encoder = request.encoder.as_deref().unwrap_or("unknown"),
        epoch = writer.stream().epoch(), "publisher accepted"
    );
    request.accept(writer);
}

/// The same moment on the monotonic and on the wall clock.
#[expect(clippy::disallowed_methods, reason = "the edge where a Stream's clock gets its origin")]
fn moment() -> (Instant, NtpTime) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), NtpTime::from_unix_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)))
}
