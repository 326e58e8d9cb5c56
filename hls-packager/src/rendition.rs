//! The media behind one Media Playlist: its window, what is still downloadable, what a request gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{CodecConfig, Kind, StreamClock, Timescale};

use crate::assembler::Piece;
use crate::directives::{Directives, Skip};
use crate::file_name::FileName;
use crate::fmp4::{self, Slices};
use crate::playlist::media::{Segment as ListedSegment, VERSION};
use crate::playlist::tag::{
    Map, Part as ListedPart, PartInf, PreloadHint, ProgramDateTime, RenditionReport, Seconds, ServerControl,
};
use crate::playlist::{Media, Rendered, delta};
use crate::probe::Targets;
use crate::recording::RenditionTap;
use crate::rewind::Rewind;
use crate::window::{Part, Segment, Window};

/// Multiples of TARGETDURATION: HOLD-BACK (section 4.4.3.8), how long parts stay listed (section 6.2.2),
/// CAN-SKIP-UNTIL (section 4.4.3.8).
const HOLD_BACK: u32 = 3;
const PARTS_LISTED: u32 = 3;
const SKIP_UNTIL: u32 = 6;

/// Closed segments that list their parts at most, besides the open one. Players start PART-HOLD-BACK behind the
/// end; the validators count "three target durations" in segments, the open or hinted one included.
const CLOSED_WITH_PARTS: usize = 2;

/// PART-HOLD-BACK in part targets (Apple's rule 14.3).
const PART_HOLD_BACK: u32 = 3;

/// What to do with a playlist request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer now.
    Now,
    /// Wait for the next change of this Rendition.
    Wait,
    /// 400, and why. It is too early for it, so later the answer is another one.
    Bad(&'static str),
}

/// What there is under a name.
#[derive(Clone, Debug)]
pub(crate) enum Resource {
    /// These bytes, in order.
    Found(Vec<Slices>),
    /// It was hinted and is not there yet.
    Hinted,
    /// Not in memory; it lies in the recording.
    Recorded,
    /// Neither listed nor hinted.
    Missing,
}

/// The media behind one Media Playlist.
#[derive(Debug)]
pub(crate) struct Rendition {
    kind: Kind,
    scale: Timescale,
    clock: StreamClock,
    targets: Targets,
    window: Window,
    generation: Option<u64>,
    config: Option<Arc<CodecConfig>>,
    ended: bool,
    /// Grows with each change of the playlist.
    version: u64,
    changed_at: Option<Instant>,
    rendered: [Option<Rendered>; 3],
    /// Bits per second of the largest segment ever, and sums for the average.
    peak_bps: u64,
    total_bytes: u64,
    total_duration: Duration,
    /// Samples in complete segments, and in the open one.
    total_samples: u64,
    open_samples: u64,
    tap: RenditionTap,
    pub(crate) counters: RenditionCounters,
}

/// What a Rendition counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RenditionCounters {
    pub(crate) parts: u64,
    pub(crate) segments: u64,
    pub(crate) gaps: u64,
    pub(crate) discontinuities: u64,
    pub(crate) rendered: u64,
    pub(crate) failed: u64,
}

impl Rendition {
    pub(crate) fn new(
        kind: Kind,
        scale: Timescale,
        clock: StreamClock,
        targets: Targets,
        window: Duration,
        tap: RenditionTap,
    ) -> Self {
        Self {
            kind,
            scale,
            clock,
            targets,
            window: Window::new(
                window,
                Duration::from_secs(targets.target_duration.into()),
                Rewind::new(tap.about(), tap.horizon()),
            ),
            generation: None,
            config: None,
            ended: false,
            version: 0,
            changed_at: None,
            rendered: [const { None }; 3],
            peak_bps: 0,
            total_bytes: 0,
            total_duration: Duration::ZERO,
            total_samples: 0,
            open_samples: 0,
            tap,
            counters: RenditionCounters::default(),
        }
    }

