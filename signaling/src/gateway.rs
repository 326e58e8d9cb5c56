//! The gateway: `GET /api/v1/ws`, sub-protocol `live.v1.json`.

mod connection;
mod guest;
mod guests;
mod lanes;
mod layers;
mod origin;
mod presence;
mod session;
mod sessions;
mod stats;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control::db::Visibility;
use control::hooks::Gate;
use control::{Authority, Moderation};
use media::{ChannelName, Hub, HubEvent, Stream};
use serde_json::{Value, json};
use sfu::Sfu;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use guests::Guests;
use lanes::{Lane, Outbox};
use origin::Origin;
use presence::Presence;
use sessions::Sessions;
use stats::Counters;
pub use stats::Stats;

/// The sub-protocol; its name is the major version.
const PROTOCOL: &str = "live.v1.json";

/// Sockets at once. An idle one costs about 12 KiB with TLS; beyond it new ones get 503 and try again.
const CONNECTIONS_MAX: u64 = 50_000;

/// How often viewer counts are told.
const STATS_INTERVAL: Duration = Duration::from_secs(5);

/// The address that the home page joins to hear of every channel.
const HOME: &str = "home";

/// What the gateway stands on.
pub struct GatewayParts {
    /// Live Streams.
    pub hub: Arc<Hub>,
    /// Viewers.
    pub sfu: Sfu,
    /// Rooms.
    pub chat: Arc<chat::Service>,
    /// The door.
    pub authority: Arc<Authority>,
    /// Asked besides, before somebody watches.
    pub gate: Arc<Gate>,
    /// Who may speak.
    pub moderation: Arc<Moderation>,
}

