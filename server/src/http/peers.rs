//! `/api/v1/streams/{channel}/peers`: how the publisher and each WebRTC viewer of a Stream are doing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use media::{ChannelName, Stream};
use serde_json::{Value, json};
use sfu::PeerStats;
use sfu::peer_stats::Role;

use super::api::{Api, describe_track};
use super::problem::problem;

/// Headers by which a proxy says for whom it asks.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Answers with every Peer, and its address: for the operator alone.
pub(super) async fn peers(
    State(api): State<Api>,
    Path(channel): Path<String>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !may_see(client, &headers, api.public_url.is_some(), api.expose_peers) {
        let detail = "Addresses of viewers are for the operator: ask from the server itself (127.0.0.1), or set \
                      expose_peers = true in [api]";
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

/// A client on this machine, unless it is a proxy that asks for somebody else: one that the configuration tells of
/// (`proxied`), or that says so itself.
fn may_see(client: SocketAddr, headers: &HeaderMap, proxied: bool, exposed: bool) -> bool {
    let local = client.ip().to_canonical().is_loopback()
        && !proxied
        && !FORWARDED.iter().any(|name| headers.contains_key(*name));
    exposed || local
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_are_shown_on_this_machine_only_unless_configured() {
        let bare = HeaderMap::new();
        let mut forwarded = HeaderMap::new();
        forwarded.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        for (client, headers, proxied, exposed, expected) in [
            ("127.0.0.1:5", &bare, false, false, true),
            ("[::1]:5", &bare, false, false, true),
            ("[::ffff:127.0.0.1]:5", &bare, false, false, true),
            ("192.0.2.1:5", &bare, false, false, false),
            ("127.0.0.1:5", &forwarded, false, false, false),
            ("127.0.0.1:5", &bare, true, false, false),
            ("192.0.2.1:5", &forwarded, true, true, true),
        ] {
            let address = client.parse().expect("an address");
            let sees = may_see(address, headers, proxied, exposed);
            assert_eq!(sees, expected, "{client} {headers:?} {proxied}");
        }
    }
}
