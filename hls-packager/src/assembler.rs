//! Frames of one Track into samples, parts and segments. Pure: no clock, no bytes written.
//!
//! One frame is held back, because its duration is known only when the next one comes.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use media::{CodecConfig, Frame, Kind, MediaTime, Timescale};

use crate::fmp4::Sample;
use crate::probe::Targets;
use crate::segmenter::{Cut, PartRule};
use crate::silence;

/// Boundaries announced and not yet passed: a Rendition that is silent is caught up after one
/// TARGETDURATION, so there are one or two. At the limit it is caught up at once.
pub(crate) const CUTS_MAX: usize = 8;

/// What comes out, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The following parts need an init of this configuration.
    Init(Arc<CodecConfig>),
    /// A segment begins, with its first frame at this presentation time. The cut is independent if this
    /// Rendition has a keyframe there, whatever the others have.
    Open { cut: Cut, at: MediaTime },
    /// A part of the open segment.
    Part { decode_time: u64, samples: Vec<Sample>, ticks: u64, independent: bool },
    /// The open segment ends. `gap`: there was nothing in it.
    Close { ticks: u64, gap: bool },
}

/// One Track on its way to parts.
#[derive(Debug)]
pub(crate) struct Assembler {
    kind: Kind,
    scale: Timescale,
    /// Added to every decoding time, so that none is negative.
    offset_ticks: i64,
    rule: PartRule,
    segment_ticks_max: u64,
    /// How long a boundary waits for the keyframe that belongs to it.
    patience: Duration,
    cuts: VecDeque<Cut>,
    segment: Option<OpenSegment>,
    config: Option<Arc<CodecConfig>>,
    held: Option<Frame>,
    samples: Vec<Sample>,
    part_start: u64,
    filled: u64,
    expected: u64,
    /// Frames that fit nowhere: before the segment's start, of another publication or configuration.
    pub(crate) dropped: u64,
    /// Frames without sound that were put into holes.
    pub(crate) silent: u64,
}

#[derive(Debug)]
struct OpenSegment {
    cut: Cut,
    opened: bool,
    ticks: u64,
    /// Parts that ended.
    parts: u64,
}

impl Assembler {
    pub(crate) fn new(kind: Kind, scale: Timescale, offset_seconds: i64, targets: Targets) -> Self {
        let hz = u64::from(scale.hz());
        Self {
            kind,
            scale,
            offset_ticks: offset_seconds * i64::from(scale.hz()),
            rule: PartRule::new(&targets, scale.hz()),
            // Rounds to TARGETDURATION (section 4.4.4.1).
            segment_ticks_max: u64::from(targets.target_duration) * hz + hz * 49 / 100,
            patience: targets.part_target,
            cuts: VecDeque::new(),
            segment: None,
            config: None,
            held: None,
            samples: Vec::new(),
            part_start: 0,
            filled: 0,
            expected: 0,
            dropped: 0,
            silent: 0,
        }
    }

    /// Tells where the next segment begins.
    pub(crate) fn announce(&mut self, cut: Cut, out: &mut Vec<Piece>) {
        if self.cuts.len() >= CUTS_MAX {
            self.catch_up(out);
        }
        self.cuts.push_back(cut);
    }

