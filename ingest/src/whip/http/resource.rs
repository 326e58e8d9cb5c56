//! A session resource: PATCH and DELETE (RFC 9725 sections 4.2 and 4.3).

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sfu::sdp::Fragment;

use super::endpoint::{Endpoint, method_not_allowed, read_text, remote};
use super::headers::{self, Precondition, SDP_FRAGMENT, SESSION_METHODS};
use super::problem::Problem;
use super::sessions::IceOffer;

impl Endpoint {
    /// Serves a request to `<prefix>/s/{id}`.
    pub async fn resource(&self, id: &str, request: Request) -> Response {
        if request.method() == Method::OPTIONS {
            let allow = (header::ALLOW, HeaderValue::from_static(SESSION_METHODS));
            return (StatusCode::OK, [headers::accept_patch(), allow]).into_response();
        }
        let remote = remote(&request);
        self.serve_session(id, remote, request).await.unwrap_or_else(|problem| self.refuse(remote, problem))
    }

    async fn serve_session(
        &self,
        id: &str,
        remote: SocketAddr,
        request: Request,
    ) -> Result<Response, Problem> {
        self.check_rate(remote)?;
        let token = headers::bearer(request.headers());
        let session = self.sessions.with(id, |session| (session.allows(token.as_ref()), session.tag.clone()));
        let Some((allowed, tag)) = session else { return Err(no_session()) };
        if !allowed {
            return Err(Problem::unauthorized("This session was begun with another token"));
        }
        match *request.method() {
            // Section 4.1: success without content.
            Method::GET | Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
            // No precondition: the client wants it gone whatever it has become. OBS wants exactly 200.
            Method::DELETE => {
                self.sessions.close(id);
                Ok(StatusCode::OK.into_response())
            }
            Method::PATCH => self.patch(id, &tag, request).await,
            _ => Ok(method_not_allowed(SESSION_METHODS)),
        }
    }

    async fn patch(&self, id: &str, tag: &str, request: Request) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        if !headers::is_media_type(&parts.headers, SDP_FRAGMENT) {
            let (name, value) = headers::accept_patch();
            let detail = "Send candidates as application/trickle-ice-sdpfrag";
            return Err(
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail).with(name, value)
            );
        }
        let precondition = headers::if_match(&parts.headers, tag);
        match precondition {
            Precondition::Missing => {
                let detail = "If-Match is required: the ETag of the answer";
                return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-required", detail));
            }
            Precondition::Fails => return Err(another_session()),
            Precondition::Matches | Precondition::Any => {}
        }
        let text = read_text(&parts.headers, body).await?;
        let fragment = Fragment::parse(&text).map_err(|error| Problem::of_sdp(&error))?;
        let expected = (precondition == Precondition::Matches).then_some(tag);
        match self.sessions.offer_ice(id, expected, fragment) {
            // The answer held all our candidates, and we take checks from wherever they come (peer-reflexive): what
            // the client trickles, resolvable or not, we need not know.
            IceOffer::Known => Ok(StatusCode::NO_CONTENT.into_response()),
            // RFC 9725 section 4.3.3: new credentials are an ICE restart; 200 with ours, under a new tag.
            IceOffer::Restarted { tag, fragment } => {
                let mut response = (StatusCode::OK, fragment).into_response();
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP_FRAGMENT));
                if let Ok(tag) = HeaderValue::try_from(tag) {
                    headers.insert(header::ETAG, tag);
                }
                Ok(response)
            }
            // Another PATCH was faster.
            IceOffer::Stale => Err(another_session()),
            IceOffer::Gone => Err(no_session()),
        }
    }
}

fn another_session() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "if-match-failed", "If-Match names another ICE session")
}

fn no_session() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-session", "There is no such session (any more)")
}