/// The gateway of this node.
pub struct Gateway {
    parts: GatewayParts,
    presence: Presence,
    sessions: Sessions,
    guests: Guests,
    counters: Counters,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gateway {
    /// A gateway; [`Gateway::run`] keeps it up to date.
    pub fn new(parts: GatewayParts) -> Arc<Self> {
        let guests = Guests::new(parts.chat.config());
        Arc::new(Self {
            parts,
            guests,
            presence: Presence::default(),
            sessions: Sessions::default(),
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Tells members what happens to Streams, and ends parked sessions, until `stop`. Then every socket is
    /// told to come back later, and is closed.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.parts.hub.subscribe();
        let mut tick = tokio::time::interval(STATS_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Ok(event) => self.tell(&event),
                    // Members who missed an event see the state at their next join.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                _ = tick.tick() => self.tick(),
            }
        }
        self.stop.cancel();
        self.sessions.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot(self.parts.chat.rooms() as u64, self.sessions.parked() as u64)
    }

    fn tell(&self, event: &HubEvent) {
        let (stream, frame) = match event {
            HubEvent::Started(stream) => (stream, online(stream)),
            HubEvent::Ended(stream) => (
                stream,
                json!({ "type": "stream.offline", "ch": address(stream.channel()), "stream": stream.id().to_string(),
                        "channel": { "name": stream.channel().as_str() } }),
            ),
            HubEvent::Interrupted(stream) => (stream, rtc_state(stream, "inactive")),
            HubEvent::Resumed(stream) => (stream, rtc_state(stream, "active")),
        };
        let frame: Arc<str> = frame.to_string().into();
        self.presence.tell(&address(stream.channel()), Lane::Control, &frame);
        let comes_or_goes = matches!(event, HubEvent::Started(_) | HubEvent::Ended(_));
        if comes_or_goes && self.is_listed(stream.channel()) {
            self.presence.tell(HOME, Lane::Control, &frame);
        }
    }

    /// Whether everybody is told of the Channel's Streams.
    fn is_listed(&self, channel: &ChannelName) -> bool {
        let known = self.parts.authority.channel(channel);
        known.is_some_and(|known| known.visibility == Visibility::Public)
    }

    /// Tells accounts that are connected here that a Channel which they follow is live. How many were told.
    pub fn tell_followers(&self, stream: &Stream, accounts: &[String]) -> u64 {
        let mut frame = online(stream);
        frame["follow"] = true.into();
        let frame: Arc<str> = frame.to_string().into();
        let here = accounts.iter().map(|account| account_address(account));
        let here = here.filter(|address| self.presence.members(address) > 0);
        here.map(|address| self.presence.tell(&address, Lane::Control, &frame)).count() as u64
    }

    /// Tells the owner of a Channel what became of something of his, where he is connected here: a frame of that type
    /// with the fields of `about`.
    pub fn tell_owner(&self, account: &str, channel: &ChannelName, kind: &str, about: &Value) {
        let mut frame = about.clone();
        frame["type"] = kind.into();
        frame["ch"] = address(channel).into();
        self.presence.tell(&account_address(account), Lane::Control, &frame.to_string().into());
    }

    fn tick(&self) {
        self.sessions.expire(now());
        for stream in self.parts.hub.streams() {
            let ch = address(stream.channel());
            let viewers = self.parts.sfu.viewers(stream.id());
            let frame = json!({ "type": "stats", "ch": ch, "viewers": viewers, "members": self.presence.members(&ch) });
            self.presence.tell(&ch, Lane::State(format!("stats {ch}")), &frame.to_string().into());
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("presence", &self.presence).finish_non_exhaustive()
    }
}

/// The channel address of a Channel.
fn address(channel: &ChannelName) -> String {
    format!("stream:{channel}")
}

/// Where an account hears what concerns it. No channel has such an address: nobody can join it.
fn account_address(account: &str) -> String {
    format!("account:{account}")
}

/// Where a Channel plays by HLS, with a grant if it needs one.
fn hls_url(channel: &ChannelName, grant: Option<&str>) -> String {
    match grant {
        Some(grant) => format!("/hls/t/{grant}/{channel}/master.m3u8"),
        None => format!("/hls/{channel}/master.m3u8"),
    }
}

/// `stream.online`, also what a member gets at `join` while the Channel is live.
fn online(stream: &Stream) -> Value {
    let zero = media::MediaTime::zero(media::Timescale::MICROS);
    json!({
        "type": "stream.online",
        "ch": address(stream.channel()),
        "channel": { "name": stream.channel().as_str() },
        "stream": stream.id().to_string(),
        "startedAt": stream.clock().ntp(zero).as_unix_micros() / 1000,
        "hls": hls_url(stream.channel(), None),
    })
}

fn rtc_state(stream: &Stream, state: &str) -> Value {
    json!({ "type": "rtc.state", "ch": address(stream.channel()), "stream": stream.id().to_string(), "state": state })
}

/// The route of the gateway.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/api/v1/ws", get(upgrade)).with_state(gateway)
}

async fn upgrade(State(gateway): State<Arc<Gateway>>, parts: Parts, upgrade: WebSocketUpgrade) -> Response {
    if gateway.counters.connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
        gateway.counters.refused.fetch_add(1, Ordering::Relaxed);
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    }
    let tracker = gateway.tasks.clone();
    let origin = Origin::of(&parts);
    upgrade
        .protocols([PROTOCOL])
        // The defaults allocate 128 KiB per socket at once; with 1 KiB an idle viewer costs 3 KiB.
        .read_buffer_size(1024)
        .write_buffer_size(1024)
        .max_write_buffer_size(256 * 1024)
        .max_message_size(connection::FRAME_BYTES_MAX)
        .max_frame_size(connection::FRAME_BYTES_MAX)
        .on_upgrade(move |socket| tracker.track_future(connection::run(gateway, origin, socket)))
}

#[expect(clippy::disallowed_methods, reason = "the gateway is a shell: it ages parked sessions")]
fn now() -> Instant {
    Instant::now()
}

/// The frames that wait for one socket.
type Mailbox = Arc<Outbox>;
