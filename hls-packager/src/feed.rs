//! The shell around a Presentation: reads the Tracks of a Stream, passes time, asks for keyframes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use media::{Codec, Frame, Kind, Layer, Rid, Stream, StreamState, Track, TrackReader};
use tracing::{info, warn};

use crate::Config;
use crate::name::{Name, VIDEO_MAX};
use crate::presentation::KeyframeAdvice;
use crate::probe::Expected;
use crate::session::Session;

/// How often a Stream without its Tracks is looked at again: Layers appear without a notice.
const LOOK: Duration = Duration::from_millis(50);

/// How often a Stream that is complete is: a Layer that is added joins within a segment.
const LOOK_IDLE: Duration = Duration::from_millis(500);

/// How long simulcast Layers may take to tell their sizes before the first is chosen.
const SIZES_WAIT: Duration = Duration::from_secs(1);

/// Shortest time between two wishes for a keyframe.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// What is carried, in the order of preference: of Tracks that are derived, what most players know comes first.
const VIDEO_CODECS: &[Codec] = &[Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9];

/// One Track or Layer that is read.
struct Source {
    name: Name,
    track: Arc<Track>,
    reader: TrackReader<Frame>,
    lagged: u64,
    wants_keyframe: bool,
    asked: Option<Instant>,
}

