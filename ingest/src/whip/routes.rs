//! The WHIP routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::any;
use media::ChannelName;
use secrecy::{ExposeSecret, SecretString};
use sfu::Sfu;
use sfu::sdp_publish::PublishOffer;
use tokio::sync::mpsc;
use tracing::warn;

use super::http::{Admitted, Endpoint, Offer, Problem, Stats, cors};
use crate::clock::now;
use crate::notice::Notices;
use crate::request::{Admission, Attempt, PublishRequest, Rejection, Transport, Written};

/// What the WHIP routes need.
#[derive(Debug)]
pub struct Whip {
    endpoint: Endpoint,
    admission: Admission,
    sfu: Sfu,
    notices: Notices,
}

impl Whip {
    /// Asks through `requests` who may publish. `public_url` is the server's URL without a slash at the end,
    /// if the operator configured one.
    pub fn new(requests: mpsc::Sender<PublishRequest>, sfu: Sfu, public_url: Option<Arc<str>>) -> Self {
        Self {
            endpoint: Endpoint::new("/whip", sfu.clone(), public_url),
            admission: Admission::new(requests),
            sfu,
            notices: Notices::default(),
        }
    }

    /// Says whether the server itself speaks HTTPS, so that its URLs can be absolute.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.endpoint = self.endpoint.secure(secure);
        self
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    async fn publish(&self, channel: Option<&str>, request: Request) -> Response {
        let offer = match self.endpoint.receive(request).await {
            Ok(offer) => offer,
            Err(response) => return response,
        };
        match self.admit(channel, &offer).await {
            Ok(admitted) => self.endpoint.created(offer, admitted),
            Err(problem) => {
                let (remote, status) = (offer.remote, problem.status());
                // What admission refused it has told the operator.
                if matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
                    self.notices.warn(now(), || {
                        warn!(peer = %remote, encoder = offer.agent, %problem, "WHIP offer refused");
                    });
                }
                self.endpoint.refuse(remote, problem)
            }
        }
    }

    async fn admit(&self, channel: Option<&str>, offer: &Offer) -> Result<Admitted, Problem> {
        let channel = channel
            .map(ChannelName::parse)
            .transpose()
            .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "no-channel", error.to_string()))?;
        let Some(key) = offer.token.clone() else {
            return Err(Problem::unauthorized("A stream key is needed: send it as the bearer token"));
        };
        // Read before admission: an offer that cannot be answered must not replace who is live.
        let parsed = PublishOffer::parse(&offer.sdp)
            .map_err(|error| Problem::of_sdp(&error))?
            .with_encoder(offer.agent.clone())
            .with_remote(offer.remote.ip());
        self.sfu.check_offer(&parsed).map_err(|error| Problem::of_sfu(&error))?;
        let attempt = Attempt {
            written: written(channel.as_ref(), &key, offer),
            channel,
            key,
            transport: Transport::Whip,
            remote: offer.remote,
            encoder: offer.agent.clone(),
            params: None,
        };
        let writer = self.admission.ask(attempt).await.map_err(|why| problem_of(&why))?;
        let channel = writer.stream().channel().clone();
        let ingestion = self.sfu.publish(writer, parsed).await.map_err(|error| Problem::of_sfu(&error))?;
        Ok(Admitted {
            channel,
            answer: ingestion.answer,
            events: ingestion.events,
            peer: ingestion.peer,
            companion: None,
        })
    }
}

/// What RTMP would say for this.
fn written(channel: Option<&ChannelName>, key: &SecretString, offer: &Offer) -> Written {
    let app = |channel: Option<&ChannelName>| match channel {
        Some(channel) => format!("live/{channel}"),
        None => "live".to_owned(),
    };
    let query = offer.query.expose_secret();
    let param = if query.is_empty() { String::new() } else { format!("?{query}") };
    // A key in the query stands there; another one is the publish name.
    let (app, stream) = match (offer.bearer, channel) {
        (false, Some(channel)) => (app(None), channel.as_str().to_owned().into()),
        (false, None) | (true, _) => (app(channel), key.clone()),
    };
    Written { app, stream, param: param.into() }
}

fn problem_of(why: &Rejection) -> Problem {
    let advice = why.advice();
    match why {
        Rejection::UnknownKey => Problem::unauthorized(advice),
        Rejection::Busy => Problem::new(StatusCode::CONFLICT, "busy", advice).retry_after(10),
        Rejection::Forbidden(_) => Problem::new(StatusCode::FORBIDDEN, "forbidden", advice),
        // Encoders give up at 403; here a good key is good again later.
        Rejection::TooMany { seconds, .. } => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", advice).retry_after(*seconds)
        }
        Rejection::Capacity => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "capacity", advice).retry_after(60)
        }
        Rejection::Unavailable => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", advice).retry_after(30)
        }
    }
}

/// `/whip`, `/whip/{channel}` and `/whip/s/{id}`.
pub fn routes(whip: impl Into<Arc<Whip>>) -> Router {
    let whip: Arc<Whip> = whip.into();
    Router::new()
        .route("/whip", any(by_key))
        .route("/whip/{channel}", any(by_channel))
        .route("/whip/s/{id}", any(session))
        .layer(map_response(cors))
        .with_state(whip)
}

async fn by_key(State(whip): State<Arc<Whip>>, request: Request) -> Response {
    whip.publish(None, request).await
}

async fn by_channel(
    State(whip): State<Arc<Whip>>,
    Path(channel): Path<String>,
    request: Request,
) -> Response {
    whip.publish(Some(&channel), request).await
}

async fn session(State(whip): State<Arc<Whip>>, Path(id): Path<String>, request: Request) -> Response {
    whip.endpoint.resource(&id, request).await
}
