//! Errors as `application/problem+json` (RFC 9457).

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request failed: a status, a stable name, and a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `kind` becomes the stable `type`, `urn:swiftwater:problem:<kind>`.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), header: None }
    }

    /// An offer that `sfu` refused: 400 if the text is broken, 422 if it cannot be served.
    pub fn of_sdp(error: &sfu::sdp::Error) -> Self {
        let (status, kind) = if error.is_syntax() {
            (StatusCode::BAD_REQUEST, "sdp-malformed")
        } else {
            (StatusCode::UNPROCESSABLE_ENTITY, "sdp-unacceptable")
        };
        Self::new(status, kind, error.to_string())
    }

    /// A Peer that `sfu` could not make.
    pub fn of_sfu(error: &sfu::Error) -> Self {
        match error {
            sfu::Error::Sdp(error) => Self::of_sdp(error),
            sfu::Error::Layers { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-layers", error.to_string())
            }
            // Not the node is full but its client is greedy (RFC 6585 section 4).
            sfu::Error::Capacity(limit @ sfu::Limit::Address) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-peers", limit.advice()).retry_after(30)
            }
            sfu::Error::Capacity(limit) => {
                let kind = if *limit == sfu::Limit::Overload { "overloaded" } else { "capacity" };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, limit.advice()).retry_after(30)
            }
            other => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", other.to_string()).retry_after(10)
            }
        }
    }

    /// No token, or one that is not valid (RFC 6750 section 3).
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// With a header that the status needs.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// With `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.with(header::RETRY_AFTER, seconds.into())
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": format!("urn:swiftwater:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;
    use sfu::{Error, Limit};

    use super::*;

    #[tokio::test]
    async fn each_refusal_of_the_sfu_has_its_status_and_says_what_to_do() {
        let layers = Error::Layers { offered: 4, max: 2 };
        for (error, status, kind, retry_after, advice) in [
            (
                Error::Capacity(Limit::ViewersOfStream),
                503,
                "capacity",
                Some("30"),
                "play it by HLS, or try again",
            ),
            (Error::Capacity(Limit::Viewers), 503, "capacity", Some("30"), "play by HLS, or try again"),
            (Error::Capacity(Limit::Egress), 503, "capacity", Some("30"), "play by HLS, or try again"),
            (Error::Capacity(Limit::Peers), 503, "capacity", Some("30"), "try again in a minute"),
            (Error::Capacity(Limit::Overload), 503, "overloaded", Some("30"), "play by HLS, or try again"),
            (Error::Capacity(Limit::Address), 429, "too-many-peers", Some("30"), "close one and try again"),
            (layers, 422, "too-many-layers", None, "send fewer"),
            (Error::Stopping, 503, "unavailable", Some("10"), "this node is stopping"),
            (Error::NoAnswer, 503, "unavailable", Some("10"), "ask again in a few seconds"),
        ] {
            let response = Problem::of_sfu(&error).into_response();
            assert_eq!(response.status().as_u16(), status, "{error}");
            let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!(header(header::RETRY_AFTER), retry_after, "{error}");
            assert_eq!(header(header::CONTENT_TYPE), Some("application/problem+json"));
            let body = to_bytes(response.into_body(), 4096).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["type"], format!("urn:swiftwater:problem:{kind}"), "{error}");
            assert_eq!(body["status"], status, "{error}");
            let detail = body["detail"].as_str().expect("a sentence");
            assert!(detail.contains(advice), "{detail}");
        }
    }
}
