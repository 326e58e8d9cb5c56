//! Header rules: CORS, media types, tokens, entity tags, our own URL.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::Authority};
use axum::response::Response;
use secrecy::SecretString;
use sfu::IceServer;

use crate::percent;

/// The media type of offers and answers.
pub(super) const SDP: &str = "application/sdp";
/// The media type of trickled candidates (RFC 8840 section 9).
pub(super) const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Methods of an endpoint, and of a session.
pub(super) const ENDPOINT_METHODS: &str = "OPTIONS, GET, HEAD, POST";
pub(super) const SESSION_METHODS: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Lets pages of any origin publish and watch: the token, not the origin, is what grants (RFC 9725 section
/// 4.7). On every answer, errors too, or a page could not read why it failed.
pub async fn cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "OPTIONS, GET, HEAD, POST, PATCH, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location, Link, ETag, Accept-Post, Retry-After"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Says what an endpoint takes.
pub(super) fn accept_post() -> (HeaderName, HeaderValue) {
    (ACCEPT_POST, HeaderValue::from_static(SDP))
}

/// Says what a session takes.
pub(super) fn accept_patch() -> (HeaderName, HeaderValue) {
    (ACCEPT_PATCH, HeaderValue::from_static(SDP_FRAGMENT))
}

/// Names the ICE servers, one link per URL (RFC 9725 section 4.6). What stands in quotes was checked to need no
/// escape.
pub(super) fn link_ice_servers(headers: &mut HeaderMap, servers: &[IceServer]) {
    for server in servers {
        let credentials = match (&server.username, &server.credential) {
            (Some(username), Some(credential)) => format!(
                "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
            ),
            _ => String::new(),
        };
        for url in &server.urls {
            if let Ok(mut value) = HeaderValue::try_from(format!("<{url}>; rel=\"ice-server\"{credentials}"))
            {
                value.set_sensitive(true);
                headers.append(header::LINK, value);
            }
        }
    }
}

/// Whether the body is of this media type, whatever its parameters and case (RFC 9110 section 8.3.1).
pub(super) fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted))
}

/// The token: `Authorization: Bearer`, or `key` or `token` in the URL, for encoders that have one field only.
pub(super) fn token(headers: &HeaderMap, uri: &Uri) -> Option<SecretString> {
    bearer(headers).or_else(|| {
        let query = uri.query()?;
        let value = query.split('&').find_map(|pair| {
            pair.split_once('=').filter(|(name, _)| matches!(*name, "key" | "token")).map(|(_, value)| value)
        })?;
        Some(percent::decoded(value).into()).filter(|_| !value.is_empty())
    })
}

/// `Authorization: Bearer` alone. The scheme is case-insensitive (RFC 9110 section 11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned().into())
}

/// What `If-Match` asks for (RFC 9110 section 13.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Precondition {
    /// No header.
    Missing,
    /// The session as it is.
    Matches,
    /// Whatever there is: an ICE restart.
    Any,
    /// Another ICE session.
    Fails,
}

/// Compares `If-Match` with the session's tag. `"*"` in quotes is taken as `*`: the example in RFC 9725
/// section 4.3.2 quotes it.
pub(super) fn if_match(headers: &HeaderMap, tag: &str) -> Precondition {
    let mut seen = false;
    for value in headers.get_all(header::IF_MATCH) {
        seen = true;
        let Ok(value) = value.to_str() else { continue };
        for candidate in value.split(',').map(str::trim) {
            match candidate {
                "*" | "\"*\"" => return Precondition::Any,
                candidate if candidate == tag => return Precondition::Matches,
                _ => {}
            }
        }
    }
    if seen { Precondition::Fails } else { Precondition::Missing }
}