    /// A boundary was announced that no frame has passed yet.
    pub(crate) fn is_behind(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Its segment begins with a DISCONTINUITY, and is empty: frames of another publication may begin it.
    pub(crate) fn begins_anew(&self, epoch: u32) -> bool {
        let segment = self.segment.as_ref().filter(|segment| !segment.opened && self.cuts.is_empty());
        segment.is_some_and(|segment| segment.cut.discontinuity && segment.cut.epoch == epoch)
    }

    /// Where the newest frame stands.
    pub(crate) fn last_at(&self) -> Option<MediaTime> {
        self.held.as_ref().map(|held| held.pts)
    }

    /// Whether a frame of this configuration can join the open segment.
    pub(crate) fn accepts(&self, config: &Arc<CodecConfig>) -> bool {
        self.config.as_ref().is_none_or(|known| Arc::ptr_eq(known, config) || known == config)
    }

    /// Takes the next frame in decoding order; `at` is its place on the presentation clock. False if it fits
    /// nowhere. Holes in sound are filled.
    pub(crate) fn push(&mut self, frame: Frame, at: MediaTime, out: &mut Vec<Piece>) -> bool {
        let frame = self.rescaled(frame);
        if let Some(last) = self.held.as_ref().filter(|_| self.kind == Kind::Audio) {
            for silent in silence::between(last, &frame) {
                let at = silent.pts;
                self.silent += u64::from(self.push_next(silent, at, out));
            }
        }
        self.push_next(frame, at, out)
    }

    fn push_next(&mut self, frame: Frame, at: MediaTime, out: &mut Vec<Piece>) -> bool {
        let passed = self.cuts.iter().take_while(|cut| self.passes(cut, &frame, at)).count();
        let broken = self.cuts.iter().take(passed).any(|cut| cut.discontinuity);
        self.finish_held((!broken).then_some(&frame), out);
        for _ in 0..passed {
            let Some(cut) = self.cuts.pop_front() else { break };
            self.close(Some(&cut), out);
            self.segment = Some(OpenSegment { cut, opened: false, ticks: 0, parts: 0 });
        }
        let at_keyframe = self.kind == Kind::Video && frame.keyframe && self.rule.may_end(self.filled);
        if at_keyframe || self.rule.is_full(self.filled, self.expected) || self.is_even() {
            self.end_part(out);
        }
        let Some(segment) = &mut self.segment else {
            self.dropped += 1;
            return false;
        };
        let config_changed = !self.config.as_ref().is_some_and(|known| **known == *frame.config);
        let may_change = self.config.is_none() || (segment.cut.discontinuity && !segment.opened);
        let decodes = self.kind == Kind::Audio || frame.keyframe;
        // Players reset their decoders at a DISCONTINUITY.
        let must_decode = may_change && !decodes;
        let strange = frame.epoch != segment.cut.epoch || (config_changed && !may_change);
        if at < segment.cut.at || strange || must_decode {
            self.dropped += 1;
            return false;
        }
        if may_change {
            self.config = Some(Arc::clone(&frame.config));
            out.push(Piece::Init(Arc::clone(&frame.config)));
        }
        if !mem::replace(&mut segment.opened, true) {
            // Where it stands may be later than when it is shown: see `VideoWatch`.
            let at = if decodes { frame.pts } else { at };
            out.push(Piece::Open { cut: Cut { independent: decodes, ..segment.cut }, at });
        }
        self.held = Some(frame);
        true
    }

    /// Whether this frame lies behind `cut`. Layers do not get their keyframes at the very same time: a segment
    /// begins with the keyframe that belongs to the boundary, if that comes within one part.
    fn passes(&self, cut: &Cut, frame: &Frame, at: MediaTime) -> bool {
        if at < cut.at {
            return false;
        }
        let Some(segment) = self.segment.as_ref().filter(|segment| segment.opened) else { return true };
        let awaited = self.kind == Kind::Video && cut.independent && !frame.keyframe;
        let in_time = at.since(cut.at) < self.patience && frame.epoch == segment.cut.epoch;
        let fits = segment.ticks + 2 * self.expected < self.segment_ticks_max;
        !(awaited && in_time && fits && self.accepts(&frame.config))
    }

    /// Closes every segment that was announced to end: nothing came for so long that nothing is awaited.
    pub(crate) fn catch_up(&mut self, out: &mut Vec<Piece>) {
        self.finish_held(None, out);
        while let Some(cut) = self.cuts.pop_front() {
            // The time before a DISCONTINUITY belongs to no segment.
            if let Some(segment) = self.segment.as_mut().filter(|_| !cut.discontinuity) {
                let whole = ticks_between(segment.cut.at, cut.at, self.scale);
                segment.ticks = segment.ticks.max(whole);
            }
            self.close(Some(&cut), out);
            self.segment = Some(OpenSegment { cut, opened: false, ticks: 0, parts: 0 });
        }
    }

    /// Closes everything: nothing more will come.
    pub(crate) fn finish(&mut self, out: &mut Vec<Piece>) {
        self.finish_held(None, out);
        self.close(None, out);
        self.segment = None;
    }

    fn rescaled(&self, mut frame: Frame) -> Frame {
        if frame.dts.scale() != self.scale {
            frame.dts = frame.dts.rescale(self.scale);
            frame.pts = frame.pts.rescale(self.scale);
        }
        frame
    }

    /// Turns the held frame into a sample that lasts until `next`, or as long as the one before it.
    fn finish_held(&mut self, next: Option<&Frame>, out: &mut Vec<Piece>) {
        let Some(held) = self.held.take() else { return };
        let known = match (held.duration, self.expected) {
            (0, 0) => u64::from(self.scale.hz()) / 30,
            (0, expected) => expected,
            (duration, _) => u64::from(duration),
        };
        let real = next.and_then(|next| u64::try_from(next.dts.ticks() - held.dts.ticks()).ok());
        let real = real.unwrap_or(known).max(1);
        // A frame that lasts longer than a part (a source that paused, a still) is cut short in its part;
        // the segment counts all of it, so that playlists keep time.
        let mut duration = real.min(self.rule.target);
        if self.rule.overflows(self.filled, duration) {
            if self.rule.may_end(self.filled) {
                self.end_part(out);
            } else {
                // A part this short may only be the last one (section 4.4.4.9): the long frame fills it.
                duration = self.rule.target - self.filled;
            }
        }
        let decode_time = u64::try_from(held.dts.ticks().saturating_add(self.offset_ticks)).unwrap_or(0);
        if self.samples.is_empty() {
            self.part_start = decode_time;
        }
        self.filled += duration;
        self.expected = duration;
        if let Some(segment) = &mut self.segment {
            segment.ticks = segment.ticks.saturating_add(real);
        }
        self.samples.push(Sample {
            data: held.data,
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            composition_offset: held.pts.ticks() - held.dts.ticks(),
            keyframe: held.keyframe,
            discardable: held.discardable,
        });
    }

    fn is_even(&self) -> bool {
        let segment = self.segment.as_ref();
        segment.is_some_and(|segment| self.rule.is_even(self.filled, segment.parts, segment.ticks))
    }

    fn end_part(&mut self, out: &mut Vec<Piece>) {
        if self.samples.is_empty() {
            return;
        }
        if let Some(segment) = &mut self.segment {
            segment.parts += 1;
        }
        // Independent only if it *begins* with the keyframe: players fetch such a part to start with.
        let independent = self.samples[0].keyframe;
        let samples = mem::take(&mut self.samples);
        let ticks = mem::take(&mut self.filled);
        out.push(Piece::Part { decode_time: self.part_start, samples, ticks, independent });
    }

    fn close(&mut self, next: Option<&Cut>, out: &mut Vec<Piece>) {
        self.end_part(out);
        let Some(segment) = self.segment.take() else { return };
        if segment.opened {
            let ticks = segment.ticks.min(self.segment_ticks_max);
            return out.push(Piece::Close { ticks, gap: false });
        }
        // Nothing came in all the time of this segment. At the end of a Stream it is left out.
        let Some(next) = next else { return };
        // A gap does not begin with anything: players pass over it.
        let cut = Cut { independent: true, ..segment.cut };
        out.push(Piece::Open { cut, at: cut.at });
        let ticks = ticks_between(segment.cut.at, next.at, self.scale).min(self.segment_ticks_max);
        out.push(Piece::Close { ticks, gap: true });
    }
}

fn ticks_between(from: MediaTime, to: MediaTime, scale: Timescale) -> u64 {
    u64::try_from(to.rescale(scale).ticks() - from.rescale(scale).ticks()).unwrap_or(0)
}
