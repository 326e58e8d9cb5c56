//! A file of a recording as a response, from the bucket: under the same address as from disk, to whom the same grant lets in.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use media::StreamId;
use tracing::debug;

use super::file::{Kind, set, with_common};
use super::range::Wanted;
use crate::bucket::{Fault, Reason};
use crate::recording::Recordings;
use crate::routes::problem;

impl Recordings {
    /// Answers with an object of the bucket.
    pub(super) async fn object(&self, id: StreamId, name: &str, kind: Kind, headers: &HeaderMap) -> Response {
        let Some(offsite) = self.offsite() else {
            return unavailable("the recording is in a bucket, and none is configured: set [hls.s3]");
        };
        let Ok(turn) = std::sync::Arc::clone(&offsite.reads).try_acquire_owned() else {
            offsite.counters.reads_refused.fetch_add(1, Ordering::Relaxed);
            return unavailable("too many files are being read from the bucket");
        };
        offsite.counters.reads.fetch_add(1, Ordering::Relaxed);
        let object = format!("{id}/{name}");
        let get = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let served = self.counters().bytes_served.clone();
        let found = async {
            // The length must be known to say what of it is wanted.
            let mut range = None;
            if get(RANGE).is_some() || get(IF_NONE_MATCH).is_some() {
                let (len, tag) = offsite.bucket.head(&object).await?;
                let tag = entity_tag(len, tag.as_deref());
                if get(IF_NONE_MATCH).is_some_and(|known| super::file::knows(known, &tag)) {
                    return Ok(with_common(StatusCode::NOT_MODIFIED.into_response(), kind, &tag));
                }
                let asked = get(RANGE).filter(|_| get(IF_RANGE).is_none_or(|known| known == tag));
                range = match Wanted::parse(asked, len) {
                    Wanted::All => None,
                    Wanted::Range(from, to) => Some(from..to),
                    Wanted::Unsatisfiable => {
                        let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                        set(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{len}"));
                        return Ok(response);
                    }
                };
            }
            let found = offsite.bucket.get(&object, range.clone()).await?;
            let tag = entity_tag(found.len, found.tag.as_deref());
            let bytes = found.bytes.inspect(move |chunk| {
                // The place is given back with the last byte.
                let _ = &turn;
                if let Ok(chunk) = chunk {
                    served.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            });
            let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            let mut response = (status, Body::from_stream(bytes)).into_response();
            let out = response.headers_mut();
            out.insert(CONTENT_TYPE, HeaderValue::from_static(kind.content_type));
            match range {
                Some(range) => {
                    out.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
                    let text = format!("bytes {}-{}/{}", range.start, range.end - 1, found.len);
                    set(out, CONTENT_RANGE, &text);
                }
                None => {
                    out.insert(CONTENT_LENGTH, HeaderValue::from(found.len));
                }
            }
            Ok::<_, Fault>(with_common(response, kind, &tag))
        };
        found.await.unwrap_or_else(|fault| {
            offsite.counters.failed(fault.reason);
            debug!(%object, %fault, "cannot read from the bucket");
            match fault.reason {
                Reason::Missing => problem(StatusCode::NOT_FOUND, "the file is gone", 1),
                _ => unavailable("the bucket that has the recording does not give it out"),
            }
        })
    }
}

/// That of the bucket may hold what a header may not.
fn entity_tag(len: u64, of_bucket: Option<&str>) -> String {
    format!("\"{len:x}-{:08x}\"", crc32fast::hash(of_bucket.unwrap_or_default().as_bytes()))
}

fn unavailable(why: &str) -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, why, 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
