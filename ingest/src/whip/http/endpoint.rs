//! The endpoint: takes offers, gives answers.

use std::any::Any;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use media::ChannelName;
use secrecy::SecretString;
use serde::Serialize;
use sfu::{IceSession, PeerEvent, PeerHandle, Sfu};
use tokio::sync::mpsc;

use super::failures::Failures;
use super::headers::{self, ENDPOINT_METHODS, SDP};
use super::problem::Problem;
use super::sessions::{Opening, Sessions};
use crate::clock::now;

/// Longest body: Chromium's offer with every codec and three layers has 7 KiB. Longer ones are 413.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest text that a client may tell about itself.
const TEXT_CHARS_MAX: usize = 128;

/// Takes offers at `<prefix>` and keeps sessions at `<prefix>/s/{id}`.
#[derive(Debug)]
pub struct Endpoint {
    prefix: &'static str,
    /// What the operator says our URL is.
    public_url: Option<Arc<str>>,
    /// Whether we serve HTTPS ourselves, if somebody told.
    secure: Option<bool>,
    /// Resources beside each session: path and relation.
    extensions: &'static [(&'static str, &'static str)],
    sfu: Sfu,
    pub(super) sessions: Sessions,
    pub(super) failures: Failures,
    created: AtomicU64,
    refused: AtomicU64,
    rate_limited: AtomicU64,
}

/// What an endpoint has counted. All but `sessions` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions now.
    pub sessions: u64,
    /// Sessions made.
    pub created: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests refused because their address had failed too often.
    pub rate_limited: u64,
}

/// An offer as it came.
pub struct Offer {
    /// The SDP.
    pub sdp: String,
    /// The token: a stream key, or what a viewer shows.
    pub token: Option<SecretString>,
    /// Whether the token came as `Authorization: Bearer`, not in the URL.
    pub bearer: bool,
    /// The query of the URL, with whatever secrets it has.
    pub query: SecretString,
    /// The page from which a browser asks, if it says so.
    pub page: Option<String>,
    /// From where.
    pub remote: SocketAddr,
    /// What the client calls itself.
    pub agent: Option<String>,
    /// `http://host`, if known; else empty, and our URLs are relative.
    pub origin: String,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("remote", &self.remote)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// An offer that was taken: what `sfu` made of it.
#[derive(Debug)]
pub struct Admitted {
    /// The channel, for the log.
    pub channel: ChannelName,
    /// The SDP answer.
    pub answer: String,
    /// What happens to the Peer.
    pub events: mpsc::Receiver<PeerEvent>,
    /// The Peer.
    pub peer: PeerHandle,
    /// Dropped when the Peer has ended: for whoever wants to know of it.
    pub companion: Option<Companion>,
}

/// Something that lives as long as a Peer.
pub type Companion = Box<dyn Any + Send>;

impl Endpoint {
    /// An endpoint under `prefix`, for example `/whip`, for Peers of `sfu`. `public_url` is the server's URL
    /// without a slash at the end, if the operator configured one.
    pub fn new(prefix: &'static str, sfu: Sfu, public_url: Option<Arc<str>>) -> Self {
        Self {
            prefix,
            public_url,
            secure: None,
            extensions: &[],
            sfu,
            sessions: Sessions::default(),
            failures: Failures::default(),
            created: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
        }
    }

    /// Says whether the server itself speaks HTTPS, so that its URLs can be absolute.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = Some(secure);
        self
    }

