//! `recording.json`: what a recording is, for people and programs. The truth about it, written atomically.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::storage::disk::{replace, replace_soon};

/// Its name in the folder of a recording.
pub(crate) const FILE: &str = "recording.json";

/// The form of the file.
const VERSION: u32 = 1;

/// What a Stream leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    version: u32,
    /// The id of its Stream.
    pub id: String,
    /// The Channel.
    pub channel: String,
    /// Where it stands.
    pub state: RecordingState,
    /// Unix time in milliseconds.
    pub started_at: u64,
    /// Unix time in milliseconds, once it ended.
    pub ended_at: Option<u64>,
    /// How long it is, once it ended.
    pub duration_ms: Option<u64>,
    /// On disk, segments and MP4 file, once it ended.
    pub bytes: u64,
    /// Holes that a full or slow disk left, and how long they are together.
    pub holes: u64,
    /// See `holes`.
    pub holes_ms: u64,
    /// The server did not end it: it was put together after a crash.
    pub repaired: bool,
    /// RFC 6381, once it ended.
    pub codecs: Vec<String>,
    /// Largest picture, once it ended.
    pub width: Option<u32>,
    /// See `width`.
    pub height: Option<u32>,
    /// Bytes of the MP4 file, once there is one.
    pub mp4_bytes: Option<u64>,
    /// Why it failed, why it is not finished yet, or why there is no MP4 file.
    pub error: Option<String>,
    /// Where its media is read from.
    #[serde(default)]
    pub storage: Storage,
    /// It ended, and whoever wants to hear of that was not told yet. One of an earlier version was not to be told of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
    /// What of it is in the bucket, if there is one.
    #[serde(default)]
    pub uploaded: Option<Uploaded>,
}

/// Where the media of a recording is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// The disk of this node, whether or not a bucket has it too.
    #[default]
    Disk,
    /// The bucket: the files on disk are gone.
    S3,
}

/// What of a recording is in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// Segments of all Renditions.
    pub segments: u64,
    /// Bytes of segments, inits and MP4 file.
    pub bytes: u64,
    /// That is all of it.
    pub complete: bool,
    /// Why the last thing that was tried failed, until something succeeds.
    pub error: Option<String>,
}

impl Uploaded {
    /// One object more.
    pub(crate) fn add(&mut self, name: &str, bytes: u64) {
        self.segments += u64::from(name.ends_with(".m4s"));
        self.bytes += bytes;
    }
}

/// Where a recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Its Stream is live.
    Live,
    /// Its Stream is over: it plays by HLS; the MP4 file is being made, or waits for the disk.
    Processing,
    /// Complete.
    Ready,
    /// Nothing of it can be played.
    Failed,
}

impl RecordingState {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

impl Recording {
    /// Where it plays by HLS on this server, once it does.
    pub fn hls(&self) -> Option<String> {
        let plays = matches!(self.state, RecordingState::Processing | RecordingState::Ready);
        plays.then(|| format!("/vod/{}/master.m3u8", self.id))
    }

    /// Where its MP4 file is on this server, once there is one.
    pub fn mp4(&self) -> Option<String> {
        self.mp4_bytes.map(|_| format!("/vod/{}/video.mp4", self.id))
    }

    /// A recording that begins.
    pub(crate) fn new(id: String, channel: String, started_at: u64) -> Self {
        Self {
            version: VERSION,
            id,
            channel,
            state: RecordingState::Live,
            started_at,
            ended_at: None,
            duration_ms: None,
            bytes: 0,
            holes: 0,
            holes_ms: 0,
            repaired: false,
            codecs: Vec::new(),
            width: None,
            height: None,
            mp4_bytes: None,
            error: None,
            storage: Storage::Disk,
            untold: false,
            uploaded: None,
        }
    }

    /// Says what it consists of, now that it ended.
    pub(crate) fn describe(&mut self, plan: &Plan) {
        let millis = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let (holes, length) = plan.holes();
        if self.channel.is_empty() {
            self.channel.clone_from(&plan.channel);
        }
        self.ended_at = plan.ended_unix_us.map(|micros| micros / 1000);
        self.duration_ms = Some(millis(plan.duration()));
        self.bytes = plan.bytes();
        (self.holes, self.holes_ms) = (holes, millis(length));
        let abouts: Vec<_> = plan.playable().filter_map(|rendition| rendition.about()).collect();
        self.codecs = abouts.iter().map(|about| about.codecs.clone()).collect();
        let largest = abouts.iter().filter_map(|about| about.size).max_by_key(|(width, _)| *width);
        (self.width, self.height) = largest.unzip();
    }

    /// Reads the one in `folder`.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let found: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        (found.version == VERSION).then_some(found)
    }

    /// Writes it.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        replace(&folder.join(FILE), &self.json())
    }

    /// Writes the first one of a Stream, whose frames wait: a torn one is made anew from the journal.
    pub(crate) fn write_soon(&self, folder: &Path) -> io::Result<()> {
        replace_soon(&folder.join(FILE), &self.json()).map(drop)
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}
