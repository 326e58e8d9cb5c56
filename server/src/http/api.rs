//! `/api/v1`: what is live, and where to publish.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use control::Action;
use control::db::Visibility;
use hls_packager::Packager;
use media::{Hub, Kind, Stream, StreamState, Track};
use serde_json::{Value, json};
use sfu::Sfu;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::extract::{InPath, channel_name};
use super::problem::{Problem, Problems};
use super::v1::V1;
use crate::notices;

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
        .routes(routes!(streams))
        .routes(routes!(stream))
        .routes(routes!(super::peers::peers))
        .routes(routes!(info))
        .routes(routes!(stats))
        .with_state(api)
}

/// The live Streams of public channels.
#[utoipa::path(get, path = "/api/v1/streams", tag = "stream", responses((status = 200, body = Value), Problems))]
async fn streams(State(api): State<Api>) -> Json<Value> {
    let mut streams = api.hub.streams();
    streams.retain(|stream| {
        let known = api.v1.authority.channel(stream.channel());
        known.is_some_and(|known| known.visibility == Visibility::Public)
    });
    streams.sort_by_key(|stream| stream.id());
    let streams: Vec<Value> = streams.iter().map(|stream| describe(stream, &api)).collect();
    Json(json!({ "streams": streams }))
}

/// The live Stream of a channel, with its tracks and layers. Of one that is not for everybody, for those who moderate it.
#[utoipa::path(get, path = "/api/v1/streams/{channel}", tag = "stream", params(("channel" = String, Path)),
    responses((status = 200, body = Value), Problems))]
async fn stream(
    State(api): State<Api>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<Json<Value>, Problem> {
    let name = channel_name(&name)?;
    let known = api.v1.authority.channel(&name);
    let known = known.ok_or_else(|| Problem::not_found(format!("there is no channel {name}")))?;
    if known.visibility.needs_grant() {
        caller.may_on(&api.v1, Action::ModerateChannel, &known).await?;
    }
    let offline = || Problem::new(StatusCode::NOT_FOUND, "offline", "Nobody publishes on this channel now");
    let stream = api.hub.stream(&name).ok_or_else(offline)?;
    Ok(Json(describe(&stream, &api)))
}

fn describe(stream: &Stream, api: &Api) -> Value {
    let publication = stream.publication();
    let zero = media::MediaTime::zero(media::Timescale::MICROS);
    json!({
        "id": stream.id().to_string(),
        "channel": stream.channel().as_str(),
        "startedAt": stream.clock().ntp(zero).as_unix_micros() / 1000,
        "state": match stream.state() {
            StreamState::Live => "live",
            StreamState::Reconnecting => "reconnecting",
            StreamState::Ended => "ended",
        },
        "transport": publication.transport,
        "encoder": publication.encoder,
        "viewers": api.sfu.viewers(stream.id()),
        "video": stream.source(Kind::Video).map(|track| describe_track(&track)),
        "audio": stream.source(Kind::Audio).map(|track| describe_track(&track)),
        "hls": api.packager.status(stream.channel()),
        "notices": notices::of(stream),
    })
}

/// What of a Track is known to everybody.
pub(super) fn describe_track(track: &Arc<Track>) -> Value {
    let layers: Vec<Value> = track
        .layers()
        .iter()
        .map(|layer| {
            let info = layer.info();
            let rates = info.rates(now());
            json!({
                "rid": layer.rid().as_str(),
                "codecs": info.codecs,
                "width": info.size.map(|size| size.0),
                "height": info.size.map(|size| size.1),
                "bytes": info.bytes,
                "active": rates.is_some(),
                "bitrateBps": rates.map(|(bps, _)| bps),
                "fps": rates.map(|(_, fps)| fps),
                "keyframes": info.keyframes,
                "keyframeIntervalMs": info.keyframe_interval_micros.map(|micros| micros / 1000),
                "readers": layer.readers(),
            })
        })
        .collect();
    let top = layers.last().cloned().unwrap_or(Value::Null);
    json!({ "codec": track.codec().name(), "width": top["width"], "height": top["height"], "layers": layers })
}

/// Where to publish.
#[utoipa::path(get, path = "/api/v1/info", tag = "instance", responses((status = 200, body = Value), Problems))]
async fn info(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Json<Value> {
    // HTTP/2 has no Host header but an authority (RFC 9113 section 8.3.1).
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| headers.get("host")?.to_str().ok()).unwrap_or("localhost");
    let scheme = if api.tls { "https" } else { "http" };
    let base = api.public_url.as_deref().map_or_else(|| format!("{scheme}://{host}"), str::to_owned);
    let name = bare_host(&base);
    Json(json!({
        "rtmpUrl": format!("rtmp://{name}:{}/live", api.rtmp_port),
        "whipUrl": format!("{base}/whip"),
        "demoChannel": api.demo.then_some(crate::demo::CHANNEL),
        "version": env!("CARGO_PKG_VERSION"),
    }))
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

#[expect(clippy::disallowed_methods, reason = "the API is an edge: a Layer is silent by the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Counters of the SFU and the packager.
#[utoipa::path(get, path = "/api/v1/stats", tag = "instance", responses((status = 200, body = Value), Problems))]
async fn stats(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "sfu": api.sfu.stats(), "hls": api.packager.stats() }))
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
