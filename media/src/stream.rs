//! One broadcast on a Channel: its clock, its Tracks, its publications.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::hub::Hub;
use crate::{ChannelName, Codec, Kind, StreamClock, StreamId, Track, TrackSpec, TrackWriter};

/// Whether somebody publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamState {
    /// A Publisher writes.
    Live,
    /// The Publisher is gone; the same key may continue within the grace window.
    Reconnecting,
    /// Over. Readers drain what is left.
    Ended,
}

/// Who publishes, for the API and the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// `rtmp`, `whip`.
    pub transport: &'static str,
    /// What the encoder calls itself.
    pub encoder: Option<String>,
    /// Its address.
    pub remote: Option<std::net::SocketAddr>,
}

/// One broadcast on a Channel, from first publish to end. Survives a reconnect within the grace window.
pub struct Stream {
    id: StreamId,
    channel: ChannelName,
    clock: StreamClock,
    epoch: AtomicU32,
    /// Grows with every change of the list of Tracks: a cheap look for those who poll.
    version: AtomicU64,
    tracks: watch::Sender<Vec<Arc<Track>>>,
    state: watch::Sender<StreamState>,
    publication: Mutex<Publication>,
}

impl Stream {
    pub(crate) fn new(
        id: StreamId,
        channel: ChannelName,
        clock: StreamClock,
        publication: Publication,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            channel,
            clock,
            epoch: AtomicU32::new(0),
            version: AtomicU64::new(0),
            tracks: watch::Sender::new(Vec::new()),
            state: watch::Sender::new(StreamState::Live),
            publication: Mutex::new(publication),
        })
    }

    /// Its id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The Channel that it is on.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Its one clock.
    pub fn clock(&self) -> StreamClock {
        self.clock
    }

    /// Which publication this is; grows by one per reconnect.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Who publishes now, or did last.
    pub fn publication(&self) -> Publication {
        self.publication.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its Tracks now.
    pub fn tracks(&self) -> Vec<Arc<Track>> {
        self.tracks.borrow().clone()
    }

    /// The Track of that codec, if there is one.
    pub fn track(&self, codec: Codec) -> Option<Arc<Track>> {
        self.tracks.borrow().iter().find(|track| track.codec() == codec).cloned()
    }

    /// The Track of that kind that the Publisher itself writes.
    pub fn source(&self, kind: Kind) -> Option<Arc<Track>> {
        self.tracks.borrow().iter().find(|track| track.kind() == kind && !track.spec().derived).cloned()
    }

    /// A number that grows whenever the list of Tracks changes.
    pub fn tracks_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Follows the list of Tracks.
    pub fn watch_tracks(&self) -> watch::Receiver<Vec<Arc<Track>>> {
        self.tracks.subscribe()
    }

    /// Whether somebody publishes now.
    pub fn state(&self) -> StreamState {
        *self.state.borrow()
    }

    /// Follows the state.
    pub fn watch_state(&self) -> watch::Receiver<StreamState> {
        self.state.subscribe()
    }

    /// Adds a Track that is made from another one of this Stream. Dropping the writer ends the Track.
    pub fn add_derived_track(&self, spec: TrackSpec) -> TrackWriter {
        let track = Track::new(TrackSpec { derived: true, ..spec });
        self.change_tracks(|tracks| tracks.push(Arc::clone(&track)));
        TrackWriter::new(track, self.epoch(), true)
    }

    /// The source Track of `spec`: the one that is there if it fits, else a new one in its place.
    fn source_track(&self, spec: TrackSpec, epoch: u32) -> TrackWriter {
        let spec = TrackSpec { derived: false, ..spec };
        if epoch != self.epoch() {
            // Replaced meanwhile: what it writes goes nowhere.
            let track = Track::new(spec);
            track.end();
            return TrackWriter::new(track, epoch, false);
        }
        let old = self.source(spec.codec.kind()).filter(|track| !track.ended());
        let track = match old {
            Some(track) if track.spec() == spec => track,
            old => {
                let track = Track::new(spec);
                if let Some(old) = old {
                    old.end();
                }
                self.change_tracks(|tracks| tracks.push(Arc::clone(&track)));
                track
            }
        };
        TrackWriter::new(track, epoch, false)
    }

    fn change_tracks(&self, change: impl FnOnce(&mut Vec<Arc<Track>>)) {
        self.tracks.send_modify(|tracks| {
            tracks.retain(|track| !track.ended());
            change(tracks);
        });
        self.version.fetch_add(1, Ordering::AcqRel);
        if self.state() == StreamState::Ended {
            // Added while the Stream ended: nobody else would end it.
            self.tracks().iter().for_each(|track| track.end());
        }
    }

    pub(crate) fn continue_with(&self, publication: Publication) {
        *self.publication.lock().unwrap_or_else(PoisonError::into_inner) = publication;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.state.send_replace(StreamState::Live);
    }

    /// False if it was not live.
    pub(crate) fn lose_publisher(&self) -> bool {
        self.state.send_if_modified(|state| {
            let live = *state == StreamState::Live;
            if live {
                *state = StreamState::Reconnecting;
            }
            live
        })
    }

    pub(crate) fn end(&self) {
        self.state.send_replace(StreamState::Ended);
        for track in self.tracks() {
            track.end();
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// Held by the Publisher of a Stream. Dropping it ends the publication; the Stream ends when the grace
/// window has passed without another one.
pub struct StreamWriter {
    stream: Arc<Stream>,
    hub: Arc<Hub>,
    epoch: u32,
}

impl StreamWriter {
    pub(crate) fn new(stream: Arc<Stream>, hub: Arc<Hub>) -> Self {
        let epoch = stream.epoch();
        Self { stream, hub, epoch }
    }

    /// The Stream that it writes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The writer of a source Track. After a reconnect with the same codec it is the same Track, so that
    /// nobody downstream notices more than a gap.
    pub fn track(&mut self, spec: TrackSpec) -> TrackWriter {
        self.stream.source_track(spec, self.epoch)
    }

    /// True once another publication has taken this Stream over (same Channel, newer epoch).
    pub fn replaced(&self) -> bool {
        self.stream.epoch() != self.epoch
    }

    /// Ends the Stream at once, without the grace window: the encoder said goodbye for good.
    pub fn finish(self) {
        self.hub.finish(&self.stream, self.epoch);
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.hub.publisher_left(&self.stream, self.epoch);
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamWriter").field(&self.stream).finish()
    }
}
