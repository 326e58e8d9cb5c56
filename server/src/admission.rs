//! Who may publish: the one file that every publisher passes, whatever protocol it speaks.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use control::{Authority, Denied, StreamKey};
use ingest::{PublishRequest, Rejection};
use media::{Hub, NtpTime, Publication};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Publish requests waiting for admission. Each costs microseconds, so a queue is only a burst; beyond it
/// the ingest waits, which slows new publishers and nobody else.
pub(crate) const REQUESTS_MAX: usize = 64;

/// Answers publish requests until all ingests are gone.
pub(crate) async fn run(
    mut requests: mpsc::Receiver<PublishRequest>,
    authority: Arc<Authority>,
    hub: Arc<Hub>,
) {
    while let Some(request) = requests.recv().await {
        admit(request, &authority, &hub);
    }
}

fn admit(request: PublishRequest, authority: &Authority, hub: &Arc<Hub>) {
    let key = StreamKey::from(request.key.clone());
    let grant = match authority.publish(&key, request.channel.as_ref()) {
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
    let publication = Publication {
        transport: request.transport.as_str(),
        encoder: request.encoder.clone(),
        remote: Some(request.remote),
    };
    let (now, wall) = moment();
    // The holder of the key is the streamer: a second connection replaces the first, which is what an
    // encoder that lost its network without a goodbye needs.
    let writer = hub.take_over(&grant.channel, publication, now, wall);
    info!(
        channel = %grant.channel, stream = %writer.stream().id(), transport = request.transport.as_str(),
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
