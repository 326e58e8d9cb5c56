//! HTTP: playlists that block, parts that block, cache headers, CORS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use media::{ChannelName, StreamId};
use tokio::time::Instant;

use crate::Packager;
use crate::directives::Directives;
use crate::file_name::FileName;
use crate::fmp4::Slices;
use crate::name::Name;
use crate::playlist::Rendered;
use crate::rendition::{Resource, Verdict};
use crate::session::Session;
use crate::stats;
use crate::variant;

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");

/// The URL holds the Stream's id, and what it names never changes.
pub(crate) const FOREVER: &str = "public, max-age=31536000, immutable";

/// Of answers that are right only until the Stream has gone on: caches that many share would give them to all who ask in
/// time.
const NOT_KEPT: u32 = 0;

/// Everything under `/hls/`.
pub fn routes(packager: Arc<Packager>) -> Router {
    Router::new()
        .route("/hls/{channel}/master.m3u8", get(multivariant))
        .route("/hls/{channel}/{stream}/{rendition}/{file}", get(file))
        .layer(middleware::from_fn(cors))
        .with_state(packager)
}

async fn multivariant(
    State(packager): State<Arc<Packager>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(session) = ChannelName::parse(&channel).ok().and_then(|channel| packager.current(&channel))
    else {
        return packager.missing("this channel is not live", 1);
    };
    let give_up = Instant::now() + packager.config().start_wait();
    let mut changes = session.watch_all();
    loop {
        changes.borrow_and_update();
        let status = session.status();
        match status.state {
            stats::State::Live if session.read(|presentation| presentation.welcomes()) => break,
            stats::State::Ended => return packager.missing("this channel is not live", 1),
            stats::State::Unsupported => {
                return packager.missing(&status.notes.join("; "), 1);
            }
            stats::State::Live | stats::State::Starting => {}
        }
        let _waiting = Waiting::new(&packager.requests.waiting);
        tokio::select! {
            _ = changes.changed() => {}
            // Unsupported shows without a change of a Rendition.
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
        if Instant::now() >= give_up {
            break;
        }
    }
    let list = session.read(|presentation| variant::multivariant(presentation, session.stream));
    if list.variants.is_empty() {
        return packager.stalled("the first segment is not there yet");
    }
    packager.requests.playlists.fetch_add(1, Ordering::Relaxed);
    // It changes when a Rendition appears and names the Stream: short.
    text(&headers, &Rendered::new(list.to_string()), "public, max-age=1")
}

async fn file(
    State(packager): State<Arc<Packager>>,
    Path((channel, stream, rendition, file)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let session = ChannelName::parse(&channel)
        .ok()
        .zip(StreamId::parse(&stream))
        .and_then(|(channel, stream)| packager.session(&channel, stream));
    let Some((session, name)) = session.zip(Name::parse(&rendition)) else {
        return packager.missing("there is no such stream or rendition", 1);
    };
    let Some(patience) = session.patience() else {
        return packager.missing("the first segment is not there yet", 1);
    };
    if file == "index.m3u8" {
        let query = query.unwrap_or_default();
        return packager.playlist(&session, name, &query, &headers, patience).await;
    }
    match FileName::parse(&file) {
        Some(file) => packager.media(&session, name, file, patience, &headers).await,
        None => packager.missing("there is no such file", patience.target_seconds()),
    }
}

impl Packager {
    async fn playlist(
        &self,
        session: &Session,
        name: Name,
        query: &str,
        headers: &HeaderMap,
        patience: crate::session::Patience,
    ) -> Response {
        let target = patience.target_seconds();
        let directives = match Directives::parse(query) {
            Ok(directives) => directives,
            Err(why) => return self.rejected(why, target),
        };
        let blocking = directives.wait_for.is_some();
        let asked = Instant::now().into_std();
        let mut changes = session.watch(name);
        loop {
            changes.borrow_and_update();
            let (verdict, changed_at) = session.read(|presentation| {
                let changed_at = presentation.rendition(name).and_then(|rendition| rendition.changed_at());
                (presentation.decide(name, &directives), changed_at)
            });
            match verdict {
                None => return self.missing("there is no such rendition", NOT_KEPT),
                Some(Verdict::Bad(why)) => return self.rejected(why, NOT_KEPT),
                Some(Verdict::Now) => break,
                Some(Verdict::Wait) => {}
            }
            let deadline = patience.deadline(asked, changed_at);
            let _waiting = Waiting::new(&self.requests.waiting);
            if tokio::time::timeout_at(deadline.into(), changes.changed()).await.is_err() {
                // Never the unchanged playlist: players ask again at once and starve themselves.
                return self.stalled("the source paused");
            }
        }
        let Some(rendered) = session.read(|presentation| presentation.playlist(name, &directives)) else {
            return self.missing("there is no such rendition", target);
        };
        self.requests.playlists.fetch_add(1, Ordering::Relaxed);
        let cache = match (blocking, target / 2) {
            // For caches that many share. The player of video.js asks for a part again that it knows, until
            // something else comes: its browser must not answer that.
            (true, _) => format!("public, max-age=0, s-maxage={}", 6 * target),
            (false, 0) => "no-cache".to_owned(),
            (false, half) => format!("public, max-age={half}"),
        };
        text(headers, &rendered, &cache)
    }

    async fn media(
        &self,
        session: &Session,
        name: Name,
        file: FileName,
        patience: crate::session::Patience,
        headers: &HeaderMap,
    ) -> Response {
        let target = patience.target_seconds();
        let asked = Instant::now().into_std();
        let mut changes = session.watch(name);
        loop {
            changes.borrow_and_update();
            let (found, to_come, changed_at) = session.read(|presentation| {
                let changed_at = presentation.rendition(name).and_then(|rendition| rendition.changed_at());
                (presentation.file(name, file), presentation.is_to_come(name, file), changed_at)
            });
            match found {
                Resource::Found(slices) => {
                    let length: usize = slices.iter().map(Slices::len).sum();
                    self.requests.files.fetch_add(1, Ordering::Relaxed);
                    self.requests.bytes.fetch_add(length as u64, Ordering::Relaxed);
                    return bytes(name, slices, length);
                }
                Resource::Recorded => {
                    let found = self.recorded(session.stream, name, file, headers).await;
                    return found.unwrap_or_else(|| self.missing("no longer listed", target));
                }
                Resource::Missing => {
                    let kept = if to_come { NOT_KEPT } else { target };
                    return self.missing("neither listed nor hinted", kept);
                }
                Resource::Hinted => {}
            }
            let deadline = patience.deadline(asked, changed_at);
            let _waiting = Waiting::new(&self.requests.waiting);
            if tokio::time::timeout_at(deadline.into(), changes.changed()).await.is_err() {
                return self.stalled("the source paused");
            }
        }
    }

    /// A file that left memory, from the recording.
    async fn recorded(
        &self,
        stream: StreamId,
        name: Name,
        file: FileName,
        headers: &HeaderMap,
    ) -> Option<Response> {
        let found = self.recordings()?.live_file(stream, name.as_str(), file, headers).await?;
        self.requests.files.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    fn rejected(&self, why: &str, max_age: u32) -> Response {
        self.requests.rejected.fetch_add(1, Ordering::Relaxed);
        problem(StatusCode::BAD_REQUEST, why, max_age)
    }

    fn missing(&self, why: &str, max_age: u32) -> Response {
        self.requests.missing.fetch_add(1, Ordering::Relaxed);
        problem(StatusCode::NOT_FOUND, why, max_age)
    }

    /// 503: for a moment, so no cache may keep it.
    fn stalled(&self, why: &str) -> Response {
        self.requests.stalled.fetch_add(1, Ordering::Relaxed);
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, why, NOT_KEPT);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

/// Counts a request that waits.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn text(headers: &HeaderMap, rendered: &Rendered, cache: &str) -> Response {
    let gzip = accepts_gzip(headers);
    let body = if gzip { &rendered.gzip } else { &rendered.plain };
    let mut response = Response::new(Body::from(body.clone()));
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, PLAYLIST);
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    set_cache(out, cache);
    response
}

fn bytes(name: Name, slices: Vec<Slices>, length: usize) -> Response {
    let pieces: Vec<Bytes> = slices.iter().flat_map(|slices| slices.pieces().iter().cloned()).collect();
    let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
    let mut response = Response::new(Body::from_stream(pieces));
    let out = response.headers_mut();
    let content_type = match name {
        Name::Video(_) => "video/mp4",
        Name::Audio => "audio/mp4",
    };
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(CONTENT_LENGTH, HeaderValue::from(length));
    set_cache(out, FOREVER);
    response
}

/// An answer that caches may keep for `max_age` seconds.
pub(crate) fn problem(status: StatusCode, detail: &str, max_age: u32) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = (status, body.to_string()).into_response();
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match max_age {
        NOT_KEPT => set_cache(out, "no-store"),
        _ => set_cache(out, &format!("public, max-age={max_age}")),
    }
    response
}

fn set_cache(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// `gzip` in Accept-Encoding, not with `q=0` (RFC 9110 section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parameters = coding.split(';').map(str::trim);
        let named = parameters.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parameters.any(|parameter| {
            let weight = parameter.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight.is_some_and(|weight| weight <= 0.0)
        });
        named && !refused
    })
}

/// Playlists and media are public: any page may play them.
pub(crate) async fn cors(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("content-length, date, age"));
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("range, accept-encoding"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}
