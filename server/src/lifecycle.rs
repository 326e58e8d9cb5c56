//! What runs for each live Stream, from its start to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hls_packager::Packager;
use media::{Hub, HubEvent, Stream, StreamId};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use transcode::Transcoder;

use crate::notices;

/// How often the grace windows and the notices are looked at. A tenth of the grace window.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Starts packager and transcoder for every Stream, ends Streams whose grace window has passed, and logs
/// what the streamer should change. Runs until `stop`.
pub(crate) async fn run(
    hub: Arc<Hub>,
    packager: Arc<Packager>,
    transcoder: Arc<Transcoder>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut events = hub.subscribe();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut attached: HashSet<StreamId> = HashSet::new();
    let mut noticed: HashSet<(StreamId, &'static str)> = HashSet::new();
    let attach = |stream: Arc<Stream>, attached: &mut HashSet<StreamId>| {
        if attached.insert(stream.id()) {
            tasks.spawn(Arc::clone(&transcoder).attach(Arc::clone(&stream)));
            tasks.spawn(Arc::clone(&packager).attach(stream));
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return packager.stop(),
            event = events.recv() => match event {
                Ok(HubEvent::Started(stream)) => {
                    info!(channel = %stream.channel(), stream = %stream.id(), "stream started");
                    attach(stream, &mut attached);
                }
                Ok(HubEvent::Interrupted(stream)) => {
                    info!(channel = %stream.channel(), stream = %stream.id(), "publisher left, waiting for it");
                }
                Ok(HubEvent::Resumed(stream)) => {
                    info!(channel = %stream.channel(), stream = %stream.id(), epoch = stream.epoch(), "publisher is back");
                }
                Ok(HubEvent::Ended(stream)) => {
                    info!(channel = %stream.channel(), stream = %stream.id(), "stream ended");
                    attached.remove(&stream.id());
                    noticed.retain(|(id, _)| *id != stream.id());
                }
                Err(RecvError::Lagged(missed)) => {
                    warn!(missed, "stream events were missed; looking at all streams instead");
                    for stream in hub.streams() {
                        attach(stream, &mut attached);
                    }
                }
                Err(RecvError::Closed) => return,
            },
            _ = sweep.tick() => {
                hub.sweep(now());
                for stream in hub.streams() {
                    for notice in notices::of(&stream) {
                        if noticed.insert((stream.id(), notice.code)) {
                            warn!(channel = %stream.channel(), stream = %stream.id(), code = notice.code, "{}", notice.message);
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the grace window is read here")]
fn now() -> Instant {
    Instant::now()
}
