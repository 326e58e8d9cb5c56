//! Tells webhooks what happens to Streams.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use control::Authority;
use control::hooks::{Event, Webhooks};
use media::{Hub, HubEvent, Stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Follows the Hub until `stop`, then tells of the ends of those that end with the node.
pub(crate) async fn run(
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    webhooks: Arc<Webhooks>,
    stop: CancellationToken,
) {
    let announcer = Announcer { authority, webhooks };
    let mut events = hub.subscribe();
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            () = stop.cancelled() => break,
        };
        match event {
            Ok(HubEvent::Started(stream)) => announcer.tell("stream.online", &stream).await,
            Ok(HubEvent::Ended(stream)) => announcer.tell("stream.offline", &stream).await,
            Ok(HubEvent::Interrupted(_) | HubEvent::Resumed(_)) => {}
            // What began is told again, under the same id; of what ended meanwhile nobody hears.
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, "stream events were missed; webhooks may miss an end");
                for stream in hub.streams() {
                    announcer.tell("stream.online", &stream).await;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
    for stream in hub.streams() {
        announcer.tell("stream.offline", &stream).await;
    }
}

struct Announcer {
    authority: Arc<Authority>,
    webhooks: Arc<Webhooks>,
}

impl Announcer {
    async fn tell(&self, kind: &'static str, stream: &Stream) {
        let known = self.authority.channel(stream.channel());
        let event = Event {
            id: format!("evt_{}_{}", kind.replace('.', "_"), stream.id()),
            kind,
            channel_id: known.as_ref().map(|channel| channel.id.clone()),
            at: now_ms(),
            data: data(stream, known.as_ref().map(|channel| channel.title.as_str())),
        };
        if let Err(error) = self.webhooks.announce(&event).await {
            warn!(channel = %stream.channel(), kind, %error, "webhooks cannot be told: the database failed");
        }
    }
}

fn data(stream: &Stream, title: Option<&str>) -> Value {
    let zero = media::MediaTime::zero(media::Timescale::MICROS);
    let name = stream.channel().as_str();
    json!({
        "channel": { "name": name, "title": title.unwrap_or_default() },
        "stream": stream.id().to_string(),
        "startedAt": stream.clock().ntp(zero).as_unix_micros() / 1000,
        "page": format!("/{name}"),
    })
}

#[expect(clippy::disallowed_methods, reason = "events carry the wall clock")]
fn now_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}
