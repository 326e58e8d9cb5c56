//! The Media Playlist.

use std::fmt;

use super::tag::{
    Map, Part, PartInf, PreloadHint, ProgramDateTime, RenditionReport, Seconds, ServerControl, Skip,
};

/// `EXT-X-VERSION` of a full playlist: EXT-X-MAP without I-FRAMES-ONLY needs 6 (section 8); the low-latency
/// tags need no higher one.
pub const VERSION: u8 = 6;

/// A Media Playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `EXT-X-VERSION`.
    pub version: u8,
    /// `EXT-X-TARGETDURATION`.
    pub target_duration: u32,
    /// `EXT-X-SERVER-CONTROL`.
    pub server_control: ServerControl,
    /// `EXT-X-PART-INF`.
    pub part_inf: PartInf,
    /// `EXT-X-MEDIA-SEQUENCE`.
    pub media_sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuity_sequence: u64,
    /// `EXT-X-SKIP`, in a delta update.
    pub skip: Option<Skip>,
    /// Oldest first; the last one may be open (`uri` is `None`).
    pub segments: Vec<Segment>,
    /// `EXT-X-PRELOAD-HINT`.
    pub preload_hint: Option<PreloadHint>,
    /// `EXT-X-RENDITION-REPORT`.
    pub rendition_reports: Vec<RenditionReport>,
    /// `EXT-X-ENDLIST`.
    pub ended: bool,
}

/// A Media Segment with the tags that apply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `EXT-X-DISCONTINUITY`.
    pub discontinuity: bool,
    /// Its init. Written where it differs from the one of the segment before.
    pub map: Map,
    /// `EXT-X-PROGRAM-DATE-TIME`.
    pub program_date_time: ProgramDateTime,
    /// `EXT-X-GAP`.
    pub gap: bool,
    /// `EXT-X-PART`; empty away from the live edge.
    pub parts: Vec<Part>,
    /// `EXTINF`.
    pub duration: Seconds,
    /// `None` while it is open: then it has parts only.
    pub uri: Option<String>,
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#EXTM3U")?;
        writeln!(f, "#EXT-X-VERSION:{}", self.version)?;
        writeln!(f, "#EXT-X-TARGETDURATION:{}", self.target_duration)?;
        writeln!(f, "{}", self.server_control)?;
        writeln!(f, "{}", self.part_inf)?;
        writeln!(f, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence)?;
        writeln!(f, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        if let Some(skip) = &self.skip {
            writeln!(f, "{skip}")?;
        }
        let mut map = None;
        for segment in &self.segments {
            segment.write(f, map != Some(&segment.map))?;
            map = Some(&segment.map);
        }
        if self.ended {
            return writeln!(f, "#EXT-X-ENDLIST");
        }
        if let Some(hint) = &self.preload_hint {
            writeln!(f, "{hint}")?;
        }
        for report in &self.rendition_reports {
            writeln!(f, "{report}")?;
        }
        Ok(())
    }
}

impl Segment {
    /// Everything that applies to a segment stands before its first part (section 4.4.4.9).
    fn write(&self, f: &mut fmt::Formatter<'_>, with_map: bool) -> fmt::Result {
        if self.discontinuity {
            writeln!(f, "#EXT-X-DISCONTINUITY")?;
        }
        if with_map {
            writeln!(f, "{}", self.map)?;
        }
        writeln!(f, "{}", self.program_date_time)?;
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        let Some(uri) = &self.uri else { return Ok(()) };
        if self.gap {
            writeln!(f, "#EXT-X-GAP")?;
        }
        writeln!(f, "#EXTINF:{},\n{uri}", self.duration)
    }
}
