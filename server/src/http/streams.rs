//! `/api/v1/streams`: what is live.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use control::db::Visibility;
use hls_packager::{State as HlsState, Status};
use media::{Kind, Layer, Stream, StreamId, StreamState, Track};
use serde::Serialize;
use utoipa::ToSchema;

use super::api::Api;
use super::caller::Caller;
use super::extract::{Cursor, InPath, Params, channel_name};
use super::problem::{Problem, Problems};
use crate::notices::{self, Notice};

/// A live stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamShape {
    id: String,
    channel: String,
    /// Unix milliseconds.
    started_at: u64,
    /// `live`, or `reconnecting` while it waits for its encoder.
    state: &'static str,
    /// `rtmp` or `whip`.
    transport: &'static str,
    encoder: Option<String>,
    /// By WebRTC.
    viewers: u64,
    video: Option<TrackShape>,
    audio: Option<TrackShape>,
    hls: Option<HlsShape>,
    /// What the streamer should change in the encoder.
    notices: Vec<Notice>,
}

/// A track.
#[derive(Serialize, ToSchema)]
pub(super) struct TrackShape {
    codec: String,
    /// Of the largest layer.
    width: Option<u32>,
    height: Option<u32>,
    /// Smallest first.
    layers: Vec<LayerShape>,
}

/// A layer of a track.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LayerShape {
    /// Empty for the only one.
    rid: String,
    /// RFC 6381.
    codecs: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    bytes: u64,
    /// Something comes.
    active: bool,
    bitrate_bps: Option<u64>,
    fps: Option<f64>,
    keyframes: u64,
    keyframe_interval_ms: Option<i64>,
    /// Shards, packager and transcoder that read it.
    readers: usize,
}

/// How a stream is available as HLS.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HlsShape {
    /// `starting`, `live`, `ended`, or `unsupported` if nothing in it is for HLS.
    state: &'static str,
    /// RFC 6381, of the rendition that the others are cut by.
    video: Option<String>,
    video_renditions: usize,
    audio: Option<String>,
    /// EXT-X-TARGETDURATION.
    target_duration_s: Option<u32>,
    /// PART-TARGET.
    part_target_ms: Option<u32>,
    /// What the streamer should know.
    notes: Vec<String>,
}

/// A piece of the live streams.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamList {
    items: Vec<StreamShape>,
    /// The cursor of the next piece; null if this is the last.
    next: Option<String>,
}

/// The live streams of public channels, oldest first.
#[utoipa::path(get, path = "/api/v1/streams", tag = "stream", params(Cursor),
    responses((status = 200, body = StreamList), Problems))]
pub(super) async fn list(
    State(api): State<Api>,
    Params(cursor): Params<Cursor>,
) -> Result<Json<StreamList>, Problem> {
    let page = cursor.page()?;
    let limit = page.limit as usize;
    let after = match page.after.as_deref().map(StreamId::parse) {
        Some(None) => return Err(Problem::invalid("cursor is the `next` of the piece before")),
        cursor => cursor.flatten(),
    };
    let mut streams = api.hub.streams();
    streams.retain(|stream| {
        let known = api.v1.authority.channel(stream.channel());
        after.is_none_or(|after| stream.id() > after)
            && known.is_some_and(|known| known.visibility == Visibility::Public)
    });
    streams.sort_by_key(|stream| stream.id());
    let next = (streams.len() > limit).then(|| streams[limit - 1].id().to_string());
    streams.truncate(limit);
    let items = streams.iter().map(|stream| StreamShape::new(stream, &api)).collect();
    Ok(Json(StreamList { items, next }))
}

/// The live stream of a channel, with its tracks and layers. Of one that is not for everybody, for those who moderate it.
#[utoipa::path(get, path = "/api/v1/streams/{channel}", tag = "stream", params(("channel" = String, Path)),
    responses((status = 200, body = StreamShape), Problems))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<Json<StreamShape>, Problem> {
    let name = channel_name(&name)?;
    let known = api.v1.authority.channel(&name);
    let known = known.ok_or_else(|| Problem::not_found(format!("there is no channel {name}")))?;
    if known.visibility.needs_grant() {
        caller.may_on(&api.v1, Action::ModerateChannel, &known).await?;
    }
    let stream = api.hub.stream(&name).ok_or_else(offline)?;
    Ok(Json(StreamShape::new(&stream, &api)))
}

/// Nobody is live.
pub(crate) fn offline() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "offline", "Nobody publishes on this channel now")
}

impl StreamShape {
    fn new(stream: &Stream, api: &Api) -> Self {
        let publication = stream.publication();
        let zero = media::MediaTime::zero(media::Timescale::MICROS);
        Self {
            id: stream.id().to_string(),
            channel: stream.channel().to_string(),
            started_at: stream.clock().ntp(zero).as_unix_micros() / 1000,
            state: match stream.state() {
                StreamState::Live => "live",
                StreamState::Reconnecting => "reconnecting",
                StreamState::Ended => "ended",
            },
            transport: publication.transport,
            encoder: publication.encoder.clone(),
            viewers: api.sfu.viewers(stream.id()),
            video: stream.source(Kind::Video).map(|track| TrackShape::new(&track)),
            audio: stream.source(Kind::Audio).map(|track| TrackShape::new(&track)),
            hls: api.packager.status(stream.channel()).map(HlsShape::from),
            notices: notices::of(stream),
        }
    }
}

impl TrackShape {
    /// What of a Track is known to everybody.
    pub(super) fn new(track: &Arc<Track>) -> Self {
        let layers: Vec<LayerShape> = track.layers().iter().map(|layer| LayerShape::new(layer)).collect();
        let (width, height) = layers.last().map_or((None, None), |top| (top.width, top.height));
        Self { codec: track.codec().name().to_owned(), width, height, layers }
    }
}

impl LayerShape {
    fn new(layer: &Layer) -> Self {
        let info = layer.info();
        let rates = info.rates(now());
        Self {
            rid: layer.rid().as_str().to_owned(),
            width: info.size.map(|size| size.0),
            height: info.size.map(|size| size.1),
            bytes: info.bytes,
            active: rates.is_some(),
            bitrate_bps: rates.map(|(bps, _)| bps),
            fps: rates.map(|(_, fps)| fps),
            keyframes: info.keyframes,
            keyframe_interval_ms: info.keyframe_interval_micros.map(|micros| micros / 1000),
            readers: layer.readers(),
            codecs: info.codecs,
        }
    }
}

impl From<Status> for HlsShape {
    fn from(it: Status) -> Self {
        Self {
            state: match it.state {
                HlsState::Starting => "starting",
                HlsState::Live => "live",
                HlsState::Ended => "ended",
                HlsState::Unsupported => "unsupported",
            },
            video: it.video,
            video_renditions: it.video_renditions,
            audio: it.audio,
            target_duration_s: it.target_duration_s,
            part_target_ms: it.part_target_ms,
            notes: it.notes,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the API is an edge: a Layer is silent by the clock")]
fn now() -> Instant {
    Instant::now()
}
