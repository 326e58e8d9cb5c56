//! The pages: static files of `web-player`, embedded.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::problem;

#[derive(RustEmbed)]
#[folder = "../web-player/dist"]
#[allow_missing = true]
struct Pages;

/// Everything comes from us; media and HLS workers are blobs; the gateway is a socket to any own name.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; \
     worker-src 'self' blob:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; \
     object-src 'none'; base-uri 'none'; form-action 'self'";

/// Serves a file of the pages, or the page shell for a path without a dot: the shell shows the channel.
pub(crate) async fn pages(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return problem(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address of the API.");
    }
    if let Some(file) = Pages::get(path).filter(|_| !path.is_empty()) {
        return respond(path, file);
    }
    if path.contains('.') || path.matches('/').count() > 1 {
        return problem(StatusCode::NOT_FOUND, "not-found", "There is no such file.");
    }
    match Pages::get("index.html") {
        Some(file) => respond("index.html", file),
        None => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "pages-not-built",
            "This binary was built without its pages. Run bin/up, or `npm ci && npm run build` in web-player \
             and build again.",
        ),
    }
}

fn respond(path: &str, file: rust_embed::EmbeddedFile) -> Response {
    let mime = file.metadata.mimetype().to_owned();
    // Vite puts a hash of the content into the names under assets/.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Body::from(file.data).into_response();
    let headers = response.headers_mut();
    if let Ok(mime) = HeaderValue::from_str(&mime) {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