    /// Starts at this number instead of 0: the Rendition joins others that are ahead.
    pub(crate) fn join(&mut self, msn: u64, discontinuity_sequence: u64) {
        self.window.join(msn, discontinuity_sequence);
    }

    /// The segment in which players start, PART-HOLD-BACK from the end, begins with a keyframe.
    pub(crate) fn starts_at_keyframe(&self) -> bool {
        self.window.starts_at_keyframe(self.targets.part_target * PART_HOLD_BACK)
    }

    /// Segments removed before their time.
    pub(crate) fn shrunk(&self) -> u64 {
        self.window.shrunk
    }

    /// Segments that cannot be gone back to any more because there were too many bytes.
    pub(crate) fn rewind_cut(&self) -> u64 {
        self.window.cut()
    }

    /// Takes what the assembler made. Bytes are stored before the playlist names them.
    pub(crate) fn apply(&mut self, piece: Piece, now: Instant) {
        match piece {
            Piece::Init(config) => self.put_init(config),
            Piece::Open { cut, at } => {
                self.counters.discontinuities += u64::from(cut.discontinuity);
                let starts = self.clock.ntp(at);
                self.tap.open(&cut, at, starts);
                self.window.open(&cut, self.generation.unwrap_or(0), starts);
            }
            Piece::Part { decode_time, samples, ticks, independent } => {
                let sequence = u32::try_from(self.window.store.next() + 1).unwrap_or(u32::MAX);
                match fmp4::fragment(self.kind, sequence, decode_time, &samples) {
                    Ok(bytes) => {
                        let duration = duration(ticks, self.scale);
                        self.tap.part(&bytes, decode_time, &samples, duration);
                        self.window.push(bytes, Part { duration, independent });
                        self.counters.parts += 1;
                        self.open_samples += samples.len() as u64;
                        self.change(now);
                    }
                    Err(_) => self.counters.failed += 1,
                }
            }
            Piece::Close { ticks, gap } => self.close(duration(ticks, self.scale), gap, now),
        }
    }

    /// Nothing more will come: EXT-X-ENDLIST.
    pub(crate) fn end(&mut self, now: Instant) {
        self.ended = true;
        self.change(now);
    }

    /// Grows with each change: waiters look again.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// When it last changed.
    pub(crate) fn changed_at(&self) -> Option<Instant> {
        self.changed_at
    }

    /// A viewer can start: there is a complete segment.
    pub(crate) fn is_ready(&self) -> bool {
        self.window.segments().any(|segment| !segment.open && !segment.gap)
    }

    /// A viewer could start once, though what is listed now may be gaps only.
    pub(crate) fn was_ready(&self) -> bool {
        self.counters.segments > self.counters.gaps
    }

    /// It goes on: its newest complete segment is no gap.
    pub(crate) fn is_fresh(&self) -> bool {
        self.window.segments().rev().find(|segment| !segment.open).is_some_and(|segment| !segment.gap)
    }

    /// What its decoder must know, once something is in it.
    pub(crate) fn config(&self) -> Option<&Arc<CodecConfig>> {
        self.config.as_ref()
    }

    /// Bits per second of the largest segment, and on average.
    pub(crate) fn bandwidth(&self) -> (u64, u64) {
        let micros = self.total_duration.as_micros().max(1);
        let average = u128::from(self.total_bytes) * 8_000_000 / micros;
        (self.peak_bps, u64::try_from(average).unwrap_or(u64::MAX))
    }

    /// Frames per second, over all complete segments.
    pub(crate) fn frame_rate(&self) -> Option<f64> {
        let seconds = self.total_duration.as_secs_f64();
        (seconds > 0.0).then(|| self.total_samples as f64 / seconds)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.window.store.bytes()
    }

