//! What the server holds: gives each Stream the audio Tracks that its Publisher did not bring.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use media::{Codec, Kind, Stream, StreamState, Timescale, Track, TrackSpec};
use tracing::{info, warn};

use crate::config::Config;
use crate::error::Error;
use crate::job::Job;
use crate::pool::{Pool, Task};
use crate::stats::{Counters, Stats};

/// Makes derived Tracks on demand.
pub struct Transcoder {
    config: Config,
    counters: Arc<Counters>,
    pool: Pool,
}

impl Transcoder {
    /// Starts the threads. They idle until somebody reads a derived Track.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that cannot work, [`Error::Open`] if no thread can be started.
    pub fn new(config: Config) -> Result<Arc<Self>, Error> {
        config.validate()?;
        let pool = Pool::start(config.threads)?;
        Ok(Arc::new(Self { config, counters: Arc::default(), pool }))
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Follows `stream` until it ended: a source audio Track gets its derived one at once, a new source a new
    /// one. Dropping the future ends the derived Tracks.
    pub async fn attach(self: Arc<Self>, stream: Arc<Stream>) {
        let mut tracks = stream.watch_tracks();
        let mut state = stream.watch_state();
        let mut derived: Option<Derived> = None;
        loop {
            if *state.borrow_and_update() == StreamState::Ended {
                return;
            }
            tracks.borrow_and_update();
            let source = stream.source(Kind::Audio).filter(|track| !track.ended());
            let kept = match (&derived, &source) {
                (Some(derived), Some(source)) => Arc::ptr_eq(&derived.source, source),
                (None, None) => true,
                _ => false,
            };
            if !kept {
                // Ended before the new one is added: nobody sees two Tracks of one codec.
                drop(derived.take());
                derived = source.and_then(|source| self.derive(&stream, source));
            }
            tokio::select! {
                changed = tracks.changed() => if changed.is_err() { return },
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }

    fn derive(&self, stream: &Arc<Stream>, source: Arc<Track>) -> Option<Derived> {
        let codec = match source.codec() {
            Codec::Aac => Codec::Opus,
            Codec::Opus if cfg!(feature = "aac-fdk") => Codec::Aac,
            _ => {
                Counters::add(&self.counters.jobs_refused, 1);
                return None;
            }
        };
        if self.counters.jobs.load(Ordering::Relaxed) >= self.config.jobs_max as u64 {
            Counters::add(&self.counters.jobs_refused, 1);
            warn!(
                channel = %stream.channel(), stream = %stream.id(), track = codec.name(),
                "no derived audio: transcode.jobs_max is reached"
            );
            return None;
        }
        let writer = stream.add_derived_track(TrackSpec {
            codec,
            // Both run at 48 kHz, and AAC's timescale is its sample rate.
            timescale: Timescale::OPUS,
            keyframes_on_request: false,
            derived: true,
        });
        info!(
            channel = %stream.channel(), stream = %stream.id(), track = codec.name(),
            from = source.codec().name(), "derived audio track, made on demand"
        );
        let (source_of_job, stream) = (Arc::clone(&source), Arc::clone(stream));
        let job = Job::new(source_of_job, writer, self.config.clone(), Arc::clone(&self.counters), stream);
        Some(Derived { source, task: self.pool.add(job) })
    }
}

/// A derived Track and what it is made from. Dropping it ends the Track.
struct Derived {
    source: Arc<Track>,
    task: Arc<Task>,
}

impl Drop for Derived {
    fn drop(&mut self) {
        self.task.stop();
    }
}
