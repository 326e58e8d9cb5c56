//! Channels.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use control::account::NAME_CHARS_MAX;
use control::db::{Channel, ChannelChange, NewChannel, Visibility};
use media::ChannelName;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::shape::{ChannelList, ChannelShape};
use super::{V1, now_ms};
use crate::config::RESERVED_NAMES;
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, channel_name, next};
use crate::http::problem::{Problem, Problems};

/// One's channels; with `all=true` those of everybody, for administrators.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    #[serde(default)]
    #[param(required = false)]
    all: bool,
}

/// One's channels, or all of them.
#[utoipa::path(get, path = "/api/v1/channels", tag = "channel", params(Cursor, Which),
    responses((status = 200, body = ChannelList), Problems))]
pub(super) async fn list(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(cursor): Params<Cursor>,
    Params(which): Params<Which>,
) -> Result<Json<ChannelList>, Problem> {
    let actor = caller.may(if which.all { Action::Administer } else { Action::ReadAccount })?;
    let page = cursor.page()?;
    let owner = (!which.all).then_some(actor.user.id.as_str());
    let channels = v1.accounts.database().channels(owner, &page).await?;
    let next = next(&channels, page.limit, |channel| &channel.name);
    Ok(Json(ChannelList { items: channels.iter().map(|it| v1.shape(it)).collect(), next }))
}

/// A new channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// In URLs: 1 to 40 of `a-z 0-9 _ -`.
    name: String,
    #[serde(default)]
    title: String,
    /// `public` if left out.
    #[serde(default)]
    visibility: Option<String>,
}

/// Makes a channel.
#[utoipa::path(post, path = "/api/v1/channels", tag = "channel", request_body = New,
    responses((status = 201, body = ChannelShape), Problems))]
pub(super) async fn add(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<New>,
) -> Result<(StatusCode, Json<ChannelShape>), Problem> {
    let actor = caller.may(Action::UseAccount)?;
    let name = ChannelName::parse(&body.name).map_err(|error| Problem::invalid(error.to_string()))?;
    if RESERVED_NAMES.contains(&name.as_str()) {
        return Err(Problem::invalid(format!(
            "{name} is an address of the server itself: choose another name"
        )));
    }
    let new = NewChannel {
        owner_id: &actor.user.id,
        name: name.as_str(),
        title: title(&body.title)?,
        visibility: body.visibility.as_deref().map_or(Ok(Visibility::Public), visibility)?,
    };
    let channel = v1.accounts.database().add_channel(new, now_ms()).await?;
    v1.authority.refresh().await?;
    v1.audit(&caller, "channel.create", name.as_str()).await?;
    Ok((StatusCode::CREATED, Json(v1.shape(&channel))))
}

/// A channel.
#[utoipa::path(get, path = "/api/v1/channels/{channel}", tag = "channel", params(("channel" = String, Path)),
    responses((status = 200, body = ChannelShape), Problems))]
pub(super) async fn show(
    State(v1): State<Arc<V1>>,
    InPath(name): InPath<String>,
) -> Result<Json<ChannelShape>, Problem> {
    // From memory: everybody may ask this.
    let name = channel_name(&name)?;
    let channel = v1.authority.channel(&name);
    let channel = channel.ok_or_else(|| Problem::not_found(format!("there is no channel {name}")))?;
    Ok(Json(v1.shape(&channel)))
}

/// What changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Change {
    #[serde(default)]
    title: Option<String>,
    /// `public`, `unlisted`, `followers`, `subscribers` or `signed`. It counts for those who come from now on.
    #[serde(default)]
    visibility: Option<String>,
    /// How far live viewers may go back, in seconds, at most what the server allows; null: that. It counts for streams that
    /// begin from now on.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    rewind_seconds: Option<Option<u32>>,
    /// The same in MiB of all that there is of the stream, 16 or more.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, minimum = 16)]
    rewind_mib: Option<Option<u32>>,
}

/// Null is something else than nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes a channel. For its owner, its editors and administrators.
#[utoipa::path(patch, path = "/api/v1/channels/{channel}", tag = "channel", params(("channel" = String, Path)),
    request_body = Change, responses((status = 200, body = ChannelShape), Problems))]
