//! `/api/v1/recordings`: what streams have left.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use control::db::Channel;
use control::{Action, Denied};
use hls_packager::{Recording, Recordings, RemoveError, Storage, Uploaded};
use media::{ChannelName, StreamId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Guest;
use super::extract::{Cursor, InPath, Params};
use super::operator::Operator;
use super::problem::{Problem, Problems};
use super::v1::V1;
use crate::outcomes::was_of;

/// Recordings looked at in one go: those that the caller may not see are left out.
const LOOK_AT: usize = 200;

/// What the routes show, and to whom.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) v1: Arc<V1>,
    /// None if nothing is recorded.
    pub(crate) recordings: Option<Arc<Recordings>>,
    /// Recordings of a Channel that is in no table are for everybody.
    pub(crate) unknown_is_open: bool,
    pub(crate) operator: Operator,
}

impl FromRef<Shelf> for Arc<V1> {
    fn from_ref(shelf: &Shelf) -> Self {
        Arc::clone(&shelf.v1)
    }
}

pub(crate) fn routes(shelf: Shelf) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, remove)).with_state(shelf)
}

/// A recording.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecordingShape {
    /// The id of its stream.
    id: String,
    channel: String,
    /// `live`, `processing`, `ready` or `failed`.
    state: &'static str,
    /// Unix milliseconds.
    started_at: u64,
    /// Unix milliseconds; null while it is live, as all that is known at its end.
    ended_at: Option<u64>,
    duration_ms: Option<u64>,
    /// On disk, segments and MP4 file.
    bytes: u64,
    /// Holes that a full or slow disk left.
    holes: u64,
    /// How long they are together.
    holes_ms: u64,
    /// It was put together after a crash.
    repaired: bool,
    /// RFC 6381.
    codecs: Vec<String>,
    width: Option<u32>,
    height: Option<u32>,
    mp4_bytes: Option<u64>,
    /// Why it failed, why it is not finished yet, or why there is no MP4 file.
    error: Option<String>,
    /// Where its media is read from: `disk` or `s3`.
    storage: &'static str,
    /// What of it is in the bucket; null if there is none.
    uploaded: Option<UploadedShape>,
    /// Where it plays by HLS, once it does.
    hls: Option<String>,
    /// Where its MP4 file is, once there is one.
    mp4: Option<String>,
}

/// What of a recording is in the bucket.
#[derive(Serialize, ToSchema)]
struct UploadedShape {
    /// Segments of all renditions.
    segments: u64,
    /// Bytes of segments, inits and MP4 file.
    bytes: u64,
    /// That is all of it.
    complete: bool,
    /// Why the last thing that was tried failed, until something succeeds.
    error: Option<String>,
}

impl From<Uploaded> for UploadedShape {
    fn from(it: Uploaded) -> Self {
        Self { segments: it.segments, bytes: it.bytes, complete: it.complete, error: it.error }
    }
}

impl From<Recording> for RecordingShape {
    fn from(it: Recording) -> Self {
        let (hls, mp4) = (it.hls(), it.mp4());
        Self {
            channel: it.channel,
            state: it.state.as_str(),
            started_at: it.started_at,
            ended_at: it.ended_at,
            duration_ms: it.duration_ms,
            bytes: it.bytes,
            holes: it.holes,
            holes_ms: it.holes_ms,
            repaired: it.repaired,
            codecs: it.codecs,
            width: it.width,
            height: it.height,
            mp4_bytes: it.mp4_bytes,
            error: it.error,
            storage: match it.storage {
                Storage::Disk => "disk",
                Storage::S3 => "s3",
            },
            uploaded: it.uploaded.map(UploadedShape::from),
            hls,
            mp4,
            id: it.id,
        }
    }
}

/// A piece of the recordings.
#[derive(Serialize, ToSchema)]
struct RecordingList {
    items: Vec<RecordingShape>,
    /// The cursor of the next piece; null if this is the last.
    next: Option<String>,
}

/// Whose recordings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// A channel's; left out, those of all.
    #[serde(default)]
    #[param(required = false)]
    channel: Option<String>,
}

/// Who asks, and what of it was found out.
struct Asker<'a> {
    shelf: &'a Shelf,
    guest: &'a Guest,
    operator: bool,
    /// By Channel whether they may see its recordings: a list has many of few.
    known: HashMap<String, bool>,
}

impl<'a> Asker<'a> {
    fn new(shelf: &'a Shelf, guest: &'a Guest, client: SocketAddr, headers: &HeaderMap) -> Self {
        Self { shelf, guest, operator: shelf.operator.is(client, headers), known: HashMap::new() }
    }

    /// Whether they may know of a recording: whoever may watch it, who moderates the Channel, and the operator.
    async fn sees(&mut self, recording: &Recording) -> bool {
        if self.operator {
            return true;
        }
        if self.has_changed_hands(recording) {
            return self.guest.caller.may(Action::Administer).is_ok();
        }
        if let Some(sees) = self.known.get(&recording.channel) {
            return *sees;
        }
        let sees = self.sees_channel(&recording.channel).await;
        self.known.insert(recording.channel.clone(), sees);
        sees
    }

    /// The Channel that has the name of the one that was recorded.
    fn namesake(&self, recording: &Recording) -> Option<Arc<Channel>> {
        self.shelf.v1.authority.channel(&ChannelName::parse(&recording.channel).ok()?)
    }

