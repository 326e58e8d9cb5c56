//! Errors as `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::account;
use control::db;
use serde_json::json;
use tracing::warn;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// When to come back after something that may pass.
const RETRY_SECONDS: u64 = 5;

/// A problem response. `kind` is a stable name; `detail` says what to do.
pub(crate) fn problem(status: StatusCode, kind: &'static str, detail: &str) -> Response {
    Problem::new(status, kind, detail).into_response()
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

impl Problem {
    /// `kind` is a stable name; `detail` says what to do.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), retry_after: None }
    }

    /// Says when the same request may succeed.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "Sign in, or send an API token: Authorization: Bearer swt_…";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(RETRY_SECONDS)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:swiftwater:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2: 401 must say how to authenticate.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Taken(_) => Self::new(StatusCode::CONFLICT, "taken", error.to_string()),
            db::Error::Missing(_) => Self::not_found(error.to_string()),
            db::Error::Full(_) => Self::new(StatusCode::CONFLICT, "full", error.to_string()),
            error => {
                // The engine's words are for the operator.
                warn!(%error, "a request failed at the database");
                Self::unavailable("The database does not answer: try again")
            }
        }
    }
}

impl From<account::Error> for Problem {
    fn from(error: account::Error) -> Self {
        let detail = error.to_string();
        match error {
            account::Error::Credentials => Self::new(StatusCode::UNAUTHORIZED, "credentials", detail),
            account::Error::Forbidden(_) => Self::forbidden(detail),
            account::Error::Invalid(_) => Self::invalid(detail),
            account::Error::TooMany { seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", detail).retry_after(seconds)
            }
            account::Error::Busy => Self::unavailable(detail),
            account::Error::Database(error) => error.into(),
            _ => Self::unavailable(detail),
        }
    }
}

/// The shape of a problem, for the OpenAPI document.
#[derive(utoipa::ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "the document alone reads it")]
pub(crate) struct ProblemShape {
    /// `urn:swiftwater:problem:` and a stable name.
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong and what to do.
    detail: String,
}

/// The problems that any request can meet, for the OpenAPI document.
pub(crate) struct Problems;

impl utoipa::IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let described = [
            (400, "The request cannot be read"),
            (401, "Nobody is signed in, or the password or token is wrong"),
            (403, "Whoever is signed in may not do this"),
            (404, "There is no such thing"),
            (405, "Not by this method"),
            (409, "It is there already, or there are too many"),
            (413, "The body is too long"),
            (415, "The body is not application/json"),
            (422, "A value cannot be"),
            (429, "Too many requests, or too many failures"),
            (503, "Not at the moment: see Retry-After"),
        ];
        described
            .into_iter()
            .map(|(status, description)| {
                let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
                let content = ContentBuilder::new().schema(Some(schema)).build();
                let response = ResponseBuilder::new()
                    .description(description)
                    .content("application/problem+json", content)
                    .build();
                (status.to_string(), RefOr::T(response))
            })
            .collect()
    }
}
