//! Following channels.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, next};
use crate::http::problem::{Problem, Problems};

/// How to follow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Follow {
    /// Whether to be told on the gateway when the channel goes live.
    notify: bool,
}

/// Follows a channel.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/follow", tag = "follow", params(("channel" = String, Path)),
    request_body = Follow, responses((status = 204), Problems))]
pub(super) async fn follow(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(body): Body<Follow>,
) -> Result<StatusCode, Problem> {
    let actor = caller.may(Action::UseAccount)?;
    let channel = v1.channel(&name).await?;
    v1.accounts.database().follow(&actor.user.id, &channel.id, body.notify, now_ms()).await?;
    v1.moderation.account_changed(&channel.id, &actor.user.id);
    Ok(StatusCode::NO_CONTENT)
}

/// Follows it no more.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/follow", tag = "follow",
    params(("channel" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn unfollow(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<StatusCode, Problem> {
    let actor = caller.may(Action::UseAccount)?;
    let channel = v1.channel(&name).await?;
    v1.accounts.database().unfollow(&actor.user.id, &channel.id).await?;
    v1.moderation.account_changed(&channel.id, &actor.user.id);
    Ok(StatusCode::NO_CONTENT)
}

/// A piece of the names of channels that one follows.
#[derive(Serialize, ToSchema)]
pub(super) struct Followed {
    items: Vec<String>,
    next: Option<String>,
}

/// The channels that one follows.
#[utoipa::path(get, path = "/api/v1/me/follows", tag = "follow", params(Cursor),
    responses((status = 200, body = Followed), Problems))]
pub(super) async fn list(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(cursor): Params<Cursor>,
) -> Result<Json<Followed>, Problem> {
    let actor = caller.may(Action::ReadAccount)?;
    let page = cursor.page()?;
    let items = v1.accounts.database().followed(&actor.user.id, &page).await?;
    let next = next(&items, page.limit, |name| name);
    Ok(Json(Followed { items, next }))
}
