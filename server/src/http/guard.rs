//! The doors of HLS and of recordings: a channel that is not for everybody needs a grant on every request.
//!
//! The grant stands in the path, `/hls/t/{grant}/{channel}/…` and `/vod/t/{grant}/{recording}/…`, so that all URLs of the playlists below inherit it: native
//! players send neither headers nor queries on. `Authorization: Bearer` and `?token=` open the door too; the second leads to
//! the path.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use control::{Authority, Denied};
use hls_packager::{Recording, Recordings};
use media::{ChannelName, StreamId};
use tower::ServiceExt;

use super::problem::Problem;
use crate::outcomes::was_of;

/// A door, and what it stands in front of.
struct Guard {
    authority: Arc<Authority>,
    inner: Router,
    prefix: &'static str,
    /// Where a recording's id says the Channel.
    recordings: Option<Arc<Recordings>>,
    /// A Channel that nobody here knows is for everybody: a backend decides about Channels.
    unknown_is_open: bool,
}

/// What a path is about.
enum Subject {
    /// Nothing that the door knows: what is inside says so in its own words.
    Nothing,
    /// A recording of nobody knows whom, or of a Channel that was removed, whoever has its name now.
    Nobodys,
    Channel(ChannelName),
}

/// `inner` answers below `/hls/`; nobody gets there without passing the door.
pub(crate) fn hls(authority: Arc<Authority>, inner: Router) -> Router {
    // The packager says in its own words that there is nothing live.
    door(Guard { authority, inner, prefix: "/hls/", recordings: None, unknown_is_open: true })
}

/// The same below `/vod/`, for recordings. `unknown_is_open`: a Channel that is in no table is for everybody, because a
/// backend decides about Channels; else what a Channel that was removed has left is for nobody.
pub(crate) fn vod(
    authority: Arc<Authority>,
    recordings: Arc<Recordings>,
    unknown_is_open: bool,
    inner: Router,
) -> Router {
    door(Guard { authority, inner, prefix: "/vod/", recordings: Some(recordings), unknown_is_open })
}

fn door(guard: Guard) -> Router {
    Router::new().route(&format!("{}{{*rest}}", guard.prefix), any(pass)).with_state(Arc::new(guard))
}

impl Guard {
    fn subject(&self, first: &str) -> Subject {
        let Some(recordings) = &self.recordings else {
            return ChannelName::parse(first).map_or(Subject::Nothing, Subject::Channel);
        };
        match StreamId::parse(first).and_then(|id| recordings.get(id)) {
            None => Subject::Nothing,
            Some(found) => match ChannelName::parse(&found.channel) {
                Ok(name) if !self.has_changed_hands(&found, &name) => Subject::Channel(name),
                _ => Subject::Nobodys,
            },
        }
    }

    /// Whether another Channel has the name of the one that was recorded.
    fn has_changed_hands(&self, recording: &Recording, name: &ChannelName) -> bool {
        self.authority.channel(name).is_some_and(|channel| !was_of(recording, &channel))
    }
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request) -> Response {
    let rest = request.uri().path().strip_prefix(guard.prefix).unwrap_or_default();
    let (in_path, rest) = match grant_in_path(rest) {
        Some((token, rest)) => (Some(token.to_owned()), rest.to_owned()),
        None => (None, rest.to_owned()),
    };
    // A preflight has no grant, and carries nothing.
    let asks = request.method() != Method::OPTIONS;
    let channel = match rest.split('/').next().map(|first| guard.subject(first)) {
        Some(Subject::Channel(channel)) if asks => channel,
        Some(Subject::Nobodys) if asks => return removed(),
        _ => return enter(&guard, request, in_path.is_some(), &rest).await,
    };
    let in_query = in_path.is_none().then(|| query_token(request.uri())).flatten();
    let token = in_path.clone().or_else(|| bearer(&request)).or_else(|| in_query.clone());
    let asked = control::Request::Play { channel: &channel, token: token.as_deref() };
    match guard.authority.authorize(asked).await {
        Ok(grant) if grant.public => enter(&guard, request, in_path.is_some(), &rest).await,
        Ok(_) => {
            if let Some(token) = in_query {
                return to_path(guard.prefix, &token, &rest);
            }
            let mut response = enter(&guard, request, in_path.is_some(), &rest).await;
            // What caches keep for others would be open to others.
            keep_private(&mut response);
            response
        }
        Err(Denied::NoChannel { .. }) if guard.unknown_is_open => {
            enter(&guard, request, in_path.is_some(), &rest).await
        }
        Err(Denied::NoChannel { .. }) => removed(),
        Err(denied) => refuse(&denied),
    }
}

/// A recording whose Channel is not there any more, so that nobody can say who may watch it.
fn removed() -> Response {
    let mut response = Problem::not_found("The channel of this recording was removed").into_response();
    open_to_pages(&mut response);
    response
}

