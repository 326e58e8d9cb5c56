//! What runs for each live Stream, from its start to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::Authority;
use control::db::Channel;
use hls_packager::{Packager, Reach};
use media::{Hub, HubEvent, Stream, StreamId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use transcode::Transcoder;

use crate::notices;

/// How often the grace windows and the notices are looked at. A tenth of the grace window.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Starts packager and transcoder for every Stream, ends Streams whose grace window has passed, and logs
/// what the streamer should change. `events` began before anybody could publish. Runs until `stop`.
pub(crate) async fn run(
    hub: Arc<Hub>,
    mut events: Receiver<HubEvent>,
    packager: Arc<Packager>,
    transcoder: Arc<Transcoder>,
    authority: Arc<Authority>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut attached: HashSet<StreamId> = HashSet::new();
    let mut noticed: HashSet<(StreamId, &'static str)> = HashSet::new();
    let attach = |stream: Arc<Stream>, attached: &mut HashSet<StreamId>| {
        if attached.insert(stream.id()) {
            tasks.spawn(Arc::clone(&transcoder).attach(Arc::clone(&stream)));
            let channel = authority.channel(stream.channel());
            let reach = reach(packager.config().recording.reach(), channel.as_deref());
            tasks.spawn(packager.attach(stream, Some(reach)));
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
                    let streams = hub.streams();
                    let live = |id: StreamId| streams.iter().any(|stream| stream.id() == id);
                    attached.retain(|id| live(*id));
                    noticed.retain(|(id, _)| live(*id));
                    for stream in streams {
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

/// How far the viewers of a Channel may go back. The configuration file may say more for one than for all; its owner may
/// only say less.
fn reach(server: Reach, channel: Option<&Channel>) -> Reach {
    let Some(channel) = channel else { return server };
    let seconds = channel.rewind.seconds.unwrap_or(server.rewind_s);
    let mib = channel.rewind.mib.map_or(server.rewind_mib, u64::from);
    match channel.owner_id {
        None => Reach { rewind_s: seconds, rewind_mib: mib },
        Some(_) => Reach { rewind_s: seconds.min(server.rewind_s), rewind_mib: mib.min(server.rewind_mib) },
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the grace window is read here")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use control::Rewind;
    use control::db::Visibility;

    use super::*;

    #[test]
    fn an_owner_may_say_less_than_the_server_and_the_file_may_say_more() {
        let server = Reach { rewind_s: 7200, rewind_mib: 8192 };
        let channel = |owner: Option<&str>, seconds, mib| Channel {
            id: "chn_1".to_owned(),
            owner_id: owner.map(str::to_owned),
            name: "ana".to_owned(),
            title: String::new(),
            visibility: Visibility::Public,
            grant_epoch: 0,
            rewind: Rewind { seconds, mib },
            created_at: 0,
        };
        for (owner, seconds, mib, wanted) in [
            (Some("usr_1"), None, None, (7200, 8192)),
            (Some("usr_1"), Some(0), Some(16), (0, 16)),
            // The server allowed more when he said so.
            (Some("usr_1"), Some(86_400), Some(99_999), (7200, 8192)),
            (None, Some(86_400), Some(99_999), (86_400, 99_999)),
            (None, Some(60), None, (60, 8192)),
        ] {
            let found = reach(server, Some(&channel(owner, seconds, mib)));
            assert_eq!((found.rewind_s, found.rewind_mib), wanted, "{owner:?} {seconds:?} {mib:?}");
        }
        assert_eq!(reach(server, None), server);
    }
}
