//! One Rendition on its way: the frames of a Track or Layer through an Assembler into a Rendition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Frame, MediaTime};

use crate::assembler::{Assembler, Piece};
use crate::rendition::Rendition;
use crate::segmenter::Cut;

/// One Rendition on its way.
#[derive(Debug)]
pub(crate) struct Line {
    assembler: Assembler,
    pub(crate) rendition: Rendition,
    last_arrival: Instant,
    /// Its newest frame has parameters that its segments do not have: the next one must be a DISCONTINUITY.
    unfit: bool,
    /// Segments that began without a keyframe.
    pub(crate) dependent: u64,
    pieces: Vec<Piece>,
}

impl Line {
    /// `arrival` is that of the first frame, which is pushed next.
    pub(crate) fn new(assembler: Assembler, rendition: Rendition, arrival: Instant) -> Self {
        Self { assembler, rendition, last_arrival: arrival, unfit: false, dependent: 0, pieces: Vec::new() }
    }

    /// Nothing came for longer than `silence_max` when something else arrived at `newest`.
    pub(crate) fn is_silent(&self, newest: Instant, silence_max: Duration) -> bool {
        newest.saturating_duration_since(self.last_arrival) > silence_max
    }

    /// See [`Assembler::is_behind`].
    pub(crate) fn is_behind(&self) -> bool {
        self.assembler.is_behind()
    }

    /// See [`Assembler::begins_anew`].
    pub(crate) fn begins_anew(&self, epoch: u32) -> bool {
        self.assembler.begins_anew(epoch)
    }

    /// See [`Assembler::accepts`].
    pub(crate) fn accepts(&self, frame: &Frame) -> bool {
        self.assembler.accepts(&frame.config)
    }

    /// Its newest frame waits for a DISCONTINUITY.
    pub(crate) fn is_unfit(&self) -> bool {
        self.unfit
    }

    /// Where its newest frame stands.
    pub(crate) fn last_at(&self) -> Option<MediaTime> {
        self.assembler.last_at()
    }

    /// Frames that fit nowhere.
    pub(crate) fn dropped(&self) -> u64 {
        self.assembler.dropped
    }

    /// Frames without sound that were put into holes.
    pub(crate) fn silent(&self) -> u64 {
        self.assembler.silent
    }

    /// Tells where the next segment begins.
    pub(crate) fn announce(&mut self, cut: Cut, now: Instant) {
        self.unfit &= !cut.discontinuity;
        self.assembler.announce(cut, &mut self.pieces);
        self.apply(now);
    }

    /// Takes the next frame; false if it fits nowhere.
    pub(crate) fn push(&mut self, frame: Frame, at: MediaTime, now: Instant) -> bool {
        self.last_arrival = self.last_arrival.max(frame.arrival);
        let config = Arc::clone(&frame.config);
        let fits = self.assembler.push(frame, at, &mut self.pieces);
        self.unfit = !self.assembler.accepts(&config);
        self.apply(now);
        fits
    }

    /// Passes all boundaries that were announced: nothing is awaited.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        self.assembler.catch_up(&mut self.pieces);
        self.apply(now);
    }

    /// Nothing more will come.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.assembler.finish(&mut self.pieces);
        self.apply(now);
        self.rendition.end(now);
    }

    fn apply(&mut self, now: Instant) {
        for piece in self.pieces.drain(..) {
            if let Piece::Open { cut, .. } = &piece
                && !cut.independent
            {
                self.dependent += 1;
            }
            self.rendition.apply(piece, now);
        }
    }
}
