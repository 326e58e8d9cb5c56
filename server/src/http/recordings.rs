//! `/api/v1/recordings`: what streams have left.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use control::{Authority, Denied};
use hls_packager::{Recording, RecordingState, Recordings, RemoveError};
use media::{ChannelName, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::operator::Operator;
use super::problem::problem;

/// Recordings in one answer, if the client does not say.
const LIMIT: usize = 50;

/// Recordings in one answer at most: about 400 bytes each.
const LIMIT_MAX: usize = 200;

/// What the routes show, and to whom.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) authority: Arc<Authority>,
    /// Recordings of a Channel that is in no table are for everybody.
    pub(crate) unknown_is_open: bool,
    pub(crate) operator: Operator,
}

impl Shelf {
    /// Whether this caller may know of a recording: whoever may watch it, and the operator.
    async fn shows(&self, recording: &Recording, caller: &Caller) -> bool {
        if caller.operator {
            return true;
        }
        let Ok(channel) = ChannelName::parse(&recording.channel) else { return false };
        let asked = control::Request::Play { channel: &channel, token: caller.token.as_deref() };
        match self.authority.authorize(asked).await {
            Ok(_) => true,
            Err(Denied::NoChannel { .. }) => self.unknown_is_open,
            Err(_) => false,
        }
    }

    fn caller(&self, client: SocketAddr, headers: &HeaderMap) -> Caller {
        let text = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let token = text.and_then(|text| text.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
        Caller { operator: self.operator.is(client, headers), token }
    }
}

/// Who asks.
struct Caller {
    operator: bool,
    /// A grant to watch.
    token: Option<String>,
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

pub(crate) fn routes(shelf: Shelf) -> Router {
    Router::new()
        .route("/api/v1/recordings", get(list))
        .route("/api/v1/recordings/{recording}", get(one).delete(remove))
        .with_state(shelf)
}

async fn list(
    State(shelf): State<Shelf>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
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
    let caller = shelf.caller(client, &headers);
    let (mut shown, mut before) = (Vec::new(), before);
    // One more than asked for, to know whether that is all.
    while shown.len() <= limit {
        let found = shelf.recordings.list(page.channel.as_deref(), before, LIMIT_MAX);
        let Some(oldest) = found.last().and_then(|last| StreamId::parse(&last.id)) else { break };
        before = Some(oldest);
        for recording in found {
            if shown.len() <= limit && shelf.shows(&recording, &caller).await {
                shown.push(recording);
            }
        }
    }
    let more = shown.len() > limit;
    shown.truncate(limit);
    let next = shown.last().filter(|_| more).map(|last| last.id.clone());
    let shown: Vec<Value> = shown.iter().map(describe).collect();
    Json(json!({ "recordings": shown, "nextCursor": next })).into_response()
}

async fn one(
    State(shelf): State<Shelf>,
    Path(recording): Path<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let Some(found) = StreamId::parse(&recording).and_then(|id| shelf.recordings.get(id)) else {
        return missing();
    };
    if shelf.shows(&found, &shelf.caller(client, &headers)).await {
        Json(describe(&found)).into_response()
    } else {
        // Whoever may not watch it does not hear that it is there.
        missing()
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
