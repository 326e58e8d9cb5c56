//! Webhooks: who is told of events by signed HTTP messages. Of a channel for its owner; of the instance, which hears of
//! all channels, for administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use control::Action;
use control::db::{Channel, Delivery, Hook};
use control::hooks::{EVENT_TYPES, Event, WebhookError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{V1, now_ms};
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, checked_id, next};
use crate::http::problem::{Problem, Problems};

/// Whose hooks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// A channel's; left out, those of the instance.
    #[serde(default)]
    channel: Option<String>,
}

/// A hook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookShape {
    id: String,
    url: String,
    /// What it is told of; `*` is everything.
    events: Vec<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    /// Failed attempts since the last one that went well.
    failures: i64,
    /// Unix milliseconds.
    created_at: i64,
}

impl From<Hook> for HookShape {
    fn from(hook: Hook) -> Self {
        Self {
            id: hook.id,
            url: hook.url,
            events: hook.events.split(' ').map(str::to_owned).collect(),
            enabled: hook.enabled,
            disabled_reason: hook.disabled_reason,
            failures: hook.failures,
            created_at: hook.created_at,
        }
    }
}

/// Hooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HookList {
    items: Vec<HookShape>,
}

/// A new hook.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHook {
    /// Where to: https or http, to a public address.
    #[schema(max_length = 2048)]
    url: String,
    /// Of what: `stream.online`, `stream.offline`, `recording.ready`, `recording.failed`; everything if left out.
    #[serde(default)]
    events: Vec<String>,
}

/// A hook that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeHook {
    /// Shown this once: messages are signed with it (Standard Webhooks).
    secret: String,
    hook: HookShape,
}

/// What of a hook can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HookChange {
    /// Whether it is told; turning it on forgets its failures.
    enabled: bool,
}

/// A message, as the log has it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryShape {
    id: String,
    /// `webhook-id`, the same in every attempt.
    event_id: String,
    event: String,
    /// `pending`, `delivered` or `dead`.
    state: &'static str,
    attempts: i64,
    /// Unix milliseconds; of one that waits.
    next_at: Option<i64>,
    /// HTTP status of the last attempt.
    status: Option<i64>,
    error: Option<String>,
    took_ms: Option<i64>,
    created_at: i64,
}

impl From<Delivery> for DeliveryShape {
    fn from(it: Delivery) -> Self {
        Self {
            id: it.id,
            event_id: it.event_id,
            event: it.event_type,
            state: it.state.as_str(),
            attempts: it.attempt,
            next_at: (it.state == control::db::DeliveryState::Pending).then_some(it.next_at),
            status: it.last_status,
            error: it.last_error,
            took_ms: it.last_ms,
            created_at: it.created_at,
        }
    }
}

/// A piece of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryList {
    items: Vec<DeliveryShape>,
    next: Option<String>,
}

impl V1 {
    /// The Channel whose hooks are meant, if the caller may see to them.
    async fn hooks_of(&self, caller: &Caller, whose: &Whose) -> Result<Option<Arc<Channel>>, Problem> {
        let Some(name) = &whose.channel else {
            caller.may(Action::Administer)?;
            return Ok(None);
        };
        Ok(Some(self.channel_for(caller, Action::OwnChannel, name).await?))
    }
}

/// A hook that is named in a path, which the caller may see to.
pub(super) struct Named {
    v1: Arc<V1>,
    caller: Caller,
    hook: Hook,
}

impl FromRequestParts<Arc<V1>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, v1: &Arc<V1>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, v1).await?;
        let Params(whose) = Params::<Whose>::from_request_parts(parts, v1).await?;
        let InPath(path) = InPath::<InUrl>::from_request_parts(parts, v1).await?;
        let channel = v1.hooks_of(&caller, &whose).await?;
        let hook = v1.accounts.database().hook(checked_id(&path.id)?).await?;
        let fits = hook.channel_id.as_deref() == channel.as_ref().map(|channel| channel.id.as_str());
        if !fits {
            return Err(Problem::not_found("there is no such hook"));
        }
        Ok(Self { v1: Arc::clone(v1), caller, hook })
    }
}

/// Path of a hook, and of what belongs to it.
#[derive(Deserialize)]
struct InUrl {
    id: String,
}

/// The hooks of a channel, or of the instance.
#[utoipa::path(get, path = "/api/v1/hooks", tag = "hook", params(Whose),
    responses((status = 200, body = HookList), Problems))]