    /// Announces resources beside each session, each with its path under the session's and its link relation.
    #[must_use]
    pub fn extended(mut self, extensions: &'static [(&'static str, &'static str)]) -> Self {
        self.extensions = extensions;
        self
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len() as u64,
            created: self.created.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            rate_limited: self.rate_limited.load(Ordering::Relaxed),
        }
    }

    /// Takes a request to the endpoint: an offer, or the whole answer to anything else.
    ///
    /// # Errors
    /// The response, for all methods but POST and for a POST that brings no offer.
    pub async fn receive(&self, request: Request) -> Result<Offer, Response> {
        match *request.method() {
            Method::POST => {}
            // RFC 9725 section 4.2: OPTIONS says what is accepted, and the ICE servers (section 4.6). A browser that
            // only asks whether it may ask (CORS) needs none.
            Method::OPTIONS => {
                let allow = (header::ALLOW, HeaderValue::from_static(ENDPOINT_METHODS));
                let mut response = (StatusCode::OK, [headers::accept_post(), allow]).into_response();
                if !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
                    headers::link_ice_servers(response.headers_mut(), &self.sfu.ice_servers(None));
                }
                return Err(response);
            }
            // Section 4.1: success without content.
            Method::GET => return Err((StatusCode::NO_CONTENT, [headers::accept_post()]).into_response()),
            // A client may find out by HEAD what it talks to.
            Method::HEAD => {
                let kind = (header::CONTENT_TYPE, HeaderValue::from_static(SDP));
                return Err((StatusCode::OK, [kind, headers::accept_post()]).into_response());
            }
            _ => return Err(method_not_allowed(ENDPOINT_METHODS)),
        }
        let remote = remote(&request);
        self.receive_offer(remote, request).await.map_err(|problem| self.refuse(remote, problem))
    }

    async fn receive_offer(&self, remote: SocketAddr, request: Request) -> Result<Offer, Problem> {
        self.check_rate(remote)?;
        let (parts, body) = request.into_parts();
        if !headers::is_media_type(&parts.headers, SDP) {
            let (name, value) = headers::accept_post();
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Send the offer as application/sdp",
            )
            .with(name, value));
        }
        let token = headers::token(&parts.headers, &parts.uri);
        let bearer = headers::bearer(&parts.headers).is_some();
        let query = parts.uri.query().unwrap_or_default().to_owned().into();
        let page = text(&parts.headers, &header::REFERER).or_else(|| text(&parts.headers, &header::ORIGIN));
        let sdp = read_text(&parts.headers, body).await?;
        let origin = match &self.public_url {
            Some(url) => url.as_ref().to_owned(),
            None => headers::origin(&parts.headers, &parts.uri, self.secure).unwrap_or_default(),
        };
        let agent = text(&parts.headers, &header::USER_AGENT);
        Ok(Offer { sdp, token, bearer, query, page, remote, agent, origin })
    }

    /// Refuses what came from `remote`; what could be guessing is counted against it.
    pub fn refuse(&self, remote: SocketAddr, problem: Problem) -> Response {
        let status = problem.status();
        // No stream, no room: that is not the client's fault, and players ask again.
        let innocent = status.is_server_error()
            || matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS);
        if !innocent {
            self.failures.note(remote.ip(), now());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        problem.into_response()
    }

    /// Answers an offer: 201 with the answer, and the session under a URL of its own.
    pub fn created(&self, offer: Offer, admitted: Admitted) -> Response {
        let Admitted { channel, answer, events, peer, companion } = admitted;
        let ice_servers = self.sfu.ice_servers(Some(peer.id()));
        let opening = Opening {
            protocol: self.prefix.trim_start_matches('/'),
            channel,
            remote_ufrag: attribute(&offer.sdp, "a=ice-ufrag:"),
            head: IceSession::head_of(&answer),
            token: offer.token,
            peer,
            events,
            companion,
        };
        let Some((id, tag)) = self.sessions.open(opening) else {
            let full = "This server has no room for another session";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", full);
            return self.refuse(offer.remote, problem.retry_after(10));
        };
        self.created.fetch_add(1, Ordering::Relaxed);
        // Without a query: OBS builds its DELETE on it as it stands.
        let location = format!("{}{}/s/{id}", offer.origin, self.prefix);
        let links =
            self.extensions.iter().map(|(path, relation)| format!("<{location}/{path}>; rel=\"{relation}\""));
        let links: Vec<HeaderValue> = links.filter_map(|link| HeaderValue::try_from(link).ok()).collect();
        let mut response = (StatusCode::CREATED, answer).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
        for (name, value) in [(header::LOCATION, location), (header::ETAG, tag)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        for link in links {
            headers.append(header::LINK, link);
        }
        headers::link_ice_servers(headers, &ice_servers);
        response
    }

    /// 429 if this address failed too often.
    pub(super) fn check_rate(&self, remote: SocketAddr) -> Result<(), Problem> {
        let Some(wait) = self.failures.wait(remote.ip(), now()) else { return Ok(()) };
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-failures",
            format!("Too many failed requests from this address: wait {seconds} s and check the key"),
        )
        .retry_after(seconds))
    }
}

/// 405 with what is allowed (RFC 9110 section 15.5.6).
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", format!("Allowed here: {allowed}"))
        .with(header::ALLOW, HeaderValue::from_static(allowed))
        .into_response()
}

/// The client's address. In a test without a socket there is none.
pub(super) fn remote(request: &Request) -> SocketAddr {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or((Ipv4Addr::UNSPECIFIED, 0).into(), |ConnectInfo(remote)| *remote)
}

/// Reads a body of text.
pub(super) async fn read_text(headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let too_large = || {
        let detail = format!("The body is longer than {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let cut_off = || Problem::new(StatusCode::BAD_REQUEST, "body", "The body did not come whole and in time");
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = read.map_err(|_elapsed| cut_off())?.map_err(|error| {
        let error = error.into_inner();
        // The only error of `to_bytes` itself is its limit; others are of the connection.
        if error.is::<http_body_util::LengthLimitError>() { too_large() } else { cut_off() }
    })?;
    String::from_utf8(bytes.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "sdp-malformed", "The body is not UTF-8"))
}

/// What a client tells about itself.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.chars().take(TEXT_CHARS_MAX).collect())
}

/// The value of the first such line of an SDP.
fn attribute(sdp: &str, prefix: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix(prefix)).map(str::to_owned)
}
