//! The chat of a channel: its settings, and who may not speak there. For those who moderate the channel.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use control::db::{BanEntry, ChatSettings, NewBan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, next};
use crate::http::problem::{Problem, Problems};

/// The slowest chat: two minutes between two messages.
const SLOW_MS_MAX: i64 = 120_000;

/// The longest that one must have followed: 90 days.
const FOLLOWERS_MINUTES_MAX: i64 = 90 * 24 * 60;

/// The longest ban that is not for good: a year.
const BAN_SECONDS_MAX: i64 = 366 * 24 * 60 * 60;

/// Longest reason.
const REASON_CHARS_MAX: usize = 200;

/// Settings of a chat.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatShape {
    /// Milliseconds between two messages of one person; 0: as many as the server allows.
    slow_ms: i64,
    /// Only those speak who have followed for so many minutes; null: everybody.
    followers_only_minutes: Option<i64>,
    /// Only those speak who have subscribed.
    subscribers_only: bool,
}

impl From<ChatSettings> for ChatShape {
    fn from(settings: ChatSettings) -> Self {
        Self {
            slow_ms: settings.slow_ms,
            followers_only_minutes: settings.followers_only_min,
            subscribers_only: settings.subscribers_only,
        }
    }
}

/// The settings of a chat.
#[utoipa::path(get, path = "/api/v1/channels/{channel}/chat", tag = "chat", params(("channel" = String, Path)),
    responses((status = 200, body = ChatShape), Problems))]
pub(super) async fn settings(
    State(v1): State<Arc<V1>>,
    InPath(name): InPath<String>,
) -> Result<Json<ChatShape>, Problem> {
    let channel = v1.channel(&name).await?;
    Ok(Json(v1.accounts.database().chat_settings(&channel.id).await?.into()))
}

/// What changes; what is left out is turned off.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewSettings {
    /// 0 to 120000.
    #[serde(default)]
    slow_ms: i64,
    /// 0 to 129600.
    #[serde(default)]
    followers_only_minutes: Option<i64>,
    #[serde(default)]
    subscribers_only: bool,
}

/// Sets them. Those who moderate the channel are bound by none of them; subscribers and vips not by followers-only.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/chat", tag = "chat", params(("channel" = String, Path)),
    request_body = NewSettings, responses((status = 200, body = ChatShape), Problems))]
pub(super) async fn set(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(body): Body<NewSettings>,
) -> Result<Json<ChatShape>, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let minutes = body.followers_only_minutes.unwrap_or(0);
    if !(0..=SLOW_MS_MAX).contains(&body.slow_ms) || !(0..=FOLLOWERS_MINUTES_MAX).contains(&minutes) {
        let text = format!("slowMs is 0 to {SLOW_MS_MAX}, followersOnlyMinutes 0 to {FOLLOWERS_MINUTES_MAX}");
        return Err(Problem::invalid(text));
    }
    let settings = ChatSettings {
        slow_ms: body.slow_ms,
        followers_only_min: body.followers_only_minutes,
        subscribers_only: body.subscribers_only,
    };
    v1.accounts.database().set_chat_settings(&channel.id, settings, now_ms()).await?;
    v1.moderation.settings_changed(&channel.id);
    v1.audit(&caller, "chat.set", &channel.name).await?;
    Ok(Json(settings.into()))
}

/// Somebody who may not speak.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BanShape {
    id: String,
    login: String,
    /// Who said so; null if that account is gone.
    moderator: Option<String>,
    reason: String,
    /// Unix milliseconds; null: for good.
    until: Option<i64>,
    created_at: i64,
}

impl From<BanEntry> for BanShape {
    fn from(it: BanEntry) -> Self {
        Self {
            id: it.id,
            login: it.login,
            moderator: it.moderator,
            reason: it.ban.reason,
            until: it.ban.until,
            created_at: it.created_at,
        }
    }
}

/// A piece of the bans of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BanList {
    items: Vec<BanShape>,
    next: Option<String>,
}

/// The bans of a channel, newest first.
#[utoipa::path(get, path = "/api/v1/channels/{channel}/bans", tag = "chat",
    params(("channel" = String, Path), Cursor), responses((status = 200, body = BanList), Problems))]
pub(super) async fn bans(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Params(cursor): Params<Cursor>,
) -> Result<Json<BanList>, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let page = cursor.page()?;
    let bans = v1.accounts.database().bans(&channel.id, &page, now_ms()).await?;
    let next = next(&bans, page.limit, |ban| &ban.id);
    Ok(Json(BanList { items: bans.into_iter().map(BanShape::from).collect(), next }))
}

/// For how long, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BanOrder {
    /// 1 to 31622400; for good if left out.
    #[serde(default)]
    seconds: Option<i64>,
    /// They are told.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: String,
}

/// Bans an account from the chat, at once. Whoever moderates the channel is not bound by it.
#[utoipa::path(put, path = "/api/v1/channels/{channel}/bans/{login}", tag = "chat",
    params(("channel" = String, Path), ("login" = String, Path)), request_body = BanOrder,
    responses((status = 204), Problems))]
pub(super) async fn ban(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, login)): InPath<(String, String)>,
    Body(body): Body<BanOrder>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    if body.seconds.is_some_and(|seconds| !(1..=BAN_SECONDS_MAX).contains(&seconds)) {
        return Err(Problem::invalid(format!("seconds is 1 to {BAN_SECONDS_MAX}, or left out")));
    }
    let reason = body.reason.trim();
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("reason is one line of at most {REASON_CHARS_MAX} characters")));
    }
    let (user, now) = (v1.user(&login).await?, now_ms());
    let new = NewBan {
        channel_id: &channel.id,
        user_id: &user.id,
        moderator_id: &caller.actor()?.user.id,
        reason,
        until: body.seconds.map(|seconds| now + seconds * 1000),
    };
    v1.accounts.database().ban(new, now).await?;
    v1.moderation.account_changed(&channel.id, &user.id);
    v1.done(&caller, "chat.ban", &format!("{} {}", channel.name, user.login)).await
}

/// Lets somebody speak again.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}/bans/{login}", tag = "chat",
    params(("channel" = String, Path), ("login" = String, Path)), responses((status = 204), Problems))]
pub(super) async fn lift(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath((name, login)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let user = v1.user(&login).await?;
    v1.accounts.database().lift_ban(&channel.id, &user.id, now_ms()).await?;
    v1.moderation.account_changed(&channel.id, &user.id);
    v1.done(&caller, "chat.unban", &format!("{} {}", channel.name, user.login)).await
}
