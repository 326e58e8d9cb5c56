//! The table of live Streams of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::{
    ChannelName, Error, NtpTime, Publication, Stream, StreamClock, StreamId, StreamState, StreamWriter,
};

/// How long a Stream waits for its Publisher to come back: longer than any encoder's first retry (OBS: 2,
/// 4, 8 s), shorter than a viewer's patience.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(10);

/// Events kept for a listener that is late. Beyond it the listener is told that it missed some
/// (`RecvError::Lagged`) and looks at [`Hub::streams`] instead.
const EVENTS_MAX: usize = 256;

/// Something happened to a Stream.
#[derive(Clone, Debug)]
pub enum HubEvent {
    /// A new Stream; its Publisher is about to write.
    Started(Arc<Stream>),
    /// The Publisher is gone, the grace window runs.
    Interrupted(Arc<Stream>),
    /// A Publisher continues the Stream.
    Resumed(Arc<Stream>),
    /// The Stream is over.
    Ended(Arc<Stream>),
}

/// The table of live Streams of this node.
#[derive(Debug)]
pub struct Hub {
    grace: Duration,
    live: Mutex<HashMap<ChannelName, Entry>>,
    events: broadcast::Sender<HubEvent>,
}

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    /// Since when there is no Publisher; set by the first [`Hub::sweep`] that sees it.
    lost: Option<Instant>,
}

impl Hub {
    /// An empty table. `grace`: see [`RECONNECT_GRACE`].
    pub fn new(grace: Duration) -> Arc<Self> {
        Arc::new(Self { grace, live: Mutex::default(), events: broadcast::Sender::new(EVENTS_MAX) })
    }

    /// Begins a Stream on `channel`, or continues the one whose Publisher left.
    ///
    /// The caller has authorised the Publisher. `now` and `wall` are the same moment on both clocks.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody publishes there; see [`Hub::take_over`].
    pub fn publish(
        self: &Arc<Self>,
        channel: &ChannelName,
        publication: Publication,
        now: Instant,
        wall: NtpTime,
    ) -> Result<StreamWriter, Error> {
        self.claim(channel, publication, now, wall, false)
    }

    /// Like [`Hub::publish`], but in place of a Publisher who is still there: its
    /// [`StreamWriter::replaced`] turns true and it should stop.
    pub fn take_over(
        self: &Arc<Self>,
        channel: &ChannelName,
        publication: Publication,
        now: Instant,
        wall: NtpTime,
    ) -> StreamWriter {
        match self.claim(channel, publication, now, wall, true) {
            Ok(writer) => writer,
            Err(_) => unreachable!("a take-over is never busy"),
        }
    }

    fn claim(
        self: &Arc<Self>,
        channel: &ChannelName,
        publication: Publication,
        now: Instant,
        wall: NtpTime,
        force: bool,
    ) -> Result<StreamWriter, Error> {
        let mut live = self.lock();
        if let Some(entry) = live.get_mut(channel) {
            if entry.stream.state() == StreamState::Live && !force {
                return Err(Error::Busy { channel: channel.clone() });
            }
            entry.lost = None;
            entry.stream.continue_with(publication);
            let stream = Arc::clone(&entry.stream);
            drop(live);
            self.tell(HubEvent::Resumed(Arc::clone(&stream)));
            return Ok(StreamWriter::new(stream, Arc::clone(self)));
        }
        let id = StreamId::from_raw(fresh_id(&live, wall));
        let stream = Stream::new(id, channel.clone(), StreamClock::new(now, wall), publication);
        live.insert(channel.clone(), Entry { stream: Arc::clone(&stream), lost: None });
        drop(live);
        self.tell(HubEvent::Started(Arc::clone(&stream)));
        Ok(StreamWriter::new(stream, Arc::clone(self)))
    }

    /// The live Stream of a Channel, also while it waits for its Publisher.
    pub fn stream(&self, channel: &ChannelName) -> Option<Arc<Stream>> {
        self.lock().get(channel).map(|entry| Arc::clone(&entry.stream))
    }

    /// All live Streams, in no order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.lock().values().map(|entry| Arc::clone(&entry.stream)).collect()
    }

    /// Follows what happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<HubEvent> {
        self.events.subscribe()
    }

    /// Ends the Streams whose grace window has passed. Call it about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut ended = Vec::new();
        self.lock().retain(|_, entry| {
            if entry.stream.state() != StreamState::Reconnecting {
                return true;
            }
            let lost = *entry.lost.get_or_insert(now);
            if now.saturating_duration_since(lost) < self.grace {
                return true;
            }
            ended.push(Arc::clone(&entry.stream));
            false
        });
        for stream in ended {
            stream.end();
            self.tell(HubEvent::Ended(stream));
        }
    }

    /// Ends every Stream: the node stops.
    pub fn end_all(&self) {
        let all: Vec<Entry> = self.lock().drain().map(|(_, entry)| entry).collect();
        for entry in all {
            entry.stream.end();
            self.tell(HubEvent::Ended(entry.stream));
        }
    }

    pub(crate) fn publisher_left(&self, stream: &Arc<Stream>, epoch: u32) {
        {
            // Under the lock, so that nobody continues the Stream between the look and the change.
            let _live = self.lock();
            if stream.epoch() != epoch || !stream.lose_publisher() {
                return;
            }
        }
        self.tell(HubEvent::Interrupted(Arc::clone(stream)));
    }

    pub(crate) fn finish(&self, stream: &Arc<Stream>, epoch: u32) {
        {
            let mut live = self.lock();
            if stream.epoch() != epoch || stream.state() == StreamState::Ended {
                return;
            }
            live.remove(stream.channel());
        }
        stream.end();
        self.tell(HubEvent::Ended(Arc::clone(stream)));
    }

    fn tell(&self, event: HubEvent) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Entry>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix milliseconds and a counter of 16 bits, unique among the live Streams.
fn fresh_id(live: &HashMap<ChannelName, Entry>, wall: NtpTime) -> u64 {
    let mut raw = (wall.as_unix_micros() / 1000) << 16;
    while live.values().any(|entry| entry.stream.id().raw() == raw) {
        raw += 1;
    }
    raw
}