pub(super) async fn list(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(whose): Params<Whose>,
) -> Result<Json<HookList>, Problem> {
    let channel = v1.hooks_of(&caller, &whose).await?;
    let channel = channel.as_ref().map(|channel| channel.id.as_str());
    let hooks = v1.accounts.database().hooks(channel).await?;
    Ok(Json(HookList { items: hooks.into_iter().map(HookShape::from).collect() }))
}

/// Adds a hook.
#[utoipa::path(post, path = "/api/v1/hooks", tag = "hook", params(Whose), request_body = NewHook,
    responses((status = 201, body = MadeHook), Problems))]
pub(super) async fn add(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(whose): Params<Whose>,
    Body(body): Body<NewHook>,
) -> Result<(StatusCode, Json<MadeHook>), Problem> {
    let channel = v1.hooks_of(&caller, &whose).await?;
    let channel = channel.as_ref().map(|channel| channel.id.as_str());
    let (hook, secret) =
        v1.webhooks.add(channel, &body.url, &body.events).await.map_err(|error| match error {
            WebhookError::Database(error) => error.into(),
            other => Problem::invalid(other.to_string()),
        })?;
    v1.audit(&caller, "hook.create", &hook.id).await?;
    Ok((StatusCode::CREATED, Json(MadeHook { secret, hook: hook.into() })))
}

/// Turns a hook on or off.
#[utoipa::path(patch, path = "/api/v1/hooks/{id}", tag = "hook", params(("id" = String, Path), Whose),
    request_body = HookChange, responses((status = 204), Problems))]
pub(super) async fn change(named: Named, Body(body): Body<HookChange>) -> Result<StatusCode, Problem> {
    let Named { v1, caller, hook } = &named;
    let reason = (!body.enabled).then_some("turned off by its owner");
    v1.accounts.database().enable_hook(&hook.id, reason).await?;
    v1.done(caller, if body.enabled { "hook.enable" } else { "hook.disable" }, &hook.id).await
}

/// Removes a hook with its log.
#[utoipa::path(delete, path = "/api/v1/hooks/{id}", tag = "hook", params(("id" = String, Path), Whose),
    responses((status = 204), Problems))]
pub(super) async fn remove(named: Named) -> Result<StatusCode, Problem> {
    let Named { v1, caller, hook } = &named;
    v1.accounts.database().remove_hook(&hook.id).await?;
    v1.done(caller, "hook.remove", &hook.id).await
}

/// Sends a `webhook.test`, whatever the hook subscribed to.
#[utoipa::path(post, path = "/api/v1/hooks/{id}/test", tag = "hook", params(("id" = String, Path), Whose),
    responses((status = 202), Problems))]
pub(super) async fn test(named: Named) -> Result<StatusCode, Problem> {
    let Named { v1, hook, .. } = &named;
    let at = now_ms();
    let event = Event {
        id: format!("evt_test_{at}"),
        kind: "webhook.test",
        channel_id: hook.channel_id.clone(),
        at,
        data: json!({ "hook": hook.id, "events": EVENT_TYPES }),
    };
    v1.webhooks.announce_to(hook, &event).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What was sent and what became of it, newest first.
#[utoipa::path(get, path = "/api/v1/hooks/{id}/deliveries", tag = "hook",
    params(("id" = String, Path), Whose, Cursor), responses((status = 200, body = DeliveryList), Problems))]
pub(super) async fn deliveries(
    named: Named,
    Params(cursor): Params<Cursor>,
) -> Result<Json<DeliveryList>, Problem> {
    let Named { v1, hook, .. } = &named;
    let page = cursor.page()?;
    let entries = v1.accounts.database().deliveries(&hook.id, &page).await?;
    let next = next(&entries, page.limit, |entry| &entry.id);
    Ok(Json(DeliveryList { items: entries.into_iter().map(DeliveryShape::from).collect(), next }))
}

/// Sends a message again, under the same `webhook-id`.
#[utoipa::path(post, path = "/api/v1/hooks/{id}/deliveries/{delivery}/replay", tag = "hook",
    params(("id" = String, Path), ("delivery" = String, Path), Whose), responses((status = 202), Problems))]
pub(super) async fn replay(
    named: Named,
    InPath((_hook, delivery)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let Named { v1, caller, hook } = &named;
    let delivery = checked_id(&delivery)?;
    v1.accounts.database().replay_delivery(&hook.id, delivery, now_ms()).await?;
    v1.audit(caller, "hook.replay", delivery).await?;
    Ok(StatusCode::ACCEPTED)
}