    /// Decides about a playlist request (sections 6.2.5.2 and 6.2.5.3).
    pub(crate) fn decide(&self, directives: &Directives) -> Verdict {
        let Some((msn, part)) = directives.wait_for else { return Verdict::Now };
        if self.ended {
            return Verdict::Now;
        }
        // Without a part: the first one of that segment. Clients ask so for a segment that begins.
        let part = part.unwrap_or(0);
        let edge = self.window.edge();
        let open_parts = edge.parts;
        let (msn, part) = match self.window.segment(msn) {
            // A part beyond the end of a finished segment is the first one of the next.
            Some(segment) if !segment.open && part >= segment.parts.len() as u64 => (msn + 1, 0),
            _ => (msn, part),
        };
        if msn < edge.msn {
            return Verdict::Now;
        }
        // The last complete segment is `edge.msn - 1`.
        if msn - edge.msn > 1 {
            return Verdict::Bad("_HLS_msn is too far ahead");
        }
        let listed = if msn == edge.msn { open_parts } else { 0 };
        if part < listed {
            return Verdict::Now;
        }
        if part - listed >= self.advance_part_limit() {
            return Verdict::Bad("_HLS_part is too far ahead");
        }
        Verdict::Wait
    }

    /// The playlist, if it was rendered since the last change.
    pub(crate) fn rendered(&self, skip: Skip) -> Option<Rendered> {
        self.rendered[slot(skip)].clone()
    }

    /// Renders and compresses the playlist: once per change, whoever asks first.
    pub(crate) fn render(&mut self, skip: Skip, reports: Vec<RenditionReport>) -> Rendered {
        let full = self.list(reports);
        let text = match skip {
            Skip::No => full,
            Skip::Segments => delta::delta(full, false),
            Skip::SegmentsAndDateRanges => delta::delta(full, true),
        }
        .to_string();
        let rendered = Rendered::new(text);
        self.counters.rendered += 1;
        self.rendered[slot(skip)] = Some(rendered.clone());
        rendered
    }

    /// What other Renditions say about this one.
    pub(crate) fn report(&self, uri: String) -> Option<RenditionReport> {
        let last = self.window.segments().rev().find(|segment| !segment.open || !segment.parts.is_empty())?;
        let last_part = (last.parts.len() as u64).checked_sub(1);
        Some(RenditionReport { uri, last_msn: last.msn, last_part })
    }

    /// What lies under a file name.
    pub(crate) fn file(&self, name: FileName) -> Resource {
        let found = match name {
            FileName::Init(generation) => self.window.store.init(generation).map(|init| vec![init.into()]),
            FileName::Part(number) if number == self.window.store.next() && !self.ended => {
                return Resource::Hinted;
            }
            FileName::Part(number) => self.window.store.part(number).map(|part| vec![part]),
            FileName::Segment(msn) => self.window.bytes_of(msn),
        };
        let recorded = match name {
            FileName::Init(generation) => self.generation.is_some_and(|newest| generation < newest),
            FileName::Segment(msn) => self.window.is_recorded(msn),
            FileName::Part(_) => false,
        };
        let elsewhere = if recorded { Resource::Recorded } else { Resource::Missing };
        found.map_or(elsewhere, Resource::Found)
    }

    /// It may be there later, under the same name: no cache may remember that it is not.
    pub(crate) fn is_to_come(&self, name: FileName) -> bool {
        !self.ended
            && match name {
                FileName::Init(generation) => self.generation.is_none_or(|newest| generation > newest),
                FileName::Part(number) => number >= self.window.store.next(),
                FileName::Segment(msn) => msn >= self.window.edge().msn,
            }
    }

    /// "Advance Part Limit" (section 6.2.5.2).
    fn advance_part_limit(&self) -> u64 {
        let target = self.targets.part_target;
        if target >= Duration::from_secs(1) {
            return 3;
        }
        let limit = 3000_u128.div_ceil(target.as_millis().max(1));
        u64::try_from(limit).unwrap_or(3)
    }

