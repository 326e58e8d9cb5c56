//! What the packager counts and what it tells the API.

use serde::Serialize;

/// Counters of all Streams since the start, and gauges of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Streams that are packaged or linger now.
    pub streams: u64,
    /// Renditions of those, audio counted.
    pub renditions: u64,
    /// Bytes of parts held now.
    pub bytes_held: u64,
    /// Playlist and part requests that wait now.
    pub requests_waiting: u64,
    /// Parts made.
    pub parts_total: u64,
    /// Segments closed.
    pub segments_total: u64,
    /// Segments without media (EXT-X-GAP).
    pub gap_segments_total: u64,
    /// Segments that begin without a keyframe.
    pub dependent_segments_total: u64,
    /// Discontinuities.
    pub discontinuities_total: u64,
    /// Frames that fell outside of every segment.
    pub frames_dropped_total: u64,
    /// Frames without sound that were put into holes of the source's sound.
    pub silent_frames_total: u64,
    /// How often the packager was too slow for a Track's ring and skipped to a keyframe.
    pub readers_lagged_total: u64,
    /// Segments removed early because a Rendition reached its byte limit.
    pub window_shrunk_total: u64,
    /// Segments that viewers cannot go back to any more because `rewind_mib` was reached.
    pub rewind_cut_total: u64,
    /// Inits and parts that could not be written.
    pub boxes_failed_total: u64,
    /// Playlists rendered and compressed: once per change and form, however many wait.
    pub playlists_rendered_total: u64,
    /// Playlists served.
    pub playlists_served_total: u64,
    /// Segments, parts and inits served.
    pub files_served_total: u64,
    /// Payload bytes of those.
    pub bytes_served_total: u64,
    /// Requests answered with 400.
    pub requests_rejected_total: u64,
    /// Requests answered with 404.
    pub requests_missing_total: u64,
    /// Requests answered with 503 because the source paused.
    pub requests_stalled_total: u64,
}

impl Stats {
    /// Adds what one Stream counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.renditions += other.renditions;
        self.bytes_held += other.bytes_held;
        self.parts_total += other.parts_total;
        self.segments_total += other.segments_total;
        self.gap_segments_total += other.gap_segments_total;
        self.dependent_segments_total += other.dependent_segments_total;
        self.discontinuities_total += other.discontinuities_total;
        self.frames_dropped_total += other.frames_dropped_total;
        self.silent_frames_total += other.silent_frames_total;
        self.readers_lagged_total += other.readers_lagged_total;
        self.window_shrunk_total += other.window_shrunk_total;
        self.rewind_cut_total += other.rewind_cut_total;
        self.boxes_failed_total += other.boxes_failed_total;
        self.playlists_rendered_total += other.playlists_rendered_total;
    }
}

/// How a Stream is available as HLS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The Channel.
    pub channel: String,
    /// The Stream's id.
    pub stream: String,
    /// Where it stands.
    pub state: State,
    /// `codecs` string of the video Rendition, or of the one that the others are cut by.
    pub video: Option<String>,
    /// Video Renditions that there are.
    pub video_renditions: usize,
    /// `codecs` string of the audio Rendition.
    pub audio: Option<String>,
    /// TARGETDURATION in seconds, once fixed.
    pub target_duration_s: Option<u32>,
    /// PART-TARGET in milliseconds, once fixed.
    pub part_target_ms: Option<u32>,
    /// What the streamer should know, in plain words.
    pub notes: Vec<String>,
}

/// Where a Stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The first segments are being made.
    Starting,
    /// It plays.
    Live,
    /// Over; still downloadable for a while.
    Ended,
    /// Nothing in it that HLS carries.
    Unsupported,
}
