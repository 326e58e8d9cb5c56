//! One Stream as HLS sees it, sans-I/O: frames in, Renditions out.
//!
//! ```text
//! frames ─► Probe (until the constants are known) ─► Segmenter ── Cut ──┐
//!              video ───────────────────────────────► Assembler ─► Rendition "video"
//!              audio ─► queue (waits for the cut list) ─► Assembler ─► Rendition "audio"
//! ```
//! Video makes the list of cuts. Audio waits until video has passed its time, so that it knows on which side
//! of a boundary it falls; when video is silent, audio goes on alone and video gets EXT-X-GAP segments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Frame, Kind, MediaTime, StreamClock};

use crate::Config;
use crate::assembler::{Assembler, Piece};
use crate::directives::Directives;
use crate::file_name::FileName;
use crate::playlist::Rendered;
use crate::playlist::tag::RenditionReport;
use crate::probe::{Expected, Probe, Targets};
use crate::rendition::{Rendition, Resource, Verdict};
use crate::segmenter::{Cut, Mark, Segmenter};
use crate::video_watch::VideoWatch;

/// Audio frames that wait for video: 20 s of AAC. At the limit the oldest is dropped; counted.
const AUDIO_QUEUE_MAX: usize = 1024;

/// Added to all decoding times, in seconds: B-frames and a source that is a little early must not make
/// `tfdt` negative.
const BASELINE_SECONDS: i64 = 10;

/// Which Rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The video Rendition.
    Video,
    /// The audio Rendition.
    Audio,
}

impl Name {
    /// As it stands in URLs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }

    /// Reads [`Self::as_str`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Video, Self::Audio].into_iter().find(|name| name.as_str() == text)
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Video => Self::Video,
            Kind::Audio => Self::Audio,
        }
    }
}

/// A Track on its way through the packager.
#[derive(Debug)]
pub(crate) struct Line {
    assembler: Assembler,
    pub(crate) rendition: Rendition,
    last_arrival: Instant,
}

/// One Stream as HLS sees it.
#[derive(Debug)]
pub(crate) struct Presentation {
    config: Config,
    clock: StreamClock,
    probe: Option<Probe>,
    probing_since: Option<Instant>,
    expected: Expected,
    targets: Option<Targets>,
    segmenter: Segmenter,
    offset_seconds: i64,
    last_cut: Option<Cut>,
    video: Option<Line>,
    audio: Option<Line>,
    audio_queue: VecDeque<Frame>,
    watch: VideoWatch,
    audio_break_pending: bool,
    keyframe_wanted: bool,
    frame_rate: Option<f64>,
    all_independent: bool,
    ended: bool,
    pieces: Vec<Piece>,
    /// Frames dropped before they reached an assembler.
    dropped: u64,
    /// Segments that begin without a keyframe.
    dependent_segments: u64,
}

impl Presentation {
    pub(crate) fn new(config: Config, clock: StreamClock) -> Self {
        Self {
            watch: VideoWatch::new(config.target_duration_min()),
            config,
            clock,
            probe: Some(Probe::default()),
            probing_since: None,
            expected: Expected::default(),
            targets: None,
            segmenter: Segmenter::new(1, Duration::ZERO),
            offset_seconds: BASELINE_SECONDS,
            last_cut: None,
            video: None,
            audio: None,
            audio_queue: VecDeque::new(),
            audio_break_pending: false,
            keyframe_wanted: false,
            frame_rate: None,
            all_independent: true,
            ended: false,
            pieces: Vec::new(),
            dropped: 0,
            dependent_segments: 0,
        }
    }

    /// Says which Tracks there are to wait for before the constants are fixed.
    pub(crate) fn expect(&mut self, expected: Expected, now: Instant) {
        self.expected = expected;
        self.conclude(now);
    }

