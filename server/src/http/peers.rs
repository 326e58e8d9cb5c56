//! `/api/v1/streams/{channel}/peers`: how the publisher and each WebRTC viewer of a Stream are doing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::Action;
use media::{ChannelName, Stream};
use serde_json::{Value, json};
use sfu::PeerStats;
use sfu::peer_stats::Role;

use super::api::{Api, describe_track};
use super::caller::Caller;
use super::extract::InPath;
use super::operator::Operator;
use super::problem::{Problems, problem};

/// Every WebRTC peer of a stream, and its address: for those who moderate the channel, and for clients on the server itself.
#[utoipa::path(get, path = "/api/v1/streams/{channel}/peers", tag = "stream", params(("channel" = String, Path)),
    responses((status = 200, body = Value), Problems))]
pub(super) async fn peers(
    State(api): State<Api>,
    InPath(channel): InPath<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let operator = Operator { proxied: api.public_url.is_some(), exposed: api.expose_peers };
    if !operator.is(client, &headers) && !moderates(&api, &caller, &channel).await {
        let detail = "Addresses of viewers are for those who moderate the channel: sign in, send an API token with the \
                      scope stream:moderate, or ask from the server itself (127.0.0.1)";
        return problem(StatusCode::FORBIDDEN, "forbidden", detail);
    }
    let stream = match ChannelName::parse(&channel).map(|channel| api.hub.stream(&channel)) {
        Ok(Some(stream)) => stream,
        Ok(None) => return problem(StatusCode::NOT_FOUND, "offline", "Nobody publishes on this channel now"),
        Err(error) => return problem(StatusCode::NOT_FOUND, "no-channel", &error.to_string()),
    };
    match api.sfu.peers(stream.id()).await {
        Ok(peers) => Json(describe(&stream, peers)).into_response(),
        Err(error) => {
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string());
            response.headers_mut().insert(header::RETRY_AFTER, 5.into());
            response
        }
    }
}

async fn moderates(api: &Api, caller: &Caller, channel: &str) -> bool {
    let known = ChannelName::parse(channel).ok().and_then(|name| api.v1.authority.channel(&name));
    match known {
        Some(known) => caller.may_on(&api.v1, Action::ModerateChannel, &known).await.is_ok(),
        None => false,
    }
}

fn describe(stream: &Arc<Stream>, peers: Vec<PeerStats>) -> Value {
    let (publishers, viewers): (Vec<PeerStats>, Vec<PeerStats>) =
        peers.into_iter().partition(|peer| matches!(peer.role, Role::Publisher(_)));
    let publication = stream.publication();
    let tracks: Vec<Value> = stream
        .tracks()
        .iter()
        .filter(|track| !track.spec().derived && !track.ended())
        .map(describe_track)
        .collect();
    json!({
        "channel": stream.channel().as_str(),
        "stream": stream.id().to_string(),
        "publisher": {
            "transport": publication.transport,
            "encoder": publication.encoder,
            "remote": publication.remote,
            "tracks": tracks,
            // Of a WebRTC publisher; RTMP knows no loss.
            "peer": publishers.last(),
        },
        "viewers": viewers,
    })
}
