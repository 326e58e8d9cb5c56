//! WHEP: watching by WebRTC with one HTTP request (draft-ietf-wish-whep).
//!
//! The HTTP is the one of WHIP (`ingest::whip::http`, ADR 0011); the subscription is the one of the gateway:
//! `Sfu::subscribe`.

mod layer;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::any;
use control::hooks::{Caller, Gate, Refusal};
use control::{Authority, Denied};
use ingest::whip::http::{Admitted, Companion, Endpoint, Offer, Problem, Stats, cors};
use media::{ChannelName, Codec, Hub};
use secrecy::ExposeSecret;
use sfu::Sfu;
use sfu::sdp::SubscribeOffer;

/// When a player should ask again for a channel that nobody publishes on: a Stream is announced by the
/// gateway anyway, so this is for players without it.
const OFFLINE_RETRY_SECONDS: u32 = 5;

/// What a session can do besides. Server-sent events are not among it: the gateway tells of Layers.
const EXTENSIONS: &[(&str, &str)] = &[("layer", layer::RELATION)];

/// What the WHEP routes need.
pub struct Whep {
    endpoint: Endpoint,
    hub: Arc<Hub>,
    sfu: Sfu,
    authority: Arc<Authority>,
    gate: Option<Arc<Gate>>,
}

impl Whep {
    /// Subscribes to the Streams of `hub` those whom `authority` lets. `public_url` is the server's URL
    /// without a slash at the end, if the operator configured one.
    pub fn new(hub: Arc<Hub>, sfu: Sfu, authority: Arc<Authority>, public_url: Option<Arc<str>>) -> Self {
        let endpoint = Endpoint::new("/whep", sfu.clone(), public_url).extended(EXTENSIONS);
        Self { endpoint, hub, sfu, authority, gate: None }
    }

    /// Says whether the server itself speaks HTTPS, so that its URLs can be absolute.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.endpoint = self.endpoint.secure(secure);
        self
    }

    /// Asks at this gate as well.
    #[must_use]
    pub fn gated(mut self, gate: Arc<Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    async fn watch(&self, channel: &str, request: Request) -> Response {
        let offer = match self.endpoint.receive(request).await {
            Ok(offer) => offer,
            Err(response) => return response,
        };
        match self.admit(channel, &offer).await {
            Ok(admitted) => self.endpoint.created(offer, admitted),
            Err(problem) => self.endpoint.refuse(offer.remote, problem),
        }
    }

    async fn admit(&self, channel: &str, offer: &Offer) -> Result<Admitted, Problem> {
        let no_channel = |why: String| Problem::new(StatusCode::NOT_FOUND, "no-channel", why);
        let channel = ChannelName::parse(channel).map_err(|error| no_channel(error.to_string()))?;
        let token = offer.token.as_ref().map(ExposeSecret::expose_secret);
        let asked = control::Request::Play { channel: &channel, token };
        self.authority.authorize(asked).await.map_err(|denied| match denied {
            Denied::NoChannel { .. } => no_channel(denied.to_string()),
            Denied::GrantVoid { .. } => Problem::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()),
            _ => Problem::unauthorized(denied.to_string()),
        })?;
        let parsed = SubscribeOffer::parse(&offer.sdp).map_err(|error| Problem::of_sdp(&error))?;
        let parsed = parsed.with_remote(offer.remote.ip());
        let Some(stream) = self.hub.stream(&channel) else {
            let detail = "Nobody publishes on this channel now";
            return Err(
                Problem::new(StatusCode::CONFLICT, "offline", detail).retry_after(OFFLINE_RETRY_SECONDS)
            );
        };
        if let Some(codec) = parsed.lacks(&stream) {
            return Err(cannot_decode(codec, &channel, &offer.origin));
        }
        let visit = match &self.gate {
            Some(gate) => Some(gate.play(&caller(&channel, offer)).await.map_err(|why| problem_of(&why))?),
            None => None,
        };
        let subscription =
            self.sfu.subscribe(stream, parsed).await.map_err(|error| Problem::of_sfu(&error))?;
        Ok(Admitted {
            channel,
            answer: subscription.answer,
            events: subscription.events,
            peer: subscription.peer,
            companion: visit.map(|visit| Box::new(visit) as Companion),
        })
    }
}

fn caller(channel: &ChannelName, offer: &Offer) -> Caller {
    let bearer = offer.token.as_ref().filter(|_| offer.bearer);
    let (remote, query) = (offer.remote.ip(), offer.query.expose_secret());
    Caller::viewer("whep", remote, channel.clone(), query, bearer).on_page(offer.page.clone())
}

fn problem_of(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Forbidden(_) => Problem::new(StatusCode::FORBIDDEN, "forbidden", detail),
        Refusal::Unavailable => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(10)
        }
    }
}

/// The picture comes in a codec or profile that was not offered. A WHEP player can be told only now.
fn cannot_decode(codec: Codec, channel: &ChannelName, origin: &str) -> Problem {
    let url = format!("{origin}/hls/{channel}/master.m3u8");
    let name = codec.name();
    let detail = format!(
        "The picture of this stream is {name}, and the offer has no payload type for it: offer {name}, or play what \
         HLS carries of the stream: {url}"
    );
    let problem = Problem::new(StatusCode::NOT_ACCEPTABLE, "codec", detail);
    match HeaderValue::from_str(&format!(
        "<{url}>; rel=\"alternate\"; type=\"application/vnd.apple.mpegurl\""
    )) {
        Ok(link) => problem.with(header::LINK, link),
        Err(_) => problem,
    }
}

/// `/whep/{channel}`, `/whep/s/{id}` and `/whep/s/{id}/layer`.
pub fn routes(whep: impl Into<Arc<Whep>>) -> Router {
    let whep: Arc<Whep> = whep.into();
    Router::new()
        .route("/whep/{channel}", any(channel))
        .route("/whep/s/{id}", any(session))
        .route("/whep/s/{id}/layer", any(layer_of_session))
        .layer(map_response(cors))
        .with_state(whep)
}

async fn channel(State(whep): State<Arc<Whep>>, Path(channel): Path<String>, request: Request) -> Response {
    whep.watch(&channel, request).await
}

async fn layer_of_session(
    State(whep): State<Arc<Whep>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    whep.endpoint.extension(&id, request, layer::choose).await
}

async fn session(State(whep): State<Arc<Whep>>, Path(id): Path<String>, request: Request) -> Response {
    whep.endpoint.resource(&id, request).await
}