/// The Tracks of a Stream that HLS carries.
struct Feed<'a> {
    config: &'a Config,
    session: &'a Session,
    stream: &'a Stream,
    began: Instant,
    /// The Layers of the video Track, and audio.
    sources: Vec<Source>,
    /// Which Layer has which number: a Layer that comes back continues its Rendition.
    rids: Vec<Rid>,
    batch: Vec<(Name, Frame)>,
    scratch: Vec<Frame>,
    warned: bool,
    refused: bool,
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
        sources: Vec::new(),
        rids: Vec::new(),
        batch: Vec::new(),
        scratch: Vec::new(),
        warned: false,
        refused: false,
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
    /// Takes the Tracks and Layers that can be carried, as they appear.
    fn choose(&mut self) {
        let waited = now().saturating_duration_since(self.began);
        let patient = waited < self.config.audio_wait();
        let own = self.stream.source(Kind::Video);
        let own = own.filter(|track| VIDEO_CODECS.contains(&track.codec()) && !track.ended());
        if let Some(track) = own.or_else(|| best(self.stream, VIDEO_CODECS)) {
            self.choose_layers(&track, waited);
        }
        if !self.has(Kind::Audio) {
            // Opus is in no list of formats that Apple plays: only when there is nothing else.
            let codecs: &[Codec] = if patient { &[Codec::Aac] } else { &[Codec::Aac, Codec::Opus] };
            let track = best(self.stream, codecs);
            self.sources.extend(track.map(|track| Source::new(Name::Audio, track, &Rid::single())));
        }
        let (video, audio) = (self.has(Kind::Video), self.has(Kind::Audio));
        let unsupported = self.stream.source(Kind::Video).filter(|_| !video);
        let unsupported =
            unsupported.map(|track| track.codec()).filter(|codec| !VIDEO_CODECS.contains(codec));
        let nothing = unsupported.is_some() && !audio && !patient;
        self.session.set_unsupported(unsupported.map(Codec::name), nothing);
        let expected = Expected {
            video,
            audio,
            settled: !patient || (audio && (video || unsupported.is_some())),
            keyframes_on_request: self
                .sources
                .iter()
                .any(|source| source.name != Name::Audio && source.track.spec().keyframes_on_request),
        };
        self.session.update(|presentation| presentation.expect(expected, now()));
    }

    /// All Layers of the source, the smallest first: an encoder that must save bits stops the larger ones. Each is
    /// read whether or not somebody watches it, because a segment that was not made cannot be listed later.
    fn choose_layers(&mut self, track: &Arc<Track>, waited: Duration) {
        let mut layers = track.layers();
        let unsized_layer = layers.iter().any(|layer| area(layer).is_none());
        if !self.has(Kind::Video) && layers.len() > 1 && waited < SIZES_WAIT && unsized_layer {
            return;
        }
        layers.sort_by_key(|layer| area(layer).unwrap_or(u64::MAX));
        for layer in layers {
            let known = |source: &Source| Arc::ptr_eq(source.reader.layer(), &layer);
            // A Layer that never said anything may be one that an earlier publication had.
            if self.sources.iter().any(known) || (layer.activity().newest.is_none() && self.has(Kind::Video))
            {
                continue;
            }
            let Some(name) = self.name_of(layer.rid()) else {
                if !std::mem::replace(&mut self.refused, true) {
                    let (channel, stream) = (&self.session.channel, self.session.stream);
                    warn!(%channel, %stream, rid = %layer.rid(), "too many layers for HLS: not packaged");
                }
                continue;
            };
            let source = Source::new(name, Arc::clone(track), layer.rid());
            if track.spec().keyframes_on_request {
                source.reader.layer().request_keyframe();
            }
            self.sources.push(source);
        }
    }

    /// The Rendition of a Layer: the one that it had, else a new one, else one of a Layer that is gone.
    fn name_of(&mut self, rid: &Rid) -> Option<Name> {
        let used = |number: usize| self.sources.iter().any(|source| source.name == Name::video(number));
        let known = self.rids.iter().position(|known| known == rid);
        if let Some(number) = known {
            return (!used(number)).then(|| Name::video(number));
        }
        if self.rids.len() < VIDEO_MAX {
            self.rids.push(rid.clone());
            return Some(Name::video(self.rids.len() - 1));
        }
        let number = (0..VIDEO_MAX).find(|number| !used(*number))?;
        self.rids[number] = rid.clone();
        Some(Name::video(number))
    }

    fn has(&self, kind: Kind) -> bool {
        self.sources.iter().any(|source| source.name.kind() == kind)
    }

    /// Waits until frames are there; a Track that ended is let go.
    async fn fill(&mut self) {
        poll_fn(|cx| {
            let before = self.sources.len();
            self.sources.retain_mut(|source| {
                let over = source.reader.poll_drain(cx, &mut self.scratch).is_ready();
                self.batch.extend(self.scratch.drain(..).map(|frame| (source.name, frame)));
                let lagged = source.reader.lagged() - source.lagged;
                source.lagged += lagged;
                self.session.lagged.fetch_add(lagged, Ordering::Relaxed);
                !over
            });
            let ended = self.sources.len() < before;
            if self.batch.is_empty() && !ended { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn deliver(&mut self) {
        // Each Track was drained on its own: in the order of arrival a late wake-up looks like none.
        // Sound that arrived with a picture waits for it.
        self.batch.sort_by_key(|(name, frame)| (frame.arrival, *name == Name::Audio));
        let at = now();
        self.session.update(|presentation| {
            for (name, frame) in self.batch.drain(..) {
                presentation.handle_frame(name, frame, at);
            }
            for source in &mut self.sources {
                source.wants_keyframe |= presentation.poll_keyframe_request(source.name);
            }
            let advice = presentation.keyframe_advice().filter(|_| !self.warned);
            let (channel, stream) = (&self.session.channel, self.session.stream);
            self.warned |= advice.is_some();
            match advice {
                Some(KeyframeAdvice::TooFarApart) => {
                    warn!(%channel, %stream, "keyframes are too far apart for HLS: set the encoder's keyframe interval to 2 s");
                }
                Some(KeyframeAdvice::NotAligned) => {
                    warn!(%channel, %stream, "the layers have their keyframes at different times: HLS switches less well");
                }
                None => {}
            }
        });
        self.sources.iter_mut().for_each(|source| source.ask(at));
    }

    /// When to look again though nothing happened.
    fn next_look(&self) -> Instant {
        let patient_until = self.began + self.config.audio_wait();
        let at = now();
        let missing = !self.has(Kind::Video) || !self.has(Kind::Audio);
        if missing && at < patient_until + LOOK {
            return at + LOOK;
        }
        let timeout = self.session.read(|presentation| presentation.poll_timeout());
        timeout.map_or(at + LOOK_IDLE, |timeout| timeout.max(at).min(at + LOOK_IDLE))
    }
}

impl Source {
    fn new(name: Name, track: Arc<Track>, rid: &Rid) -> Self {
        let reader = track.read::<Frame>(rid);
        Self { name, track, reader, lagged: 0, wants_keyframe: false, asked: None }
    }

    /// Asks for a keyframe, if one is wanted and can be had. A wish that comes too early waits.
    fn ask(&mut self, now: Instant) {
        let recently = self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_INTERVAL);
        if !self.wants_keyframe || recently {
            return;
        }
        self.wants_keyframe = false;
        if self.track.spec().keyframes_on_request {
            self.asked = Some(now);
            self.reader.layer().request_keyframe();
        }
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

fn area(layer: &Arc<Layer>) -> Option<u64> {
    layer.activity().size.map(|(width, height)| u64::from(width) * u64::from(height))
}

fn now() -> Instant {
    // Tokio's clock, so that tests can pause it.
    tokio::time::Instant::now().into_std()
}
