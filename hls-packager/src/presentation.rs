//! One Stream as HLS sees it, sans-I/O: frames in, Renditions out.
//!
//! ```text
//! frames ─► Probe (until the constants are known) ─► Segmenter ── Cut ──┐
//!              Layers ──────────────────────────────► Line ─► Rendition "video", "video1", …
//!              audio ─► queue (waits for the cut list) ─► Line ─► Rendition "audio"
//! ```
//! The leader, one of the Layers, makes the list of cuts; the others are cut at the same times, at the keyframe that
//! belongs to the boundary. Audio waits until video has passed its time, so that it knows on which side
//! of a boundary it falls; when video is silent, audio goes on alone and video gets EXT-X-GAP segments.

use std::array;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::{Frame, Kind, MediaTime, StreamClock};

use crate::Config;
use crate::assembler::Assembler;
use crate::directives::Directives;
use crate::file_name::FileName;
use crate::line::Line;
use crate::name::{Name, VIDEO_MAX};
use crate::playlist::Rendered;
use crate::playlist::tag::RenditionReport;
use crate::probe::{Expected, Probe, Targets};
use crate::recording::Tap;
use crate::rendition::{Rendition, Resource, Verdict};
use crate::segmenter::{Cut, Mark, Segmenter};
use crate::video_watch::VideoWatch;

/// Audio frames that wait for video: 20 s of AAC. At the limit the oldest is dropped; counted.
const AUDIO_QUEUE_MAX: usize = 1024;

/// Added to all decoding times, in seconds: B-frames and a source that is a little early must not make
/// `tfdt` negative.
const BASELINE_SECONDS: i64 = 10;

/// Segments without a keyframe that the streamer is not told of: the boundary may have been made by sound that began before
/// its picture (the demo's does), or an encoder was late once. With keyframes too far apart there is one every few seconds.
const DEPENDENT_TOLERATED: u64 = 1;

/// What is wrong with the keyframes for HLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyframeAdvice {
    /// Segments of the Layer that makes the list of cuts begin without one.
    TooFarApart,
    /// Those of other Layers do.
    NotAligned,
}

/// A Layer.
#[derive(Debug)]
struct Video {
    watch: VideoWatch,
    /// From its first keyframe on.
    line: Option<Line>,
    wants_keyframe: bool,
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
    videos: [Video; VIDEO_MAX],
    /// Which Layer makes the list of cuts.
    leader: usize,
    /// When the newest frame of any Layer arrived.
    video_arrival: Option<Instant>,
    audio: Option<Line>,
    audio_queue: VecDeque<Frame>,
    /// Discontinuities in the list of cuts.
    discontinuities: u64,
    all_independent: bool,
    ended: bool,
    tap: Tap,
    /// Frames dropped before they reached a Line.
    dropped: u64,
    /// Segments that video did not begin because it was silent.
    skipped: u64,
}

impl Presentation {
    pub(crate) fn new(config: Config, clock: StreamClock) -> Self {
        Self {
            videos: array::from_fn(|_| Video {
                watch: VideoWatch::new(config.target_duration_min()),
                line: None,
                wants_keyframe: false,
            }),
            config,
            clock,
            probe: Some(Probe::default()),
            probing_since: None,
            expected: Expected::default(),
            targets: None,
            segmenter: Segmenter::new(1, Duration::ZERO),
            offset_seconds: BASELINE_SECONDS,
            last_cut: None,
            leader: 0,
            video_arrival: None,
            audio: None,
            audio_queue: VecDeque::new(),
            discontinuities: 0,
            all_independent: true,
            ended: false,
            tap: Tap::default(),
            dropped: 0,
            skipped: 0,
        }
    }

    /// Records everything from now on.
    pub(crate) fn record(&mut self, tap: Tap) {
        self.tap = tap;
    }

    /// Says which Tracks there are to wait for before the constants are fixed.
    pub(crate) fn expect(&mut self, expected: Expected, now: Instant) {
        self.expected = expected;
        self.conclude(now);
    }