pub(super) async fn change(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(body): Body<Change>,
) -> Result<Json<ChannelShape>, Problem> {
    let channel = v1.channel_for(&caller, Action::EditChannel, &name).await?;
    let configured = channel.owner_id.is_none();
    let in_file = body.title.is_some() || body.rewind_seconds.is_some() || body.rewind_mib.is_some();
    if configured && in_file {
        return Err(v1.configured(&channel));
    }
    within("rewindSeconds", body.rewind_seconds.flatten(), 0, v1.reach.rewind_s.into())?;
    within("rewindMib", body.rewind_mib.flatten(), 16, v1.reach.rewind_mib)?;
    let change = ChannelChange {
        title: body.title.as_deref().map(title).transpose()?,
        visibility: body.visibility.as_deref().map(visibility).transpose()?,
        next_epoch: false,
        rewind_s: body.rewind_seconds,
        rewind_mib: body.rewind_mib,
    };
    v1.accounts.database().change_channel(&channel.id, change, now_ms()).await?;
    v1.audit(&caller, "channel.change", &channel.name).await?;
    let changed = v1.channel(&name).await?;
    Ok(Json(v1.shape(&changed)))
}

/// Removes a channel with its keys and all that hangs on it; its Stream ends. For its owner and administrators.
#[utoipa::path(delete, path = "/api/v1/channels/{channel}", tag = "channel", params(("channel" = String, Path)),
    responses((status = 204), Problems))]
pub(super) async fn remove(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<StatusCode, Problem> {
    let channel = v1.channel_for(&caller, Action::OwnChannel, &name).await?;
    if channel.owner_id.is_none() {
        return Err(v1.configured(&channel));
    }
    v1.accounts.database().remove_channel(&channel.id, now_ms()).await?;
    v1.authority.refresh().await?;
    v1.broadcasts.check();
    v1.done(&caller, "channel.remove", &channel.name).await
}

/// A Stream that was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PastStream {
    id: String,
    /// Its id in URLs of media.
    stream: Option<String>,
    transport: String,
    started_at: i64,
    /// Null while it is live.
    ended_at: Option<i64>,
    /// `ended`, `node_lost`, `cut` or `removed`.
    end_reason: Option<String>,
}

/// A piece of the Streams of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PastStreams {
    items: Vec<PastStream>,
    next: Option<String>,
}

/// The Streams of a channel, newest first. For its owner, editors, moderators.
#[utoipa::path(get, path = "/api/v1/channels/{channel}/streams", tag = "channel",
    params(("channel" = String, Path), Cursor), responses((status = 200, body = PastStreams), Problems))]
pub(super) async fn past(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(name): InPath<String>,
    Params(cursor): Params<Cursor>,
) -> Result<Json<PastStreams>, Problem> {
    let channel = v1.channel_for(&caller, Action::ModerateChannel, &name).await?;
    let page = cursor.page()?;
    let streams = v1.accounts.database().past_streams(&channel.id, &page).await?;
    let next = next(&streams, page.limit, |stream| &stream.id);
    let items = streams.into_iter().map(|it| PastStream {
        id: it.id,
        stream: it.stream,
        transport: it.transport,
        started_at: it.started_at,
        ended_at: it.ended_at,
        end_reason: it.end_reason,
    });
    Ok(Json(PastStreams { items: items.collect(), next }))
}

impl V1 {
    fn shape(&self, channel: &Channel) -> ChannelShape {
        let live = ChannelName::parse(&channel.name).is_ok_and(|name| self.hub.stream(&name).is_some());
        ChannelShape::new(channel, live)
    }

    /// For what only the configuration file can change.
    pub(super) fn configured(&self, channel: &Channel) -> Problem {
        let detail = format!("channel {} stands in the configuration file: change it there", channel.name);
        Problem::new(StatusCode::CONFLICT, "configured", detail)
    }
}

fn title(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("a title is one line of at most {NAME_CHARS_MAX} characters")));
    }
    Ok(text)
}

/// An owner may say less than the server, not more.
fn within(field: &str, value: Option<u32>, least: u64, most: u64) -> Result<(), Problem> {
    match value.map(u64::from) {
        Some(value) if value < least || value > most => {
            Err(Problem::invalid(format!("{field} is {least} to {most}, or null for what the server says")))
        }
        _ => Ok(()),
    }
}

fn visibility(text: &str) -> Result<Visibility, Problem> {
    let known = "visibility is public, unlisted, followers, subscribers or signed";
    Visibility::parse(text).ok_or_else(|| Problem::invalid(known))
}
