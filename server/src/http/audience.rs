//! Who watches by HLS, for backends that want to be asked and told. HLS has no connection: a viewer is an address
//! that asks for a channel's playlists and parts again and again.
//!
//! Asked for is the one who wants the multivariant playlist, with the query of that request. Playlists and parts
//! have no query of their own, so for them his address (IPv6: its /64) has a seat, until it has been quiet for 30 s.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use control::hooks::{Caller, Gate, Refusal, Visit};
use media::{ChannelName, Hub};
use secrecy::SecretString;
use sfu::network_of;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::problem::problem;

/// Silence after which a viewer has left. A player that does not block asks once per segment, 10 s at most.
const IDLE: Duration = Duration::from_secs(30);

/// How often the quiet ones are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Seats of the node: networks times channels. Each has some hundred bytes. Over it new viewers are refused with 503.
const SEATS_MAX: usize = 65_536;

/// Visits of one seat: viewers behind one address with tokens of their own. Over it the oldest is told to have left.
const VISITS_MAX: usize = 64;

/// The seats.
pub(crate) struct Audience {
    gate: Arc<Gate>,
    hub: Arc<Hub>,
    seats: Mutex<HashMap<(ChannelName, IpAddr), Seat>>,
}

struct Seat {
    visits: Vec<Visit>,
    last: Instant,
}

impl Audience {
    pub(crate) fn new(gate: Arc<Gate>, hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { gate, hub, seats: Mutex::default() })
    }

    /// Gives up quiet seats until `stop`, then all of them.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let now = Instant::now();
            let mut left = Vec::new();
            self.lock().retain(|_, seat| {
                let stays = now.saturating_duration_since(seat.last) < IDLE;
                if !stays {
                    left.append(&mut seat.visits);
                }
                stays
            });
            drop(left);
        }
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// Whether this address has a seat; it keeps it.
    fn stay(&self, channel: &ChannelName, network: IpAddr) -> bool {
        match self.lock().get_mut(&(channel.clone(), network)) {
            Some(seat) => {
                seat.last = Instant::now();
                true
            }
            None => false,
        }
    }

    /// Gives it a seat; false if there is none left.
    fn sit(&self, channel: ChannelName, network: IpAddr, visit: Visit) -> bool {
        let mut seats = self.lock();
        if seats.len() >= SEATS_MAX && !seats.contains_key(&(channel.clone(), network)) {
            return false;
        }
        let last = Instant::now();
        let seat = seats.entry((channel, network)).or_insert_with(|| Seat { visits: Vec::new(), last });
        seat.last = last;
        let mut left = None;
        if !seat.visits.contains(&visit) {
            left = (seat.visits.len() >= VISITS_MAX).then(|| seat.visits.remove(0));
            seat.visits.push(visit);
        }
        drop(seats);
        drop(left);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(ChannelName, IpAddr), Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets requests for `/hls/…` through that are of somebody who may watch.
pub(crate) async fn let_in(State(audience): State<Arc<Audience>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let named = path.strip_prefix("/hls/").and_then(|path| path.split_once('/'));
    let Some((channel, file)) = named.and_then(|(name, file)| Some((ChannelName::parse(name).ok()?, file)))
    else {
        return next.run(request).await;
    };
    let begins = file == "master.m3u8";
    // A preflight says nothing, and who is offline has nothing to hide.
    if request.method() == Method::OPTIONS || (begins && audience.hub.stream(&channel).is_none()) {
        return next.run(request).await;
    }
    // In a test without a socket there is none.
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(remote)| remote.ip());
    let network = network_of(remote);
    if begins || !audience.stay(&channel, network) {
        let query = request.uri().query().unwrap_or_default();
        let caller =
            Caller::viewer("hls", remote, channel.clone(), query, bearer(request.headers()).as_ref())
                .on_page(page(request.headers()));
        match audience.gate.play(&caller).await {
            Ok(visit) => {
                if !audience.sit(channel, network, visit) {
                    let why = "This server has no room for another viewer";
                    return refuse(StatusCode::SERVICE_UNAVAILABLE, "capacity", why);
                }
            }
            Err(refusal) => {
                debug!(%remote, reason = %refusal, "HLS viewer refused");
                let (status, kind) = match refusal {
                    Refusal::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
                    Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
                };
                return refuse(status, kind, &refusal.to_string());
            }
        }
    }
    let mut response = next.run(request).await;
    // What one viewer may see a shared cache must not hand to the next.
    let cache = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    if let Some(private) = cache.and_then(|it| it.strip_prefix("public")).map(|rest| format!("private{rest}"))
        && let Ok(value) = HeaderValue::from_str(&private)
    {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

fn refuse(status: StatusCode, kind: &'static str, detail: &str) -> Response {
    let mut response = problem(status, kind, detail);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A page of another origin must be able to read why.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned().into())
}

fn page(headers: &HeaderMap) -> Option<String> {
    let page = headers.get(header::REFERER).or_else(|| headers.get(header::ORIGIN))?;
    Some(page.to_str().ok()?.chars().take(512).collect())
}