    /// Takes the next frame of a Track or Layer.
    pub(crate) fn handle_frame(&mut self, name: Name, frame: Frame, now: Instant) {
        if self.ended {
            return;
        }
        self.tap.frame(name.as_str(), &frame);
        if let Some(probe) = &mut self.probe {
            self.probing_since.get_or_insert(now);
            probe.push(name, frame);
            self.conclude(now);
            return;
        }
        self.take(name, frame, now);
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

    /// True if the encoder of that Layer should be asked for a keyframe.
    pub(crate) fn poll_keyframe_request(&mut self, name: Name) -> bool {
        name.kind() == Kind::Video && std::mem::take(&mut self.videos[name.slot()].wants_keyframe)
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
        self.lines_mut().for_each(|line| line.finish(now));
        self.tap.end();
    }

    /// A viewer can start: there is, or was, a complete segment of picture and of sound. What has stopped since keeps
    /// nobody waiting for it; it is not offered either.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = |line: &Line| line.rendition.was_ready();
        let mut videos = self.videos.iter().filter_map(|video| video.line.as_ref()).peekable();
        let any = videos.peek().is_some() || self.audio.is_some();
        let picture = videos.peek().is_none() || videos.any(ready);
        any && picture && self.audio.as_ref().is_none_or(ready)
    }

    /// A viewer who starts now sees something at once: the place where players start, PART-HOLD-BACK from the
    /// end, lies in a segment that begins with a keyframe.
    pub(crate) fn welcomes(&self) -> bool {
        let leader = self.videos[self.leader].line.as_ref();
        self.is_ready() && leader.is_none_or(|line| line.rendition.starts_at_keyframe())
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

    /// The Renditions that there are.
    pub(crate) fn renditions(&self) -> impl Iterator<Item = (Name, &Rendition)> {
        Name::all().filter_map(|name| Some((name, self.rendition(name)?)))
    }

    /// The Rendition of the Layer that makes the list of cuts, if there is video.
    pub(crate) fn leader(&self) -> Option<Name> {
        self.videos[self.leader].line.as_ref().map(|_| Name::video(self.leader))
    }

    /// Every segment of every Rendition begins with a keyframe.
    pub(crate) fn all_independent(&self) -> bool {
        self.all_independent && self.dependent_segments() == 0
    }

    /// Segments that begin without a keyframe.
    pub(crate) fn dependent_segments(&self) -> u64 {
        self.skipped + self.lines().map(|line| line.dependent).sum::<u64>()
    }

    /// What the streamer should know of the keyframes.
    pub(crate) fn keyframe_advice(&self) -> Option<KeyframeAdvice> {
        let line = self.videos[self.leader].line.as_ref();
        let of_leader = self.skipped + line.map_or(0, |line| line.dependent);
        if of_leader > DEPENDENT_TOLERATED {
            Some(KeyframeAdvice::TooFarApart)
        } else {
            let of_others = self.dependent_segments() - of_leader;
            (of_others > DEPENDENT_TOLERATED).then_some(KeyframeAdvice::NotAligned)
        }
    }

    /// Frames that found no place.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped + self.lines().map(Line::dropped).sum::<u64>()
    }

    /// Frames without sound that were put into holes.
    pub(crate) fn silent(&self) -> u64 {
        self.audio.as_ref().map_or(0, Line::silent)
    }

    /// Decides about a playlist request; `None` if there is no such Rendition (yet).
    pub(crate) fn decide(&self, name: Name, directives: &Directives) -> Option<Verdict> {
        self.rendition(name).filter(|rendition| rendition.version() > 0).map(|found| found.decide(directives))
    }

    /// The playlist of a Rendition.
    pub(crate) fn playlist(&mut self, name: Name, directives: &Directives) -> Option<Rendered> {
        if let Some(rendered) = self.rendition(name)?.rendered(directives.skip) {
            return Some(rendered);
        }
        let reports = self.reports(name);
        let line = match name {
            Name::Video(_) => self.videos[name.slot()].line.as_mut(),
            Name::Audio => self.audio.as_mut(),
        };
        Some(line?.rendition.render(directives.skip, reports))
    }

    /// What lies under a file name.
    pub(crate) fn file(&self, name: Name, file: FileName) -> Resource {
        self.rendition(name).map_or(Resource::Missing, |rendition| rendition.file(file))
    }

    /// What is not there may be there later, see [`Rendition::is_to_come`].
    pub(crate) fn is_to_come(&self, name: Name, file: FileName) -> bool {
        self.rendition(name).map_or(!self.ended, |rendition| rendition.is_to_come(file))
    }

