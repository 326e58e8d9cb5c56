//! The shell around a Presentation: reads the Tracks of a Stream, passes time, asks for keyframes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use media::{Codec, Frame, Kind, Layer, Stream, StreamState, Track, TrackReader};
use tracing::{info, warn};

use crate::Config;
use crate::probe::Expected;
use crate::session::Session;

/// How often a Stream without its Tracks is looked at again: Layers appear without a notice.
const LOOK: Duration = Duration::from_millis(50);

/// How long simulcast Layers may take to tell their sizes before one is chosen.
const SIZES_WAIT: Duration = Duration::from_secs(1);

/// Shortest time between two wishes for a keyframe.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// One Track that is read.
struct Source {
    track: Arc<Track>,
    reader: TrackReader<Frame>,
    lagged: u64,
}

/// The Tracks of a Stream that HLS carries.
struct Feed<'a> {
    config: &'a Config,
    session: &'a Session,
    stream: &'a Stream,
    began: Instant,
    video: Option<Source>,
    audio: Option<Source>,
    batch: Vec<(Kind, Frame)>,
    scratch: Vec<Frame>,
    asked: Option<Instant>,
    warned: bool,
}

/// Packages until the Stream ended.
pub(crate) async fn run(config: &Config, session: &Session, stream: &Stream) {
    let mut tracks = stream.watch_tracks();
    let mut state = stream.watch_state();
    let mut feed = Feed {
        config,
        session,
        stream,
        began: now(),
        video: None,
        audio: None,
        batch: Vec::new(),
        scratch: Vec::new(),
        asked: None,
        warned: false,
    };
    info!(channel = %session.channel, stream = %session.stream, "packaging for HLS");
    loop {
        feed.choose();
        let ended = *state.borrow_and_update() == StreamState::Ended;
        let next_look = feed.next_look();
        tokio::select! {
            biased;
            () = feed.fill() => feed.deliver(),
            // What was written before the end was read by the branch above.
            () = std::future::ready(()), if ended => break,
            _ = tracks.changed() => {}
            _ = state.changed() => {}
            () = tokio::time::sleep_until(next_look.into()) => {
                session.update(|presentation| presentation.handle_timeout(now()));
            }
        }
    }
    session.update(|presentation| presentation.finish(now()));
    info!(channel = %session.channel, stream = %session.stream, "HLS ended");
}

impl Feed<'_> {
    /// Takes the Tracks that can be carried, as they appear.
    fn choose(&mut self) {
        let waited = now().saturating_duration_since(self.began);
        let patient = waited < self.config.audio_wait();
        if self.video.is_none()
            && let Some(track) = best(self.stream, &[Codec::H264])
            && let Some(layer) = best_layer(&track, waited)
        {
            let source = Source::new(track, layer.rid());
            if source.track.spec().keyframes_on_request {
                source.reader.layer().request_keyframe();
            }
            self.video = Some(source);
        }
        if self.audio.is_none() {
            // Opus is in no list of formats that Apple plays: only when there is nothing else.
            let codecs: &[Codec] = if patient { &[Codec::Aac] } else { &[Codec::Aac, Codec::Opus] };
            self.audio = best(self.stream, codecs).map(|track| Source::new(track, &media::Rid::single()));
        }
        let unsupported = self.stream.source(Kind::Video).filter(|_| self.video.is_none());
        let unsupported = unsupported.map(|track| track.codec()).filter(|codec| *codec != Codec::H264);
        let nothing = unsupported.is_some() && self.audio.is_none() && !patient;
        self.session.set_unsupported(unsupported.map(Codec::name), nothing);
        let expected = Expected {
            video: self.video.is_some(),
            audio: self.audio.is_some(),
            settled: !patient || (self.audio.is_some() && (self.video.is_some() || unsupported.is_some())),
            keyframes_on_request: self
                .video
                .as_ref()
                .is_some_and(|source| source.track.spec().keyframes_on_request),
        };
        self.session.update(|presentation| presentation.expect(expected, now()));
    }

    /// Waits until frames are there; a Track that ended is let go.
    async fn fill(&mut self) {
        poll_fn(|cx| {
            let mut ended = false;
            for (kind, slot) in [(Kind::Video, &mut self.video), (Kind::Audio, &mut self.audio)] {
                let Some(source) = slot else { continue };
                let over = source.reader.poll_drain(cx, &mut self.scratch).is_ready();
                self.batch.extend(self.scratch.drain(..).map(|frame| (kind, frame)));
                let lagged = source.reader.lagged() - source.lagged;
                source.lagged += lagged;
                self.session.lagged.fetch_add(lagged, Ordering::Relaxed);
                if over {
                    *slot = None;
                    ended = true;
                }
            }
            if self.batch.is_empty() && !ended { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn deliver(&mut self) {
        // Each Track was drained on its own: in the order of arrival a late wake-up looks like none.
        self.batch.sort_by_key(|(_, frame)| frame.arrival);
        let at = now();
        let wanted = self.session.update(|presentation| {
            for (kind, frame) in self.batch.drain(..) {
                presentation.handle_frame(kind, frame, at);
            }
            if presentation.dependent_segments() > 0 && !self.warned {
                self.warned = true;
                warn!(
                    channel = %self.session.channel,
                    stream = %self.session.stream,
                    "keyframes are too far apart for HLS: set the encoder's keyframe interval to 2 s"
                );
            }
            presentation.poll_keyframe_request()
        });
        let Some(video) = self.video.as_ref().filter(|_| wanted) else { return };
        let recently = self.asked.is_some_and(|asked| at.saturating_duration_since(asked) < ASK_INTERVAL);
        if video.track.spec().keyframes_on_request && !recently {
            self.asked = Some(at);
            video.reader.layer().request_keyframe();
        }
    }

    /// When to look again though nothing happened.
    fn next_look(&self) -> Instant {
        let patient_until = self.began + self.config.audio_wait();
        let at = now();
        let missing = self.video.is_none() || self.audio.is_none();
        if missing && at < patient_until + LOOK {
            return at + LOOK;
        }
        let timeout = self.session.read(|presentation| presentation.poll_timeout());
        let idle = if self.video.is_none() { LOOK * 10 } else { Duration::from_secs(1) };
        timeout.map_or(at + idle, |timeout| timeout.max(at).min(at + idle))
    }
}

impl Source {
    fn new(track: Arc<Track>, rid: &media::Rid) -> Self {
        let reader = track.read::<Frame>(rid);
        Self { track, reader, lagged: 0 }
    }
}

/// The Track of the first of `codecs` that there is; what the Publisher writes before what is derived.
fn best(stream: &Stream, codecs: &[Codec]) -> Option<Arc<Track>> {
    let tracks = stream.tracks();
    codecs.iter().find_map(|codec| {
        let of_codec = tracks.iter().filter(|track| track.codec() == *codec && !track.ended());
        of_codec.min_by_key(|track| track.spec().derived).cloned()
    })
}

/// The largest Layer; not before all told their sizes, if there are several.
fn best_layer(track: &Track, waited: Duration) -> Option<Arc<Layer>> {
    let layers = track.layers();
    let area =
        |layer: &Arc<Layer>| layer.info().size.map(|(width, height)| u64::from(width) * u64::from(height));
    if layers.len() > 1 && waited < SIZES_WAIT && layers.iter().any(|layer| area(layer).is_none()) {
        return None;
    }
    layers.into_iter().max_by_key(area)
}

fn now() -> Instant {
    // Tokio's clock, so that tests can pause it.
    tokio::time::Instant::now().into_std()
}