    /// Whether that is another one: what a removed Channel has left does not go to who takes its name.
    fn has_changed_hands(&self, recording: &Recording) -> bool {
        self.namesake(recording).is_some_and(|channel| !was_of(recording, &channel))
    }

    async fn sees_channel(&self, channel: &str) -> bool {
        let (v1, caller) = (&self.shelf.v1, &self.guest.caller);
        let Ok(name) = ChannelName::parse(channel) else { return false };
        let asked = control::Request::Play { channel: &name, token: self.guest.grant.as_deref() };
        match v1.authority.authorize(asked).await {
            Ok(_) => true,
            Err(Denied::NoChannel { .. }) => {
                self.shelf.unknown_is_open || caller.may(Action::Administer).is_ok()
            }
            Err(_) => match v1.authority.channel(&name) {
                Some(known) => caller.may_on(v1, Action::ModerateChannel, &known).await.is_ok(),
                None => false,
            },
        }
    }

    /// Whether they may remove it.
    async fn owns(&self, recording: &Recording) -> Result<(), Problem> {
        let (v1, caller) = (&self.shelf.v1, &self.guest.caller);
        if self.operator {
            return Ok(());
        }
        match self.namesake(recording).filter(|channel| was_of(recording, channel)) {
            Some(channel) => drop(caller.may_on(v1, Action::OwnChannel, &channel).await?),
            None => drop(caller.may(Action::Administer)?),
        }
        Ok(())
    }

    /// A recording by its id. Who may not watch it does not hear that it is there.
    async fn find(&mut self, id: &str) -> Result<(StreamId, Recording), Problem> {
        let missing = || Problem::new(StatusCode::NOT_FOUND, "no-recording", "There is no such recording");
        let id = StreamId::parse(id).ok_or_else(missing)?;
        let found = self.shelf.recordings.as_ref().and_then(|recordings| recordings.get(id));
        let found = found.ok_or_else(missing)?;
        if self.sees(&found).await { Ok((id, found)) } else { Err(missing()) }
    }
}

/// The recordings that the caller may watch, newest first. Of a channel that is not for everybody: with a grant to watch
/// as the bearer token, or for those who moderate the channel. On the server itself: all of them.
#[utoipa::path(get, path = "/api/v1/recordings", tag = "recording", params(Whose, Cursor),
    responses((status = 200, body = RecordingList), Problems))]
async fn list(
    State(shelf): State<Shelf>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    guest: Guest,
    Params(whose): Params<Whose>,
    Params(cursor): Params<Cursor>,
) -> Result<Json<RecordingList>, Problem> {
    let page = cursor.page()?;
    let limit = page.limit as usize;
    let mut before = match page.after.as_deref().map(StreamId::parse) {
        Some(None) => return Err(Problem::invalid("cursor is the `next` of the piece before")),
        cursor => cursor.flatten(),
    };
    let mut asker = Asker::new(&shelf, &guest, client, &headers);
    let mut shown = Vec::new();
    // One more than asked for, to know whether that is all.
    while let Some(recordings) = shelf.recordings.as_ref().filter(|_| shown.len() <= limit) {
        let found = recordings.list(whose.channel.as_deref(), before, LOOK_AT);
        let Some(oldest) = found.last().and_then(|last| StreamId::parse(&last.id)) else { break };
        before = Some(oldest);
        for recording in found {
            if shown.len() <= limit && asker.sees(&recording).await {
                shown.push(RecordingShape::from(recording));
            }
        }
    }
    let next = (shown.len() > limit).then(|| shown[limit - 1].id.clone());
    shown.truncate(limit);
    Ok(Json(RecordingList { items: shown, next }))
}

/// A recording.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}", tag = "recording", params(("recording" = String, Path)),
    responses((status = 200, body = RecordingShape), Problems))]
async fn show(
    State(shelf): State<Shelf>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    guest: Guest,
    InPath(id): InPath<String>,
) -> Result<Json<RecordingShape>, Problem> {
    let (_, found) = Asker::new(&shelf, &guest, client, &headers).find(&id).await?;
    Ok(Json(found.into()))
}

/// Removes a recording with its files. For the channel's owner and administrators, and on the server itself.
#[utoipa::path(delete, path = "/api/v1/recordings/{recording}", tag = "recording",
    params(("recording" = String, Path)), responses((status = 204), Problems))]
async fn remove(
    State(shelf): State<Shelf>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    guest: Guest,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let mut asker = Asker::new(&shelf, &guest, client, &headers);
    if !asker.operator {
        guest.caller.actor()?;
    }
    let (id, found) = asker.find(&id).await?;
    asker.owns(&found).await?;
    if let Some(recordings) = shelf.recordings.clone() {
        // It renames a folder: a disk that stands still holds nobody else up.
        let removed = tokio::task::spawn_blocking(move || recordings.remove(id)).await;
        match removed.unwrap_or(Err(RemoveError::Missing)) {
            // Gone meanwhile, as was wanted.
            Ok(()) | Err(RemoveError::Missing) => {}
            Err(error @ RemoveError::Live) => {
                return Err(Problem::new(StatusCode::CONFLICT, "live", error.to_string()));
            }
        }
    }
    if guest.caller.actor().is_ok() {
        shelf.v1.audit(&guest.caller, "recording.remove", &format!("{} {}", found.channel, found.id)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
