//! `/api/v1/streams/{channel}/peers`: how the publisher and each WebRTC viewer of a Stream are doing.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use control::Action;
use media::{ChannelName, Stream};
use serde::Serialize;
use sfu::PeerStats;
use sfu::peer_stats::Role;
use utoipa::ToSchema;

use super::api::Api;
use super::caller::Caller;
use super::extract::InPath;
use super::operator::Operator;
use super::problem::{Problem, Problems};
use super::streams::{TrackShape, offline};

/// Who is on a stream by WebRTC, and who publishes it.
#[derive(Serialize, ToSchema)]
pub(super) struct Peers {
    channel: String,
    stream: String,
    publisher: Publisher,
    #[schema(value_type = Vec<PeerShape>)]
    viewers: Vec<PeerStats>,
}

/// Who publishes.
#[derive(Serialize, ToSchema)]
struct Publisher {
    /// `rtmp` or `whip`.
    transport: &'static str,
    encoder: Option<String>,
    #[schema(value_type = Option<String>)]
    remote: Option<SocketAddr>,
    tracks: Vec<TrackShape>,
    /// Of a WebRTC publisher; RTMP knows no loss.
    #[schema(value_type = Option<PeerShape>)]
    peer: Option<PeerStats>,
}

/// The shape of a peer, for the OpenAPI document. Its figures are explained in docs/statistics.md.
#[derive(ToSchema)]
#[schema(as = Peer, rename_all = "camelCase")]
#[expect(dead_code, reason = "the document alone reads it")]
struct PeerShape {
    id: String,
    /// `connecting` or `connected`.
    state: String,
    /// `udp` or `tcp`.
    transport: String,
    remote: Option<String>,
    srtp_profile: Option<String>,
    connected_ms: Option<u64>,
    rtt_ms: Option<f64>,
    /// `viewer` or `publisher`; which of the rest is there depends on it.
    role: String,
    #[schema(required = false)]
    audio: Option<DownShape>,
    #[schema(required = false)]
    video: Option<DownShape>,
    #[schema(required = false)]
    estimate_bps: Option<u64>,
    #[schema(required = false)]
    layer: Option<String>,
    #[schema(required = false)]
    cap: Option<String>,
    #[schema(required = false)]
    keyframe_requests: Option<u64>,
    #[schema(required = false)]
    catch_ups: Option<u64>,
    /// Of a publisher: what came of each track.
    #[schema(required = false)]
    tracks: Option<Vec<UpTrackShape>>,
}

/// What a viewer gets of sound or picture.
#[derive(ToSchema)]
#[schema(as = Down, rename_all = "camelCase")]
#[expect(dead_code, reason = "the document alone reads it")]
struct DownShape {
    codec: Option<String>,
    /// `stopped`, `paused`, `waiting`, `catchUp` or `live`.
    flow: String,
    bitrate_bps: u64,
    packets: u64,
    bytes: u64,
    nacked: u64,
    resent: u64,
    nack_unknown: u64,
    fraction_lost: Option<f64>,
    packets_lost: Option<i32>,
    jitter_ms: Option<f64>,
}

/// A track of a WebRTC publisher.
#[derive(ToSchema)]
#[schema(as = UpTrack)]
#[expect(dead_code, reason = "the document alone reads it")]
struct UpTrackShape {
    codec: String,
    layers: Vec<UpLayerShape>,
}

/// A layer of it.
#[derive(ToSchema)]
#[schema(as = UpLayer, rename_all = "camelCase")]
#[expect(dead_code, reason = "the document alone reads it")]
struct UpLayerShape {
    rid: String,
    bitrate_bps: Option<u64>,
    fps: Option<f64>,
    width: Option<u32>,
    height: Option<u32>,
    keyframe_interval_ms: Option<i64>,
    packets: u64,
    lost: u64,
    recovered: u64,
    nacks: u64,
    keyframe_requests: u64,
    jitter_ms: f64,
}

/// Every WebRTC peer of a stream, and its address: for those who moderate the channel, and for clients on the server itself.
#[utoipa::path(get, path = "/api/v1/streams/{channel}/peers", tag = "stream", params(("channel" = String, Path)),
    responses((status = 200, body = Peers), Problems))]
pub(super) async fn peers(
    State(api): State<Api>,
    InPath(channel): InPath<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<Peers>, Problem> {
    let operator = Operator { proxied: api.public_url.is_some(), exposed: api.expose_peers };
    if !operator.is(client, &headers) && !moderates(&api, &caller, &channel).await {
        return Err(Problem::forbidden(
            "Addresses of viewers are for those who moderate the channel: sign in, send an API token with the scope \
             stream:moderate, or ask from the server itself (127.0.0.1)",
        ));
    }
    let channel = ChannelName::parse(&channel)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "no-channel", error.to_string()))?;
    let stream = api.hub.stream(&channel).ok_or_else(offline)?;
    let peers = api.sfu.peers(stream.id()).await;
    let peers = peers.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(Json(Peers::new(&stream, peers)))
}

async fn moderates(api: &Api, caller: &Caller, channel: &str) -> bool {
    let known = ChannelName::parse(channel).ok().and_then(|name| api.v1.authority.channel(&name));
    match known {
        Some(known) => caller.may_on(&api.v1, Action::ModerateChannel, &known).await.is_ok(),
        None => false,
    }
}

impl Peers {
    fn new(stream: &Stream, peers: Vec<PeerStats>) -> Self {
        let (mut publishers, viewers): (Vec<PeerStats>, Vec<PeerStats>) =
            peers.into_iter().partition(|peer| matches!(peer.role, Role::Publisher(_)));
        let publication = stream.publication();
        let tracks = stream.tracks();
        let tracks = tracks.iter().filter(|track| !track.spec().derived && !track.ended());
        Self {
            channel: stream.channel().to_string(),
            stream: stream.id().to_string(),
            publisher: Publisher {
                transport: publication.transport,
                encoder: publication.encoder,
                remote: publication.remote,
                tracks: tracks.map(TrackShape::new).collect(),
                peer: publishers.pop(),
            },
            viewers,
        }
    }
}
