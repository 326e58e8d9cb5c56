//! What moderators do to a live Stream and its viewers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use media::{Kind, Rid, Stream};
use serde::Deserialize;
use sfu::peer_stats::Role;
use sfu::{LayerChoice, PeerId};
use utoipa::ToSchema;

use super::V1;
use crate::http::caller::Caller;
use crate::http::extract::{Body, InPath, channel_name};
use crate::http::problem::{Problem, Problems};
use crate::http::streams::offline;

/// Ends a Stream: its encoder is cut off, and may come again. For the channel's owner, its editors, and moderators of the
/// instance.
#[utoipa::path(delete, path = "/api/v1/streams/{channel}", tag = "stream", params(("channel" = String, Path)),
    responses((status = 204), Problems))]
pub(super) async fn end(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::EndStream, &name).await?;
    if !v1.broadcasts.cut(&channel_name(&name)?, "cut") {
        return Err(offline());
    }
    v1.done(&caller, "stream.end", &channel.name).await
}

/// Sends a WebRTC viewer away. It may come again; ids are those of the list of peers. For those who moderate the channel.
#[utoipa::path(delete, path = "/api/v1/streams/{channel}/viewers/{peer}", tag = "stream",
    params(("channel" = String, Path), ("peer" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn kick(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, peer)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let (_, id) = viewer(&v1, &name, &peer).await?;
    v1.sfu.close_peer(id);
    v1.done(&caller, "viewer.kick", &format!("{} {id}", channel.name)).await
}

/// What a viewer is to see.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Choice {
    /// The rid of a layer, `none` for sound alone, `auto` for the best that its line carries.
    rid: String,
    /// With `auto`: no higher than so many pixels.
    #[serde(default)]
    max_height: Option<u32>,
}

/// Chooses what a WebRTC viewer sees, until it chooses itself. For those who moderate the channel.
#[utoipa::path(put, path = "/api/v1/streams/{channel}/viewers/{peer}/layer", tag = "stream",
    params(("channel" = String, Path), ("peer" = String, Path)), request_body = Choice,
    responses((status = 204), Problems))]
pub(super) async fn set_layer(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, peer)): InPath<(String, String)>,
    Body(body): Body<Choice>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let (stream, id) = viewer(&v1, &name, &peer).await?;
    let choice = match (body.rid.as_str(), body.max_height) {
        ("auto", max_height) => LayerChoice::Auto { max_height },
        ("none", None) => LayerChoice::AudioOnly,
        (rid, None) => LayerChoice::Layer(layer(&stream, rid)?),
        (_, Some(_)) => return Err(Problem::invalid("maxHeight goes with the rid auto")),
    };
    v1.sfu.set_layer(id, choice);
    v1.done(&caller, "viewer.layer", &format!("{} {id} {}", channel.name, body.rid)).await
}

fn layer(stream: &Stream, rid: &str) -> Result<Rid, Problem> {
    let unknown = || Problem::not_found(format!("the stream has no layer {rid}"));
    let rid = Rid::parse(rid).map_err(|_| unknown())?;
    let mut videos = stream.tracks().into_iter().filter(|track| track.kind() == Kind::Video);
    if videos.any(|track| track.layer(&rid).is_some()) { Ok(rid) } else { Err(unknown()) }
}

/// A viewer of the Channel's Stream by the id that the list of peers says.
async fn viewer(v1: &V1, name: &str, peer: &str) -> Result<(Arc<Stream>, PeerId), Problem> {
    let stream = v1.hub.stream(&channel_name(name)?).ok_or_else(offline)?;
    let peers = v1.sfu.peers(stream.id()).await;
    let peers = peers.map_err(|error| Problem::unavailable(error.to_string()))?;
    let mut viewers = peers.iter().filter(|it| !matches!(it.role, Role::Publisher(_)));
    let found = viewers.find(|it| it.id.to_string() == peer).map(|it| it.id);
    Ok((stream, found.ok_or_else(|| Problem::not_found("there is no such viewer"))?))
}