/// Scheme and host as the client sees them, if the request says: a proxy's `X-Forwarded-Proto`, the scheme
/// of HTTP/2, or what the caller knows. It is told back to the same client only, so it need not be trusted.
pub(super) fn origin(headers: &HeaderMap, uri: &Uri, secure: Option<bool>) -> Option<String> {
    let forwarded = headers
        .get("x-forwarded-proto")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(',').next())
        .map(str::trim);
    let scheme = match forwarded.or(uri.scheme_str()) {
        Some(scheme @ ("http" | "https")) => scheme,
        Some(_) => return None,
        None => match secure? {
            true => "https",
            false => "http",
        },
    };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host: Authority = host.or(uri.authority().map(Authority::as_str))?.parse().ok()?;
    Some(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn media_types_have_parameters_and_any_case() {
        for (value, is) in [
            ("application/sdp", true),
            ("Application/SDP ; charset=utf-8", true),
            ("application/sdpx", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_media_type(&headers(&[("content-type", value)]), SDP), is, "{value}");
        }
        assert!(!is_media_type(&HeaderMap::new(), SDP));
    }

    #[test]
    fn ice_servers_are_links() {
        let (username, credential) = (Some("7:p1".to_owned()), Some("c2VjcmV0".to_owned()));
        let urls = ["turn:a.example:3478?transport=udp", "turns:a.example"].map(str::to_owned).to_vec();
        let turn = IceServer { urls, username, credential };
        let urls = vec!["stun:b.example".to_owned()];
        let mut headers = HeaderMap::new();
        link_ice_servers(&mut headers, &[turn, IceServer { urls, username: None, credential: None }]);
        let links: Vec<&str> = headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
        let secret = "; username=\"7:p1\"; credential=\"c2VjcmV0\"; credential-type=\"password\"";
        assert_eq!(
            links,
            [
                format!("<turn:a.example:3478?transport=udp>; rel=\"ice-server\"{secret}").as_str(),
                format!("<turns:a.example>; rel=\"ice-server\"{secret}").as_str(),
                "<stun:b.example>; rel=\"ice-server\"",
            ]
        );
        assert!(!format!("{headers:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn tokens_come_by_header_or_url() {
        for (authorization, url, token_is) in [
            ("Bearer abc", "/whip", Some("abc")),
            ("bearer  abc ", "/whip", Some("abc")),
            ("Bearer ", "/whip", None),
            ("Basic abc", "/whip", None),
            ("", "/whip?x=1&key=a%2Db", Some("a-b")),
            ("", "/whip?token=t", Some("t")),
            ("", "/whip?token=", None),
            ("Bearer abc", "/whip?token=t", Some("abc")),
        ] {
            let headers = headers(&[("authorization", authorization)]);
            let got = token(&headers, &url.parse().unwrap());
            assert_eq!(got.as_ref().map(ExposeSecret::expose_secret), token_is, "{authorization} {url}");
        }
    }

    #[test]
    fn entity_tags_compare_strongly() {
        use Precondition::{Any, Fails, Matches, Missing};
        for (value, outcome) in [
            (None, Missing),
            (Some("\"u\""), Matches),
            (Some("\"x\", \"u\""), Matches),
            (Some("u"), Fails),
            (Some("W/\"u\""), Fails),
            (Some("\"x\""), Fails),
            (Some("*"), Any),
            (Some("\"*\""), Any),
        ] {
            let headers = value.map(|value| headers(&[("if-match", value)])).unwrap_or_default();
            assert_eq!(if_match(&headers, "\"u\""), outcome, "{value:?}");
        }
    }

    #[test]
    fn our_own_url_is_what_the_client_sees() {
        for (pairs, uri, secure, expected) in [
            (&[("host", "live.example:8080")][..], "/whip", Some(false), Some("http://live.example:8080")),
            (&[("host", "live.example")], "/whip", Some(true), Some("https://live.example")),
            (&[("host", "a"), ("x-forwarded-proto", "https, http")], "/whip", None, Some("https://a")),
            (&[("host", "a"), ("x-forwarded-proto", "gopher")], "/whip", None, None),
            (&[], "https://b/whip", None, Some("https://b")),
            (&[("host", "a")], "/whip", None, None),
            (&[("host", "a b/")], "/whip", Some(true), None),
            (&[], "/whip", Some(true), None),
        ] {
            let got = origin(&headers(pairs), &uri.parse().unwrap(), secure);
            assert_eq!(got.as_deref(), expected, "{pairs:?} {uri}");
        }
    }
}
