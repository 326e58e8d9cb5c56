//! Grants to watch channels that are not for everybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::db::{Channel, ChannelChange, Role, User, Visibility};
use control::{Action, GRANT_SECONDS_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::{Problem, Problems};

/// How long a grant lasts, if nobody says.
const SECONDS_DEFAULT: i64 = 600;

/// What is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// Whom it is for, as the channel's own service calls them: only who may edit the channel can name somebody. Left
    /// out, it is for oneself.
    #[serde(default)]
    subject: Option<String>,
    /// How long it lasts: 1 to 86400, 600 if left out.
    #[serde(default)]
    seconds: Option<i64>,
}

/// A grant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeGrant {
    /// For WHEP as the bearer token, for `rtc.play` and `join` of the gateway as `token`.
    token: String,
    /// Unix seconds.
    expires: i64,
    /// Where it plays by HLS.
    hls: String,
}

/// Makes a grant to watch: for oneself, if one follows or has subscribed; for anybody, if one may edit the channel.
#[utoipa::path(post, path = "/api/v1/channels/{channel}/grants", tag = "grant", params(("channel" = String, Path)),
    request_body = NewGrant, responses((status = 201, body = MadeGrant), Problems))]
pub(super) async fn add(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(body): Body<NewGrant>,
) -> Result<(StatusCode, Json<MadeGrant>), Problem> {
    let channel = v1.channel(&name).await?;
    caller.actor()?;
    let seconds = body.seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=GRANT_SECONDS_MAX).contains(&seconds) {
        return Err(Problem::invalid(format!("seconds are 1 to {GRANT_SECONDS_MAX}")));
    }
    let subject = match body.subject {
        Some(subject) if subject.len() > 64 || subject.chars().any(char::is_control) => {
            return Err(Problem::invalid("subject is one line of at most 64 bytes"));
        }
        Some(subject) => {
            caller.may_on(&v1, Action::GrantPlayback, &channel).await?;
            subject
        }
        None => {
            let actor = caller.may(Action::ReadAccount)?;
            may_watch(&v1, &actor.user, &channel).await?;
            actor.user.id.clone()
        }
    };
    let (token, expires) = v1.authority.sign_play(&channel, &subject, seconds);
    let hls = format!("/hls/t/{token}/{}/master.m3u8", channel.name);
    Ok((StatusCode::CREATED, Json(MadeGrant { token, expires, hls })))
}

/// Whether somebody may watch with their own account.
async fn may_watch(v1: &V1, user: &User, channel: &Channel) -> Result<(), Problem> {
    let database = v1.accounts.database();
    // Whoever works on the channel, and its guests of honour.
    if channel.owner_id.as_deref() == Some(&user.id)
        || user.role >= Role::Moderator
        || database.channel_role(&channel.id, &user.id).await?.is_some()
    {
        return Ok(());
    }
    let may = match channel.visibility {
        Visibility::Public | Visibility::Unlisted => true,
        Visibility::Followers => database.follows(&user.id, &channel.id).await?,
        Visibility::Subscribers => {
            database.subscribed_until(&user.id, &channel.id, now_ms()).await?.is_some()
        }
        Visibility::Signed => false,
    };
    let why = match channel.visibility {
        Visibility::Followers => "this channel is for its followers: follow it first",
        Visibility::Subscribers => "this channel is for its subscribers: subscribe first",
        _ => "this channel is for those whom its owner's own service lets in",
    };
    if may { Ok(()) } else { Err(Problem::forbidden(why)) }
}

/// Makes all grants of a channel void that were made so far. For its owner, its editors and administrators.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/grants", tag = "grant",
    params(("channel" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn void(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::GrantPlayback, &name).await?;
    let change = ChannelChange { next_epoch: true, ..ChannelChange::default() };
    v1.accounts.database().change_channel(&channel.id, change, now_ms()).await?;
    v1.authority.refresh().await?;
    v1.done(&caller, "grant.void", &channel.name).await
}