    fn line(&self, name: Name) -> Option<&Line> {
        match name {
            Name::Video(_) => self.videos[name.slot()].line.as_ref(),
            Name::Audio => self.audio.as_ref(),
        }
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.videos.iter().filter_map(|video| video.line.as_ref()).chain(&self.audio)
    }

    fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.videos.iter_mut().filter_map(|video| video.line.as_mut()).chain(&mut self.audio)
    }

    /// What the playlist of `of` says about all others (Appendix B.1).
    fn reports(&self, of: Name) -> Vec<RenditionReport> {
        let others = self.renditions().filter(|(name, _)| *name != of);
        others
            .filter_map(|(name, rendition)| rendition.report(format!("../{}/index.m3u8", name.as_str())))
            .collect()
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
        self.leader = probe.leader().map_or(0, Name::slot);
        let mut frames = probe.into_frames();
        // Sound that arrived first but belongs behind the first picture must not make the first boundary.
        let picture = frames.iter().position(|(name, _)| name.kind() == Kind::Video);
        if let Some(picture) = picture.filter(|&at| frames[at].1.pts < frames[0].1.pts) {
            frames[..=picture].rotate_right(1);
        }
        let earliest = frames.iter().map(|(_, frame)| frame.dts.as_micros()).min().unwrap_or(0);
        self.offset_seconds = BASELINE_SECONDS + (-earliest).max(0) / 1_000_000;
        for (name, frame) in frames {
            self.take(name, frame, now);
        }
    }

    fn take(&mut self, name: Name, frame: Frame, now: Instant) {
        match name {
            Name::Video(_) => self.on_video(name, frame, now),
            Name::Audio => self.on_audio(frame, now),
        }
    }

    fn on_video(&mut self, name: Name, frame: Frame, now: Instant) {
        let leads = self.leads(name, &frame);
        let video = &mut self.videos[name.slot()];
        // A boundary that this Layer has passed, or was caught up with, lies behind it for good.
        let not_before = self.last_cut.filter(|_| video.line.as_ref().is_none_or(|line| !line.is_behind()));
        let Some(admitted) = video.watch.admit(&frame, not_before.map(|cut| cut.at)) else {
            video.wants_keyframe = true;
            self.dropped += 1;
            return;
        };
        let (at, arrival) = (admitted.at, frame.arrival);
        self.video_arrival = self.video_arrival.max(Some(arrival));
        self.line_for(name, &frame);
        let mark = Mark { at, keyframe: frame.keyframe, breaks: false, epoch: frame.epoch };
        if leads {
            // Parameters that do not fit need a DISCONTINUITY in all Renditions: at the leader's keyframe.
            let others_break = frame.keyframe && self.lines().any(Line::is_unfit);
            // Audio was first after the pause, and broke already.
            let line = self.videos[name.slot()].line.as_ref();
            let broken = line.is_some_and(|line| line.begins_anew(frame.epoch));
            self.mark(Mark { breaks: (admitted.breaks && !broken) || others_break, ..mark }, now);
        } else if let Some(cut) = self.segmenter.on_follower(mark) {
            self.announce(cut, now);
        }
        if self.segmenter.wants_keyframe() {
            self.want_keyframes();
        }
        let video = &mut self.videos[name.slot()];
        let fits = video.line.as_mut().is_some_and(|line| line.push(frame, at, now));
        if !fits {
            // What follows refers to it.
            video.watch.lose();
            let unfit = video.line.as_ref().is_some_and(Line::is_unfit);
            if unfit { self.want_keyframes() } else { video.wants_keyframe = true }
        }
        self.release_audio(now);
        self.catch_up_silent(arrival, now);
    }

    /// Whether this Layer makes the list of cuts. It takes over from a leader that is silent, or of which a newer
    /// publication has nothing yet.
    fn leads(&mut self, name: Name, frame: &Frame) -> bool {
        let leader = self.videos[self.leader].line.as_ref();
        let silent =
            leader.is_none_or(|line| line.is_silent(frame.arrival, self.config.target_duration_min()));
        let newer = self.last_cut.is_some_and(|cut| frame.epoch > cut.epoch);
        let known = self.leader == name.slot();
        if !known && frame.keyframe && (newer || (silent && self.last_cut.is_some())) {
            self.leader = name.slot();
            self.segmenter.change_leader();
        }
        self.leader == name.slot()
    }

    fn want_keyframes(&mut self) {
        self.videos.iter_mut().for_each(|video| video.wants_keyframe = true);
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
        let alone =
            self.video_arrival.is_none_or(|arrival| newest.saturating_duration_since(arrival) > silence_max);
        let front = self.video_front();
        while let Some(frame) = self.audio_queue.front() {
            let known = front.is_some_and(|front| frame.pts <= front);
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

    /// No boundary will be made before this time. A leader that says nothing for longer than a part does not hold
    /// the sound of the others.
    fn video_front(&self) -> Option<MediaTime> {
        let leader = &self.videos[self.leader];
        let part_target = self.targets?.part_target;
        let fresh = leader.line.as_ref().zip(self.video_arrival);
        if fresh.is_none_or(|(line, newest)| !line.is_silent(newest, part_target)) {
            return leader.watch.front();
        }
        self.videos.iter().filter_map(|video| video.watch.front()).max()
    }

    /// Audio makes the list of cuts while video is silent, or where there is none.
    fn lead_by_audio(&mut self, frame: &Frame, now: Instant) {
        let line = self.audio.as_ref();
        let changed = line.is_some_and(|line| !line.accepts(frame));
        let resumed = self.last_cut.is_some_and(|cut| cut.epoch != frame.epoch);
        let last = line.and_then(Line::last_at);
        let hole = last.is_some_and(|last| frame.pts.since(last) > self.config.target_duration_min());
        let mark =
            Mark { at: frame.pts, keyframe: true, breaks: changed || resumed || hole, epoch: frame.epoch };
        self.line_for(Name::Audio, frame);
        if !self.mark(mark, now) || self.video_arrival.is_none() {
            return;
        }
        for video in &mut self.videos {
            let Some(line) = &mut video.line else { continue };
            line.catch_up(now);
            video.watch.lose();
        }
        self.skipped += 1;
    }

    fn push_audio(&mut self, frame: Frame, now: Instant) {
        if self.last_cut.is_none() {
            self.dropped += 1;
            return;
        }
        self.line_for(Name::Audio, &frame);
        let at = frame.pts;
        if let Some(line) = &mut self.audio {
            line.push(frame, at, now);
        }
    }

    /// What is silent must not keep its playlist from growing.
    fn catch_up_silent(&mut self, arrival: Instant, now: Instant) {
        let silence_max = self.config.target_duration_min();
        for line in self.lines_mut() {
            if line.is_behind() && line.is_silent(arrival, silence_max) {
                line.catch_up(now);
            }
        }
    }

    /// Asks the segmenter about a frame of the leader; tells all Renditions if a segment begins.
    fn mark(&mut self, mark: Mark, now: Instant) -> bool {
        let Some(cut) = self.segmenter.on_frame(mark) else { return false };
        self.announce(cut, now);
        true
    }

    fn announce(&mut self, cut: Cut, now: Instant) {
        self.discontinuities += u64::from(cut.discontinuity);
        self.last_cut = Some(cut);
        if cut.discontinuity {
            // The other Layers begin with a keyframe too.
            self.want_keyframes();
        }
        self.lines_mut().for_each(|line| line.announce(cut, now));
    }

    /// Makes the Line of a name at its first frame. One that comes late joins the segment that is open.
    fn line_for(&mut self, name: Name, frame: &Frame) {
        let Some(targets) = self.targets else { return };
        if self.line(name).is_some() {
            return;
        }
        let (kind, scale) = (name.kind(), frame.dts.scale());
        let window = self.config.target_duration_min() * self.config.window_segments;
        let assembler = Assembler::new(kind, scale, self.offset_seconds, targets);
        let tap =
            self.tap.rendition(name.as_str(), kind, scale, self.offset_seconds, targets.target_duration);
        let mut rendition = Rendition::new(kind, scale, self.clock, targets, window, tap);
        if let Some(cut) = self.last_cut {
            rendition.join(cut.msn, self.discontinuities);
        }
        let mut line = Line::new(assembler, rendition, frame.arrival);
        if let Some(cut) = self.last_cut {
            line.announce(Cut { discontinuity: false, ..cut }, frame.arrival);
        }
        match name {
            Name::Video(_) => self.videos[name.slot()].line = Some(line),
            Name::Audio => self.audio = Some(line),
        }
    }
}
