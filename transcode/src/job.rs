//! One reader, one converter, one writer: the work behind one derived Track.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use media::{Demand, Frame, Rid, Stream, Track, TrackReader, TrackWriter};
use tracing::{debug, warn};

use crate::audio::Converter;
use crate::config::Config;
use crate::stats::Counters;

/// Frames taken per run at most: 2 s of AAC. When the pool is so late that more wait, the oldest are skipped
/// (`frames_dropped`): live sound that late is of no use.
const BACKLOG_FRAMES_MAX: usize = 96;

/// Errors logged per job: the first tell what is wrong, the counter tells the rest.
const ERRORS_LOGGED_MAX: u32 = 3;

/// The work behind one derived Track.
pub(crate) struct Job {
    source: Arc<Track>,
    writer: TrackWriter,
    settings: Config,
    counters: Arc<Counters>,
    stream: Arc<Stream>,
    /// While somebody reads the derived Track.
    running: Option<Running>,
    errors: u32,
    waiting: Vec<Frame>,
    converted: Vec<Frame>,
}

struct Running {
    reader: TrackReader<Frame>,
    converter: Converter,
    lagged: u64,
}

impl Job {
    pub(crate) fn new(
        source: Arc<Track>,
        writer: TrackWriter,
        settings: Config,
        counters: Arc<Counters>,
        stream: Arc<Stream>,
    ) -> Self {
        counters.jobs.fetch_add(1, Ordering::Relaxed);
        Self {
            source,
            writer,
            settings,
            counters,
            stream,
            running: None,
            errors: 0,
            waiting: Vec::new(),
            converted: Vec::new(),
        }
    }

    /// Does what there is to do and registers `waker` for more. False: the source Track ended.
    pub(crate) fn run(&mut self, waker: &Waker) -> bool {
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(demand) = self.writer.poll_demand(&mut cx) {
            match demand {
                Demand::LayerWanted(_, true) => self.start(),
                Demand::LayerWanted(_, false) => self.stop(),
                // Every audio frame is one.
                Demand::Keyframe(_) => {}
            }
        }
        let Some(running) = &mut self.running else { return !self.source.ended() };
        let ended = running.reader.poll_drain(&mut cx, &mut self.waiting).is_ready();
        self.convert();
        !ended
    }

    /// It panicked: it will be dropped.
    pub(crate) fn panicked(&self) {
        Counters::add(&self.counters.panics, 1);
        warn!(channel = %self.stream.channel(), stream = %self.stream.id(), "a codec panicked; this derived track ends");
    }

    fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        match Converter::new(self.writer.track().codec(), &self.settings) {
            Ok(converter) => {
                let reader = self.source.read::<Frame>(&Rid::single());
                self.running = Some(Running { reader, converter, lagged: 0 });
                Counters::add(&self.counters.jobs_running, 1);
                debug!(channel = %self.stream.channel(), stream = %self.stream.id(), to = self.writer.track().codec().name(), "conversion starts");
            }
            Err(error) => self.failed(&error),
        }
    }

    fn stop(&mut self) {
        if self.running.take().is_some() {
            Counters::sub(&self.counters.jobs_running, 1);
            debug!(channel = %self.stream.channel(), stream = %self.stream.id(), "conversion stops: nobody reads it");
        }
    }

    fn convert(&mut self) {
        let Some(running) = &mut self.running else { return };
        let late = self.waiting.len().saturating_sub(BACKLOG_FRAMES_MAX);
        let lagged = running.reader.lagged();
        Counters::add(&self.counters.frames_dropped, late as u64 + (lagged - running.lagged));
        running.lagged = lagged;
        let mut failed = None;
        for frame in self.waiting.drain(..).skip(late) {
            Counters::add(&self.counters.frames_in, 1);
            if let Err(error) = running.converter.push(&frame, &mut self.converted) {
                Counters::add(&self.counters.errors, 1);
                failed = Some(error);
            }
            for frame in self.converted.drain(..) {
                Counters::add(&self.counters.frames_out, 1);
                self.writer.write_frame(&Rid::single(), frame);
            }
        }
        let tally = running.converter.take_tally();
        Counters::add(&self.counters.drift_corrections, tally.drift_corrections);
        Counters::add(&self.counters.reanchors, tally.reanchors);
        Counters::add(&self.counters.concealments, tally.concealments);
        Counters::add(&self.counters.frames_dropped, tally.undecodable);
        if let Some(error) = failed {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &crate::Error) {
        self.errors = self.errors.saturating_add(1);
        if self.errors <= ERRORS_LOGGED_MAX {
            warn!(channel = %self.stream.channel(), stream = %self.stream.id(), %error, "audio conversion");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop();
        Counters::sub(&self.counters.jobs, 1);
    }
}
