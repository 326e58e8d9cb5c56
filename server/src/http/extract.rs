//! Bodies, queries and paths, whose refusals are problems too.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use control::db::Page;
use media::ChannelName;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

fn refused(rejection: &JsonRejection) -> Problem {
    let kind = match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type",
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNPROCESSABLE_ENTITY => "invalid",
        _ => "bad-request",
    };
    Problem::new(rejection.status(), kind, rejection.body_text())
}

/// The query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match read {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", error.body_text())),
        }
    }
}

/// The variable parts of the path.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        match read {
            Ok(Path(path)) => Ok(Self(path)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", error.body_text())),
        }
    }
}

/// An id in a path: what cannot be one is of nothing.
pub(crate) fn checked_id(id: &str) -> Result<&str, Problem> {
    let fits = id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits { Ok(id) } else { Err(Problem::not_found("there is nothing with this id")) }
}

/// Which piece of a long list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Cursor {
    /// `next` of the piece before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Entries of a piece.
    #[serde(default)]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Entries of a piece, if the client does not say, and at most.
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 100;

/// Ids, names and logins are shorter.
const CURSOR_BYTES_MAX: usize = 64;

impl Cursor {
    /// The piece; refuses what cannot be one.
    pub(crate) fn page(self) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit is 1 to {LIMIT_MAX}")));
        }
        // A zero byte is no text for PostgreSQL.
        let wrong = |cursor: &String| cursor.len() > CURSOR_BYTES_MAX || cursor.contains('\0');
        if self.cursor.as_ref().is_some_and(wrong) {
            return Err(Problem::invalid("cursor is the `next` of the piece before"));
        }
        Ok(Page { after: self.cursor, limit })
    }
}

/// Where the next piece begins: after the last entry, if the piece is full.
pub(crate) fn next<T>(entries: &[T], limit: u32, name: impl Fn(&T) -> &str) -> Option<String> {
    entries.last().filter(|_| entries.len() >= limit as usize).map(|last| name(last).to_owned())
}

/// The name of a Channel in a path.
pub(crate) fn channel_name(text: &str) -> Result<ChannelName, Problem> {
    ChannelName::parse(text).map_err(|error| Problem::not_found(error.to_string()))
}