    fn put_init(&mut self, config: Arc<CodecConfig>) {
        match fmp4::init(&config, self.scale) {
            Ok(init) => {
                let generation = self.generation.map_or(0, |generation| generation + 1);
                self.tap.init(generation, &init, &config);
                self.window.store.put_init(generation, init);
                self.generation = Some(generation);
                self.config = Some(config);
            }
            Err(_) => self.counters.failed += 1,
        }
    }

    fn close(&mut self, duration: Duration, gap: bool, now: Instant) {
        let Some(segment) = self.window.close(duration, gap, now) else { return };
        self.tap.close(duration, gap);
        self.counters.segments += 1;
        self.counters.gaps += u64::from(gap);
        if !gap {
            let micros = duration.as_micros().max(1);
            let bps = segment.bytes as u128 * 8_000_000 / micros;
            self.peak_bps = self.peak_bps.max(u64::try_from(bps).unwrap_or(u64::MAX));
            self.total_bytes += segment.bytes as u64;
            self.total_duration += duration;
            self.total_samples += std::mem::take(&mut self.open_samples);
        }
        self.change(now);
    }

    fn change(&mut self, now: Instant) {
        self.version += 1;
        self.changed_at = Some(now);
        self.rendered = [const { None }; 3];
    }

    fn list(&self, reports: Vec<RenditionReport>) -> Media {
        let target = Duration::from_secs(self.targets.target_duration.into());
        let part_target = self.targets.part_target;
        let mut segments = Vec::new();
        let mut from_end = Duration::ZERO;
        let mut closed = 0;
        for segment in self.window.listed().rev() {
            if segment.open && segment.parts.is_empty() {
                continue;
            }
            let at_edge = closed < CLOSED_WITH_PARTS || segment.open;
            let with_parts = !self.ended && at_edge && from_end <= target * PARTS_LISTED;
            from_end += segment.length();
            closed += usize::from(!segment.open);
            segments.push(listed(segment, with_parts));
        }
        segments.reverse();
        Media {
            version: VERSION,
            target_duration: self.targets.target_duration,
            server_control: ServerControl {
                can_block_reload: true,
                can_skip_until: Seconds(target * SKIP_UNTIL),
                hold_back: Seconds(target * HOLD_BACK),
                part_hold_back: Seconds(part_target * PART_HOLD_BACK),
            },
            part_inf: PartInf { part_target: Seconds(part_target) },
            media_sequence: self.window.media_sequence(),
            discontinuity_sequence: self.window.discontinuity_sequence(),
            skip: None,
            segments,
            preload_hint: (!self.ended)
                .then(|| PreloadHint { uri: FileName::Part(self.window.store.next()).uri() }),
            rendition_reports: reports,
            ended: self.ended,
        }
    }
}

/// Where the rendered playlist of each form is kept.
const fn slot(skip: Skip) -> usize {
    match skip {
        Skip::No => 0,
        Skip::Segments => 1,
        Skip::SegmentsAndDateRanges => 2,
    }
}

fn listed(segment: &Segment, with_parts: bool) -> ListedSegment {
    let parts = if with_parts { &segment.parts[..] } else { &[] };
    ListedSegment {
        discontinuity: segment.discontinuity,
        map: Map { uri: FileName::Init(segment.generation).uri() },
        program_date_time: ProgramDateTime(segment.starts),
        gap: segment.gap,
        parts: parts
            .iter()
            .zip(segment.first_part..)
            .map(|(part, number)| ListedPart {
                uri: FileName::Part(number).uri(),
                duration: Seconds(part.duration),
                independent: part.independent,
            })
            .collect(),
        duration: Seconds(segment.duration),
        uri: (!segment.open).then(|| FileName::Segment(segment.msn).uri()),
    }
}

fn duration(ticks: u64, scale: Timescale) -> Duration {
    let hz = u64::from(scale.hz());
    // Rounded to nearest, so that long sums stay true (rule 8.1).
    Duration::from_micros((ticks * 1_000_000 + hz / 2) / hz)
}
