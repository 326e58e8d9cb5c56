//! Who has a role on a channel, and who has subscribed to it. For its owner and administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use control::Action;
use control::db::{Channel, ChannelRole, User};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, next};
use crate::http::problem::{Problem, Problems};

/// Somebody's role.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoleShape {
    login: String,
    /// `editor`, `moderator` or `vip`.
    role: &'static str,
}

/// A piece of the roles on a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Roles {
    items: Vec<RoleShape>,
    next: Option<String>,
}

/// The roles on a channel.
#[utoipa::path(get, path = "/api/v1/channels/{channel}/roles", tag = "member",
    params(("channel" = String, Path), Cursor), responses((status = 200, body = Roles), Problems))]
pub(super) async fn roles(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Params(cursor): Params<Cursor>,
) -> Result<Json<Roles>, Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    let page = cursor.page()?;
    let roles = v1.accounts.database().channel_roles(&channel.id, &page).await?;
    let next = next(&roles, page.limit, |entry| &entry.login);
    let items = roles.into_iter().map(|it| RoleShape { login: it.login, role: it.role.as_str() }).collect();
    Ok(Json(Roles { items, next }))
}

/// Somebody who is named in a path, on a channel that the caller owns.
pub(super) struct Named {
    v1: Arc<V1>,
    caller: Caller,
    channel: Arc<Channel>,
    user: User,
}

impl FromRequestParts<Arc<V1>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, v1: &Arc<V1>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, v1).await?;
        let InPath((name, login)) = InPath::<(String, String)>::from_request_parts(parts, v1).await?;
        let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
        let user = v1.user(&login).await?;
        Ok(Self { v1: Arc::clone(v1), caller, channel, user })
    }
}

impl Named {
    /// Notes what was changed, and lets it count in the chat.
    async fn changed(&self, action: &str, what: &str) -> Result<StatusCode, Problem> {
        self.v1.moderation.account_changed(&self.channel.id, &self.user.id);
        let target = format!("{} {} {what}", self.channel.name, self.user.login);
        self.v1.done(&self.caller, action, target.trim_end()).await
    }
}

/// Which role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    /// `editor`, `moderator` or `vip`.
    role: String,
}

/// Gives somebody a role, or another one.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/roles/{login}", tag = "member",
    params(("channel" = String, Path), ("login" = String, Path)), request_body = NewRole,
    responses((status = 204), Problems))]
pub(super) async fn set_role(named: Named, Body(body): Body<NewRole>) -> Result<StatusCode, Problem> {
    let known = || Problem::invalid("role is editor, moderator or vip");
    let role = ChannelRole::parse(&body.role).ok_or_else(known)?;
    let Named { v1, channel, user, .. } = &named;
    v1.accounts.database().set_channel_role(&channel.id, &user.id, role, now_ms()).await?;
    named.changed("role.set", role.as_str()).await
}

/// Takes a role away.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/roles/{login}", tag = "member",
    params(("channel" = String, Path), ("login" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn remove_role(named: Named) -> Result<StatusCode, Problem> {
    named.v1.accounts.database().remove_channel_role(&named.channel.id, &named.user.id).await?;
    named.changed("role.remove", "").await
}

/// A subscription. Whoever takes the money calls this.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSubscription {
    /// 1 to 3.
    tier: i64,
    /// From now.
    seconds: i64,
}

/// The longest subscription.
const SUBSCRIPTION_SECONDS_MAX: i64 = 366 * 24 * 60 * 60;

/// Subscribes somebody, or moves the end of their subscription.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/subscribers/{login}", tag = "member",
    params(("channel" = String, Path), ("login" = String, Path)), request_body = NewSubscription,
    responses((status = 204), Problems))]
pub(super) async fn subscribe(
    named: Named,
    Body(body): Body<NewSubscription>,
) -> Result<StatusCode, Problem> {
    if !(1..=3).contains(&body.tier) || !(1..=SUBSCRIPTION_SECONDS_MAX).contains(&body.seconds) {
        return Err(Problem::invalid(format!("tier is 1 to 3, seconds 1 to {SUBSCRIPTION_SECONDS_MAX}")));
    }
    let Named { v1, channel, user, .. } = &named;
    let now = now_ms();
    let ends_at = now + body.seconds * 1000;
    v1.accounts.database().subscribe(&user.id, &channel.id, body.tier, ends_at, now).await?;
    named.changed("subscription.set", "").await
}

/// Ends a subscription.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/subscribers/{login}", tag = "member",
    params(("channel" = String, Path), ("login" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn unsubscribe(named: Named) -> Result<StatusCode, Problem> {
    named.v1.accounts.database().unsubscribe(&named.user.id, &named.channel.id).await?;
    named.changed("subscription.end", "").await
}
