//! A file from disk as a response: whole, in part, or not at all if the client has it.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::range::Wanted;

/// Read at a time, per response. A client that is slow holds that much.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a file is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) content_type: &'static str,
    pub(crate) cache: &'static str,
}

/// Answers with the file at `path`.
///
/// # Errors
/// What opening it says.
pub(crate) async fn serve(
    path: &Path,
    kind: Kind,
    headers: &HeaderMap,
    served: Arc<AtomicU64>,
) -> io::Result<Response> {
    let mut file = File::open(path).await?;
    let metadata = file.metadata().await?;
    let len = metadata.len();
    let changed = metadata.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    let tag = format!("\"{len:x}-{:x}\"", changed.unwrap_or_default().as_micros());
    let get = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if get(IF_NONE_MATCH).is_some_and(|tags| knows(tags, &tag)) {
        return Ok(with_common(StatusCode::NOT_MODIFIED.into_response(), kind, &tag));
    }
    // A part of another version is of no use (RFC 9110 section 13.1.5).
    let range = get(RANGE).filter(|_| get(IF_RANGE).is_none_or(|known| known == tag));
    let (status, from, to) = match Wanted::parse(range, len) {
        Wanted::All => (StatusCode::OK, 0, len),
        Wanted::Range(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::Unsatisfiable => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            set(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{len}"));
            return Ok(response);
        }
    };
    file.seek(SeekFrom::Start(from)).await?;
    let mut response = (status, Body::from_stream(chunks(file, to - from, served))).into_response();
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(kind.content_type));
    out.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    if status == StatusCode::PARTIAL_CONTENT {
        set(out, CONTENT_RANGE, &format!("bytes {from}-{}/{len}", to - 1));
    }
    Ok(with_common(response, kind, &tag))
}

/// If-None-Match names this tag.
pub(super) fn knows(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

pub(super) fn with_common(mut response: Response, kind: Kind, tag: &str) -> Response {
    let out = response.headers_mut();
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(CACHE_CONTROL, HeaderValue::from_static(kind.cache));
    set(out, ETAG, tag);
    response
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn chunks(
    file: File,
    length: u64,
    served: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::try_unfold((file, length, served), |(mut file, left, served)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(wanted);
        let read = (&mut file).take(wanted as u64).read_buf(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        served.fetch_add(read as u64, Ordering::Relaxed);
        Ok(Some((chunk.freeze(), (file, left - read as u64, served))))
    })
}