    /// Takes the next frame of a Track.
    pub(crate) fn handle_frame(&mut self, kind: Kind, frame: Frame, now: Instant) {
        if self.ended {
            return;
        }
        if let Some(probe) = &mut self.probe {
            self.probing_since.get_or_insert(now);
            probe.push(kind, frame);
            self.conclude(now);
            return;
        }
        match kind {
            Kind::Video => self.on_video(frame, now),
            Kind::Audio => self.on_audio(frame, now),
        }
    }

    /// Fixes the constants though something that was expected did not come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.conclude(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.probe.as_ref()?;
        Some(self.probing_since? + self.config.audio_wait())
    }

    /// True if the video encoder should be asked for a keyframe.
    pub(crate) fn poll_keyframe_request(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, now: Instant) {
        if let Some(probe) = self.probe.take() {
            let targets = probe.verdict(&self.config, self.expected, true);
            self.begin(targets.unwrap_or_else(|| Targets::fit(&self.config, None, None, None)), probe, now);
        }
        while let Some(frame) = self.audio_queue.pop_front() {
            self.push_audio(frame, now);
        }
        self.ended = true;
        for line in [&mut self.video, &mut self.audio].into_iter().flatten() {
            line.assembler.finish(&mut self.pieces);
            for piece in self.pieces.drain(..) {
                line.rendition.apply(piece, now);
            }
            line.rendition.end(now);
        }
    }

    /// A viewer can start: every Rendition has a complete segment.
    pub(crate) fn is_ready(&self) -> bool {
        let mut lines = [&self.video, &self.audio].into_iter().flatten().peekable();
        lines.peek().is_some() && lines.all(|line| line.rendition.is_ready())
    }

    /// A viewer who starts now sees something at once: the place where players start, PART-HOLD-BACK from the
    /// end, lies in a segment that begins with a keyframe.
    pub(crate) fn welcomes(&self) -> bool {
        self.is_ready() && self.video.as_ref().is_none_or(|line| line.rendition.starts_at_keyframe())
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn targets(&self) -> Option<Targets> {
        self.targets
    }

    pub(crate) fn rendition(&self, name: Name) -> Option<&Rendition> {
        self.line(name).map(|line| &line.rendition)
    }

    /// Frames per second, measured; the parameter sets may say it better.
    pub(crate) fn frame_rate(&self) -> Option<f64> {
        self.frame_rate
    }

    pub(crate) fn all_independent(&self) -> bool {
        self.all_independent
    }

    pub(crate) fn dependent_segments(&self) -> u64 {
        self.dependent_segments
    }

    /// Frames that found no place.
    pub(crate) fn dropped(&self) -> u64 {
        let lines = [&self.video, &self.audio].into_iter().flatten();
        self.dropped + lines.map(|line| line.assembler.dropped).sum::<u64>()
    }

    /// Decides about a playlist request; `None` if there is no such Rendition (yet).
    pub(crate) fn decide(&self, name: Name, directives: &Directives) -> Option<Verdict> {
        self.rendition(name).filter(|rendition| rendition.version() > 0).map(|found| found.decide(directives))
    }

    /// The playlist of a Rendition.
    pub(crate) fn playlist(&mut self, name: Name, directives: &Directives) -> Option<Rendered> {
        let reports = self.reports(name);
        let line = match name {
            Name::Video => self.video.as_mut(),
            Name::Audio => self.audio.as_mut(),
        };
        Some(line?.rendition.playlist(directives.skip, &reports))
    }

    /// What lies under a file name.
    pub(crate) fn file(&self, name: Name, file: FileName) -> Resource {
        self.rendition(name).map_or(Resource::Missing, |rendition| rendition.file(file))
    }

    fn line(&self, name: Name) -> Option<&Line> {
        match name {
            Name::Video => self.video.as_ref(),
            Name::Audio => self.audio.as_ref(),
        }
    }

    fn reports(&self, of: Name) -> Vec<RenditionReport> {
        let other = match of {
            Name::Video => Name::Audio,
            Name::Audio => Name::Video,
        };
        let uri = format!("../{}/index.m3u8", other.as_str());
        self.rendition(other).and_then(|rendition| rendition.report(uri)).into_iter().collect()
    }

    fn conclude(&mut self, now: Instant) {
        let Some(probe) = &self.probe else { return };
        let overdue = self.poll_timeout().is_some_and(|due| now >= due);
        let Some(targets) = probe.verdict(&self.config, self.expected, overdue) else { return };
        if let Some(probe) = self.probe.take() {
            self.begin(targets, probe, now);
        }
    }

    fn begin(&mut self, targets: Targets, probe: Probe, now: Instant) {
        self.targets = Some(targets);
        self.segmenter = Segmenter::new(targets.target_duration, self.config.target_duration_min());
        self.frame_rate = probe.frame_rate();
        let frames = probe.into_frames();
        let earliest = frames.iter().map(|(_, frame)| frame.dts.as_micros()).min().unwrap_or(0);
        self.offset_seconds = BASELINE_SECONDS + (-earliest).max(0) / 1_000_000;
        for (kind, frame) in frames {
            match kind {
                Kind::Video => self.on_video(frame, now),
                Kind::Audio => self.on_audio(frame, now),
            }
        }
    }

    fn on_video(&mut self, frame: Frame, now: Instant) {
        // A boundary that video was caught up with lies behind it for good.
        let not_before =
            self.last_cut.filter(|_| self.video.as_ref().is_none_or(|line| !line.assembler.is_behind()));
        let Some(admitted) = self.watch.admit(&frame, not_before.map(|cut| cut.at)) else {
            self.dropped += 1;
            self.keyframe_wanted = true;
            return;
        };
        let audio_breaks = frame.keyframe && std::mem::take(&mut self.audio_break_pending);
        let (at, breaks) = (admitted.at, admitted.breaks || audio_breaks);
        let arrival = frame.arrival;
        self.line_for(Kind::Video, &frame);
        self.mark(Mark { at, keyframe: frame.keyframe, breaks, epoch: frame.epoch }, now);
        if self.segmenter.wants_keyframe() {
            self.keyframe_wanted = true;
        }
        self.push(Kind::Video, frame, at, now);
        self.release_audio(now);
        self.catch_up_audio(arrival, now);
    }

    fn on_audio(&mut self, frame: Frame, now: Instant) {
        if self.audio_queue.len() >= AUDIO_QUEUE_MAX {
            self.audio_queue.pop_front();
            self.dropped += 1;
        }
        self.audio_queue.push_back(frame);
        self.release_audio(now);
    }

    /// Lets audio through that video has passed, and all of it while video is silent.
    fn release_audio(&mut self, now: Instant) {
        let silence_max = self.config.target_duration_min();
        let Some(newest) = self.audio_queue.back().map(|frame| frame.arrival) else { return };
        let alone = self
            .video
            .as_ref()
            .is_none_or(|line| newest.saturating_duration_since(line.last_arrival) > silence_max);
        while let Some(frame) = self.audio_queue.front() {
            let known = self.watch.front().is_some_and(|front| frame.pts <= front);
            if !known && !alone {
                return;
            }
            let Some(frame) = self.audio_queue.pop_front() else { return };
            if alone && !known {
                self.lead_by_audio(&frame, now);
            }
            self.push_audio(frame, now);
        }
    }

    /// Audio makes the list of cuts while video is silent, or where there is none.
    fn lead_by_audio(&mut self, frame: &Frame, now: Instant) {
        let line = self.audio.as_ref();
        let changed = line.is_some_and(|line| !line.assembler.accepts(&frame.config));
        let resumed = self.last_cut.is_some_and(|cut| cut.epoch != frame.epoch);
        let last = self.audio.as_ref().and_then(|line| line.assembler.last_at());
        let hole = last.is_some_and(|last| frame.pts.since(last) > self.config.target_duration_min());
        let mark =
            Mark { at: frame.pts, keyframe: true, breaks: changed || resumed || hole, epoch: frame.epoch };
        self.line_for(Kind::Audio, frame);
        if !self.mark(mark, now) {
            return;
        }
        let Some(video) = &mut self.video else { return };
        video.assembler.catch_up(&mut self.pieces);
        for piece in self.pieces.drain(..) {
            video.rendition.apply(piece, now);
        }
        self.watch.lose();
        self.note_dependent();
    }

    fn push_audio(&mut self, frame: Frame, now: Instant) {
        if self.last_cut.is_none() {
            self.dropped += 1;
            return;
        }
        self.line_for(Kind::Audio, &frame);
        let at = frame.pts;
        let config = Arc::clone(&frame.config);
        self.push(Kind::Audio, frame, at, now);
        // New parameters need a DISCONTINUITY in both Renditions: at the next keyframe.
        self.audio_break_pending = self.audio.as_ref().is_some_and(|line| !line.assembler.accepts(&config));
    }

    /// Audio that is silent must not keep its playlist from growing.
    fn catch_up_audio(&mut self, video_arrival: Instant, now: Instant) {
        let silence_max = self.config.target_duration_min();
        let Some(audio) = &mut self.audio else { return };
        let silent = video_arrival.saturating_duration_since(audio.last_arrival) > silence_max;
        if !silent || !audio.assembler.is_behind() {
            return;
        }
        audio.assembler.catch_up(&mut self.pieces);
        for piece in self.pieces.drain(..) {
            audio.rendition.apply(piece, now);
        }
    }

    /// Asks the segmenter about a frame of the leader; tells all Renditions if a segment begins.
    fn mark(&mut self, mark: Mark, now: Instant) -> bool {
        let Some(cut) = self.segmenter.on_frame(mark) else { return false };
        if !cut.independent {
            self.note_dependent();
        }
        self.last_cut = Some(cut);
        for line in [&mut self.video, &mut self.audio].into_iter().flatten() {
            line.assembler.announce(cut, &mut self.pieces);
            for piece in self.pieces.drain(..) {
                line.rendition.apply(piece, now);
            }
        }
        true
    }

    fn window(&self) -> Duration {
        self.config.target_duration_min() * self.config.window_segments
    }

    fn note_dependent(&mut self) {
        self.all_independent = false;
        self.dependent_segments += 1;
    }

    fn push(&mut self, kind: Kind, frame: Frame, at: MediaTime, now: Instant) {
        let line = match kind {
            Kind::Video => self.video.as_mut(),
            Kind::Audio => self.audio.as_mut(),
        };
        let Some(line) = line else { return };
        line.last_arrival = line.last_arrival.max(frame.arrival);
        line.assembler.push(frame, at, &mut self.pieces);
        for piece in self.pieces.drain(..) {
            line.rendition.apply(piece, now);
        }
    }

    /// Makes the Line of a kind at its first frame. One that comes late joins the segment that is open.
    fn line_for(&mut self, kind: Kind, frame: &Frame) {
        let name = Name::of(kind);
        let Some(targets) = self.targets else { return };
        if self.line(name).is_some() {
            return;
        }
        let scale = frame.dts.scale();
        let mut assembler = Assembler::new(kind, scale, self.offset_seconds, targets);
        let mut rendition = Rendition::new(kind, scale, self.clock, targets, self.window());
        if let Some(cut) = self.last_cut {
            let others = [&self.video, &self.audio].into_iter().flatten().next();
            let discontinuities = others.map_or(0, |line| line.rendition.discontinuities_so_far());
            rendition.join(cut.msn, discontinuities);
            assembler.announce(Cut { discontinuity: false, ..cut }, &mut self.pieces);
        }
        let line = Line { assembler, rendition, last_arrival: frame.arrival };
        match kind {
            Kind::Video => self.video = Some(line),
            Kind::Audio => self.audio = Some(line),
        }
    }
}
