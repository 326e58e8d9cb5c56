//! `/api/v1/recordings`: what streams have left.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hls_packager::{Recording, RecordingState, Recordings, RemoveError};
use media::StreamId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::operator::Operator;
use super::problem::problem;

/// Recordings in one answer, if the client does not say.
const LIMIT: usize = 50;

/// Recordings in one answer at most: about 400 bytes each.
const LIMIT_MAX: usize = 200;

#[derive(Clone)]
struct Shelf {
    recordings: Arc<Recordings>,
    operator: Operator,
}

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    channel: Option<String>,
    /// Where the page before ended.
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(crate) fn routes(recordings: Arc<Recordings>, operator: Operator) -> Router {
    Router::new()
        .route("/api/v1/recordings", get(list))
        .route("/api/v1/recordings/{recording}", get(one).delete(remove))
        .with_state(Shelf { recordings, operator })
}

async fn list(
    State(shelf): State<Shelf>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad-query", &error.body_text()),
    };
    let limit = page.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return problem(StatusCode::BAD_REQUEST, "bad-query", &format!("limit must be 1 to {LIMIT_MAX}"));
    }
    let before = match page.cursor.as_deref().map(StreamId::parse) {
        Some(None) => {
            let why = "cursor must be the nextCursor of an answer";
            return problem(StatusCode::BAD_REQUEST, "bad-query", why);
        }
        cursor => cursor.flatten(),
    };
    // One more than asked for, to know whether that is all.
    let mut found = shelf.recordings.list(page.channel.as_deref(), before, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.id.clone());
    let found: Vec<Value> = found.iter().map(describe).collect();
    Json(json!({ "recordings": found, "nextCursor": next })).into_response()
}

async fn one(State(shelf): State<Shelf>, Path(recording): Path<String>) -> Response {
    match StreamId::parse(&recording).and_then(|id| shelf.recordings.get(id)) {
        Some(found) => Json(describe(&found)).into_response(),
        None => missing(),
    }
}

async fn remove(
    State(shelf): State<Shelf>,
    Path(recording): Path<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !shelf.operator.is(client, &headers) {
        let why = "Recordings are removed by the operator: ask from the server itself (127.0.0.1)";
        return problem(StatusCode::FORBIDDEN, "forbidden", why);
    }
    let Some(id) = StreamId::parse(&recording) else { return missing() };
    // It renames a folder: a disk that stands still holds nobody else up.
    let removed = tokio::task::spawn_blocking(move || shelf.recordings.remove(id)).await;
    match removed.unwrap_or(Err(RemoveError::Missing)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(RemoveError::Missing) => missing(),
        Err(error @ RemoveError::Live) => problem(StatusCode::CONFLICT, "live", &error.to_string()),
    }
}

fn missing() -> Response {
    problem(StatusCode::NOT_FOUND, "no-recording", "There is no such recording")
}

/// A recording, and where to get what there is of it.
fn describe(recording: &Recording) -> Value {
    let mut value = json!(recording);
    let plays = matches!(recording.state, RecordingState::Processing | RecordingState::Ready);
    let base = format!("/vod/{}", recording.id);
    value["hls"] = json!(plays.then(|| format!("{base}/master.m3u8")));
    value["mp4"] = json!(recording.mp4_bytes.map(|_| format!("{base}/video.mp4")));
    value
}
