//! HTTP of recordings: `/vod/{recording}/…`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use media::StreamId;

use super::MP4;
use super::file::{self, Kind};
use crate::file_name::FileName;
use crate::recording::{RecordingState, Recordings};
use crate::routes::{FOREVER, cors, problem, text};

/// The playlists of a recording do not change, but it may be removed.
pub(crate) const LISTED: &str = "public, max-age=60";

/// The MP4 file of a recording: as [`LISTED`], but it is large.
pub(crate) const DOWNLOAD: &str = "public, max-age=86400";

/// How long a cache may say that there is none, in seconds.
const MISSING_S: u32 = 1;

/// Everything under `/vod/`.
pub fn routes(recordings: Arc<Recordings>) -> Router {
    Router::new()
        .route("/vod/{recording}/master.m3u8", get(multivariant))
        .route("/vod/{recording}/video.mp4", get(mp4))
        .route("/vod/{recording}/{rendition}/{file}", get(media))
        .layer(middleware::from_fn(cors))
        .with_state(recordings)
}

async fn multivariant(
    State(recordings): State<Arc<Recordings>>,
    Path(recording): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = StreamId::parse(&recording) else { return missing("there is no such recording") };
    match blocking(&recordings, move |it| it.vod(id)).await {
        Some(vod) => text(&headers, vod.multivariant(), LISTED),
        None => missing(&why_not(&recordings, id)),
    }
}

async fn media(
    State(recordings): State<Arc<Recordings>>,
    Path((recording, rendition, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = StreamId::parse(&recording) else { return missing("there is no such recording") };
    let Some(vod) = blocking(&recordings, move |it| it.vod(id)).await else {
        return missing(&why_not(&recordings, id));
    };
    // Only names that the recording has become paths.
    let Some(list) = vod.media(&rendition) else { return missing("there is no such rendition") };
    if file == "index.m3u8" {
        return text(&headers, list, LISTED);
    }
    let name = FileName::parse(&file).filter(|name| !matches!(name, FileName::Part(_)));
    let Some(name) = name else { return missing("there is no such file") };
    let kind = Kind { content_type: content_type(&rendition), cache: FOREVER };
    recordings.file(id, &format!("{rendition}/{}", name.uri()), kind, &headers).await
}

async fn mp4(
    State(recordings): State<Arc<Recordings>>,
    Path(recording): Path<String>,
    headers: HeaderMap,
) -> Response {
    let id = StreamId::parse(&recording);
    let Some((id, found)) = id.and_then(|id| Some((id, recordings.get(id)?))) else {
        return missing("there is no such recording");
    };
    if found.state == RecordingState::Processing {
        let why = "the file is being made; the recording plays by HLS meanwhile";
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, why, 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    }
    if found.mp4_bytes.is_none() {
        return missing(found.error.as_deref().unwrap_or(&why_not(&recordings, id)));
    }
    let kind = Kind { content_type: "video/mp4", cache: DOWNLOAD };
    let mut response = recordings.file(id, MP4, kind, &headers).await;
    if let Ok(name) = HeaderValue::from_str(&disposition(&found.channel, id))
        && response.status().is_success()
    {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    response
}

/// The name under which the MP4 file is kept by whoever downloads it.
pub(crate) fn disposition(channel: &str, id: StreamId) -> String {
    format!("inline; filename=\"{channel}-{id}.mp4\"")
}

impl Recordings {
    /// A file of a recording: from disk, or from the bucket where that has the only copy.
    async fn file(&self, id: StreamId, name: &str, kind: Kind, headers: &HeaderMap) -> Response {
        let served = self.counters().bytes_served.clone();
        match file::serve(&self.path(id).join(name), kind, headers, served).await {
            Ok(response) => response,
            Err(_) if self.is_offsite(id) => self.object(id, name, kind, headers).await,
            Err(_) => missing("there is no such file"),
        }
    }

    /// A file of a Stream that is live, or was lately.
    pub(crate) async fn live_file(
        &self,
        stream: StreamId,
        rendition: &str,
        file: FileName,
        headers: &HeaderMap,
    ) -> Option<Response> {
        let name = format!("{rendition}/{}", file.uri());
        let kind = Kind { content_type: content_type(rendition), cache: FOREVER };
        let served = self.counters().bytes_served.clone();
        match file::serve(&self.path(stream).join(&name), kind, headers, served).await {
            Ok(response) => Some(response),
            Err(_) if self.is_offsite(stream) => Some(self.object(stream, &name, kind, headers).await),
            Err(_) => None,
        }
    }
}

/// Where there is no video, the Rendition is sound.
pub(crate) fn content_type(rendition: &str) -> &'static str {
    if rendition.starts_with("audio") { "audio/mp4" } else { "video/mp4" }
}

fn why_not(recordings: &Recordings, id: StreamId) -> String {
    let found = recordings.get(id);
    match found.map(|it| (it.state, it.error)) {
        None => "there is no such recording".to_owned(),
        Some((RecordingState::Live, _)) => {
            "the stream is live: its recording plays when it is over".to_owned()
        }
        Some((_, error)) => error.unwrap_or_else(|| "there is no such file of this recording".to_owned()),
    }
}

fn missing(why: &str) -> Response {
    problem(StatusCode::NOT_FOUND, why, MISSING_S)
}

/// Runs what reads from disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    recordings: &Arc<Recordings>,
    look: impl FnOnce(&Recordings) -> Option<T> + Send + 'static,
) -> Option<T> {
    let recordings = Arc::clone(recordings);
    tokio::task::spawn_blocking(move || look(&recordings)).await.ok()?
}
