//! Extensions of a session (RFC 9725 section 4.8): resources beside it, announced by `Link` in the answer.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sfu::PeerHandle;

use super::endpoint::{Endpoint, method_not_allowed, read_text, remote};
use super::headers;
use super::problem::Problem;

const METHODS: &str = "OPTIONS, POST";

impl Endpoint {
    /// Takes a POST of JSON to `<prefix>/s/{id}/<extension>`, from whom the session is. `act` gets the Peer and the body,
    /// and must not wait: other sessions do meanwhile.
    pub async fn extension(
        &self,
        id: &str,
        request: Request,
        act: impl FnOnce(&PeerHandle, &str) -> Result<Response, Problem>,
    ) -> Response {
        match *request.method() {
            Method::POST => {}
            Method::OPTIONS => {
                return (StatusCode::OK, [(header::ALLOW, HeaderValue::from_static(METHODS))])
                    .into_response();
            }
            _ => return method_not_allowed(METHODS),
        }
        let remote = remote(&request);
        let served = async {
            self.check_rate(remote)?;
            let (parts, body) = request.into_parts();
            if !headers::is_media_type(&parts.headers, "application/json") {
                let detail = "Send the choice as application/json";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
            }
            let token = headers::bearer(&parts.headers);
            let text = read_text(&parts.headers, body).await?;
            let acted = self.sessions.with(id, |session| match session.allows(token.as_ref()) {
                true => act(&session.peer, &text),
                false => Err(Problem::unauthorized("This session was begun with another token")),
            });
            acted.unwrap_or_else(|| {
                let detail = "There is no such session (any more)";
                Err(Problem::new(StatusCode::NOT_FOUND, "no-session", detail))
            })
        };
        served.await.unwrap_or_else(|problem| self.refuse(remote, problem))
    }
}
