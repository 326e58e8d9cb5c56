//! Stream keys of a channel. For its owner and administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{Key, KeyList};
use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, InPath, checked_id};
use crate::http::problem::{Problem, Problems};

/// The keys of a channel that are not revoked.
#[utoipa::path(get, path = "/api/v1/channels/{channel}/keys", tag = "key", params(("channel" = String, Path)),
    responses((status = 200, body = KeyList), Problems))]
pub(super) async fn list(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<Json<KeyList>, Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    let keys = v1.accounts.database().stream_keys(&channel.id).await?;
    Ok(Json(KeyList { items: keys.into_iter().map(Key::from).collect() }))
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    #[serde(default)]
    name: String,
    /// How long it is good; for good if left out.
    #[serde(default)]
    seconds: Option<i64>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeKey {
    /// Shown this once: paste it into the encoder.
    secret: String,
    key: Key,
}

/// Makes a stream key.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/keys", tag = "key", params(("channel" = String, Path)),
    request_body = NewKey, responses((status = 201, body = MadeKey), Problems))]
pub(super) async fn add(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(body): Body<NewKey>,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    let (key, secret) = v1.accounts.add_stream_key(&channel.id, &body.name, body.seconds).await?;
    v1.audit(&caller, "key.create", &key.id).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { secret: secret.expose().to_owned(), key: key.into() })))
}

/// How to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rotation {
    /// How long the old key works beside the new one.
    overlap_seconds: i64,
}

/// Puts a new key in place of an old one. Who is live with the old one stays so.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/keys/{id}/rotate", tag = "key",
    params(("channel" = String, Path), ("id" = String, Path)), request_body = Rotation,
    responses((status = 201, body = MadeKey), Problems))]
pub(super) async fn rotate(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, id)): InPath<(String, String)>,
    Body(body): Body<Rotation>,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    let id = checked_id(&id)?;
    let (key, secret) = v1.accounts.rotate_stream_key(&channel.id, id, body.overlap_seconds).await?;
    v1.audit(&caller, "key.rotate", id).await?;
    Ok((StatusCode::CREATED, Json(MadeKey { secret: secret.expose().to_owned(), key: key.into() })))
}

/// Revokes a key at once: who is live with it is cut off.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/keys/{id}", tag = "key",
    params(("channel" = String, Path), ("id" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn revoke(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, id)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    let id = checked_id(&id)?;
    v1.accounts.database().revoke_stream_key(&channel.id, id, now_ms()).await?;
    v1.broadcasts.check();
    v1.done(&caller, "key.revoke", id).await
}