async fn enter(guard: &Guard, request: Request, rewrite: bool, rest: &str) -> Response {
    let (mut parts, body) = request.into_parts();
    if rewrite {
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        match Uri::try_from(format!("{}{rest}{query}", guard.prefix)) {
            Ok(uri) => parts.uri = uri,
            Err(_) => return Problem::not_found("There is nothing at this address").into_response(),
        }
    }
    // Our own `rest` would count among the parts of the path that the routes inside read.
    let client = parts.extensions.remove::<ConnectInfo<SocketAddr>>();
    parts.extensions.clear();
    if let Some(client) = client {
        parts.extensions.insert(client);
    }
    match guard.inner.clone().oneshot(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// `t/{grant}/` at the beginning. A channel may be called `t`; no stream id has two dots, as grants have.
fn grant_in_path(rest: &str) -> Option<(&str, &str)> {
    let (token, rest) = rest.strip_prefix("t/")?.split_once('/')?;
    (token.matches('.').count() == 2).then_some((token, rest))
}

fn bearer(request: &Request) -> Option<String> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(text.strip_prefix("Bearer ")?.trim().to_owned())
}

fn query_token(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "token").map(|(_, value)| value.to_owned())
}

fn to_path(prefix: &str, token: &str, rest: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("{prefix}t/{token}/{rest}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    open_to_pages(&mut response);
    keep_private(&mut response);
    response
}

fn refuse(denied: &Denied) -> Response {
    let problem = match denied {
        Denied::GrantNeeded { .. } | Denied::GrantInvalid(_) => {
            Problem::new(StatusCode::UNAUTHORIZED, "grant-needed", denied.to_string())
        }
        Denied::Unavailable => Problem::unavailable(denied.to_string()),
        denied => Problem::forbidden(denied.to_string()),
    };
    let mut response = problem.into_response();
    open_to_pages(&mut response);
    keep_private(&mut response);
    response
}

/// Players on pages of others must be able to read why (the packager's own answers say so themselves).
fn open_to_pages(response: &mut Response) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

fn keep_private(response: &mut Response) {
    let headers = response.headers_mut();
    let ours = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let private = match ours {
        Some(text) if !text.contains("no-store") => {
            let shared = |it: &&str| *it != "public" && *it != "private" && !it.starts_with("s-maxage");
            let rest: Vec<&str> = text.split(',').map(str::trim).filter(shared).collect();
            std::iter::once("private").chain(rest).collect::<Vec<_>>().join(", ")
        }
        _ => "no-store".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&private) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    // The grant stands in the address: nobody else is told of it.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Path;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn the_routes_inside_read_their_own_parts_of_the_path() {
        let name = ChannelName::parse("ana").expect("valid");
        let channel = control::ChannelConfig {
            name,
            title: String::new(),
            keys: Vec::new(),
            rewind_s: None,
            rewind_mib: None,
        };
        let read = |Path((channel, file)): Path<(String, String)>| async move { format!("{channel} {file}") };
        let inner = Router::new().route("/hls/{channel}/{file}", get(read));
        let router = hls(Arc::new(Authority::new(&[channel])), inner);
        for address in ["/hls/ana/x.m4s", "/hls/t/a.b.c/ana/x.m4s"] {
            let request = Request::get(address).body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("infallible");
            let body = to_bytes(response.into_body(), 1024).await.expect("a body");
            assert_eq!(body, "ana x.m4s", "{address}");
        }
    }

    #[test]
    fn what_needs_a_grant_is_kept_by_nobody_for_others() {
        for (given, kept) in [
            ("public, max-age=1", "private, max-age=1"),
            ("public, max-age=31536000, immutable", "private, max-age=31536000, immutable"),
            ("max-age=0, s-maxage=5", "private, max-age=0"),
            ("no-store", "no-store"),
        ] {
            let mut response = [(header::CACHE_CONTROL, given)].into_response();
            keep_private(&mut response);
            assert_eq!(response.headers()[header::CACHE_CONTROL], kept);
        }
    }

    #[test]
    fn a_grant_is_told_from_a_channel_called_t() {
        assert_eq!(grant_in_path("t/a.b.c/ana/master.m3u8"), Some(("a.b.c", "ana/master.m3u8")));
        assert_eq!(grant_in_path("t/master.m3u8"), None);
        assert_eq!(grant_in_path("t/s0000000000000/v/index.m3u8"), None);
        assert_eq!(grant_in_path("ana/master.m3u8"), None);
        assert_eq!(
            query_token(&Uri::from_static("/hls/a/master.m3u8?x=1&token=a.b.c")).as_deref(),
            Some("a.b.c")
        );
    }
}
