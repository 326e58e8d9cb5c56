//! The door of HLS: a channel that is not for everybody needs a grant on every request.
//!
//! The grant stands in the path, `/hls/t/{grant}/{channel}/…`, so that all URLs of the playlists below inherit it: native
//! players send neither headers nor queries on. `Authorization: Bearer` and `?token=` open the door too; the second leads to
//! the path.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use control::{Authority, Denied};
use media::ChannelName;
use tower::ServiceExt;

use super::problem::Problem;

/// What the door stands in front of.
struct Guard {
    authority: Arc<Authority>,
    inner: Router,
}

/// `inner` answers below `/hls/`; nobody gets there without passing the door.
pub(crate) fn hls(authority: Arc<Authority>, inner: Router) -> Router {
    Router::new().route("/hls/{*rest}", any(pass)).with_state(Arc::new(Guard { authority, inner }))
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request) -> Response {
    let rest = request.uri().path().strip_prefix("/hls/").unwrap_or_default();
    let (in_path, rest) = match grant_in_path(rest) {
        Some((token, rest)) => (Some(token.to_owned()), rest.to_owned()),
        None => (None, rest.to_owned()),
    };
    let channel = rest.split('/').next().and_then(|name| ChannelName::parse(name).ok());
    // A preflight has no grant, and carries nothing.
    let Some(channel) = channel.filter(|_| request.method() != Method::OPTIONS) else {
        return enter(&guard, request, in_path.is_some(), &rest).await;
    };
    let in_query = in_path.is_none().then(|| query_token(request.uri())).flatten();
    let token = in_path.clone().or_else(|| bearer(&request)).or_else(|| in_query.clone());
    let asked = control::Request::Play { channel: &channel, token: token.as_deref() };
    match guard.authority.authorize(asked).await {
        Ok(grant) if grant.public => enter(&guard, request, in_path.is_some(), &rest).await,
        Ok(_) => {
            if let Some(token) = in_query {
                return to_path(&token, &rest);
            }
            let mut response = enter(&guard, request, in_path.is_some(), &rest).await;
            // What caches keep for others would be open to others.
            keep_private(&mut response);
            response
        }
        // The packager says in its own words that there is nothing.
        Err(Denied::NoChannel { .. }) => enter(&guard, request, in_path.is_some(), &rest).await,
        Err(denied) => refuse(&denied),
    }
}

async fn enter(guard: &Guard, mut request: Request, rewrite: bool, rest: &str) -> Response {
    if rewrite {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        match Uri::try_from(format!("/hls/{rest}{query}")) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Problem::not_found("There is nothing at this address").into_response(),
        }
    }
    match guard.inner.clone().oneshot(request).await {
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

fn to_path(token: &str, rest: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/hls/t/{token}/{rest}")) {
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
        Some(text) if !text.contains("no-store") => text.replace("public", "private"),
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
    use super::*;

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
