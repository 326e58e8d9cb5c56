//! `/api/v1`: what of the node everybody may know.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, Uri};
use hls_packager::Packager;
use media::Hub;
use serde::Serialize;
use serde_json::{Value, json};
use sfu::Sfu;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problems;
use super::v1::V1;
use super::{peers, streams};

/// What the API looks at.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) sfu: Sfu,
    pub(crate) packager: Arc<Packager>,
    pub(crate) rtmp_port: u16,
    pub(crate) public_url: Option<Arc<str>>,
    pub(crate) tls: bool,
    pub(crate) demo: bool,
    pub(crate) expose_peers: bool,
    pub(crate) v1: Arc<V1>,
}

impl FromRef<Api> for Arc<V1> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.v1)
    }
}

pub(crate) fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(streams::list))
        .routes(routes!(streams::show))
        .routes(routes!(peers::peers))
        .routes(routes!(info))
        .routes(routes!(stats))
        .with_state(api)
}

/// Where to publish.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Info {
    rtmp_url: String,
    whip_url: String,
    /// The channel of the built-in moving picture, if there is one.
    demo_channel: Option<&'static str>,
    /// Of the server.
    version: &'static str,
}

/// Where to publish.
#[utoipa::path(get, path = "/api/v1/info", tag = "instance", responses((status = 200, body = Info), Problems))]
async fn info(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Json<Info> {
    // HTTP/2 has no Host header but an authority (RFC 9113 section 8.3.1).
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| headers.get("host")?.to_str().ok()).unwrap_or("localhost");
    let scheme = if api.tls { "https" } else { "http" };
    let base = api.public_url.as_deref().map_or_else(|| format!("{scheme}://{host}"), str::to_owned);
    let name = bare_host(&base);
    Json(Info {
        rtmp_url: format!("rtmp://{name}:{}/live", api.rtmp_port),
        whip_url: format!("{base}/whip"),
        demo_channel: api.demo.then_some(crate::demo::CHANNEL),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// The host of a URL or of a Host header, without its port; IPv6 addresses keep their brackets.
fn bare_host(base: &str) -> &str {
    let host = base.split_once("://").map_or(base, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// Counters since the start. Their names may change: [`/metrics`](/metrics) is what to rely on.
#[derive(Serialize, ToSchema)]
struct Counters {
    #[schema(value_type = Object)]
    sfu: Value,
    #[schema(value_type = Object)]
    hls: Value,
}

/// Counters of the SFU and the packager.
#[utoipa::path(get, path = "/api/v1/stats", tag = "instance", responses((status = 200, body = Counters), Problems))]
async fn stats(State(api): State<Api>) -> Json<Counters> {
    Json(Counters { sfu: json!(api.sfu.stats()), hls: json!(api.packager.stats()) })
}

#[cfg(test)]
mod tests {
    use super::bare_host;

    #[test]
    fn a_host_is_found_in_urls_and_headers() {
        for (text, host) in [
            ("http://a.example:8080", "a.example"),
            ("https://a.example/x", "a.example"),
            ("http://[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(bare_host(text), host);
        }
    }
}
