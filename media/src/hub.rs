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
    live: Mutex<Live>,
    events: broadcast::Sender<HubEvent>,
}

#[derive(Debug, Default)]
struct Live {
    streams: HashMap<ChannelName, Entry>,
    last_id: u64,
}

impl Live {
    /// Unix milliseconds and a counter of 16 bits, greater than any before: a Stream that just ended still
    /// lives in URLs and file names.
    fn fresh_id(&mut self, wall: NtpTime) -> StreamId {
        let by_time = (wall.as_unix_micros() / 1000) << 16;
        self.last_id = by_time.max(self.last_id + 1);
        StreamId::from_raw(self.last_id)
    }
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
        if let Some(entry) = live.streams.get_mut(channel) {
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
        let id = live.fresh_id(wall);
        let stream = Stream::new(id, channel.clone(), StreamClock::new(now, wall), publication);
        live.streams.insert(channel.clone(), Entry { stream: Arc::clone(&stream), lost: None });
        drop(live);
        self.tell(HubEvent::Started(Arc::clone(&stream)));
        Ok(StreamWriter::new(stream, Arc::clone(self)))
    }

    /// The live Stream of a Channel, also while it waits for its Publisher.
    pub fn stream(&self, channel: &ChannelName) -> Option<Arc<Stream>> {
        self.lock().streams.get(channel).map(|entry| Arc::clone(&entry.stream))
    }

    /// All live Streams, in no order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.lock().streams.values().map(|entry| Arc::clone(&entry.stream)).collect()
    }

    /// Follows what happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<HubEvent> {
        self.events.subscribe()
    }

    /// Ends the Streams whose grace window has passed. Call it about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut ended = Vec::new();
        self.lock().streams.retain(|_, entry| {
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

    /// Ends the Stream of a Channel at once, also while somebody publishes: the Publisher sees it and stops. False if
    /// there is none.
    pub fn end(&self, channel: &ChannelName) -> bool {
        let Some(entry) = self.lock().streams.remove(channel) else { return false };
        entry.stream.end();
        self.tell(HubEvent::Ended(entry.stream));
        true
    }

    /// Ends every Stream: the node stops.
    pub fn end_all(&self) {
        let all: Vec<Entry> = self.lock().streams.drain().map(|(_, entry)| entry).collect();
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
            live.streams.remove(stream.channel());
        }
        stream.end();
        self.tell(HubEvent::Ended(Arc::clone(stream)));
    }

    fn tell(&self, event: HubEvent) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::tests::origin;

    const GRACE: Duration = Duration::from_secs(10);

    struct Setup {
        hub: Arc<Hub>,
        events: broadcast::Receiver<HubEvent>,
        channel: ChannelName,
        start: Instant,
    }

    impl Setup {
        fn new() -> Self {
            let hub = Hub::new(GRACE);
            let events = hub.subscribe();
            let channel = ChannelName::parse("ana").expect("a name");
            Self { hub, events, channel, start: origin() }
        }

        fn publish(&self) -> Result<StreamWriter, Error> {
            let wall = NtpTime::from_unix_micros(1_000_000);
            self.hub.publish(&self.channel, Publication::default(), self.start, wall)
        }

        fn told(&mut self) -> Vec<&'static str> {
            let name = |event| match event {
                HubEvent::Started(_) => "started",
                HubEvent::Interrupted(_) => "interrupted",
                HubEvent::Resumed(_) => "resumed",
                HubEvent::Ended(_) => "ended",
            };
            std::iter::from_fn(|| self.events.try_recv().ok()).map(name).collect()
        }
    }

    #[test]
    fn a_channel_has_one_publisher_and_a_grace_window() {
        let mut setup = Setup::new();
        let writer = setup.publish().expect("free");
        let id = writer.stream().id();
        assert!(matches!(setup.publish(), Err(Error::Busy { .. })));
        drop(writer);
        let at = |seconds| setup.start + Duration::from_secs(seconds);
        setup.hub.sweep(at(1));
        setup.hub.sweep(at(10));
        // Within the window it is the same Stream, and the next loss has a window of its own.
        let writer = setup.publish().expect("left");
        assert_eq!((writer.stream().id(), writer.stream().epoch()), (id, 1));
        drop(writer);
        setup.hub.sweep(at(12));
        setup.hub.sweep(at(21));
        assert!(setup.hub.stream(&setup.channel).is_some());
        setup.hub.sweep(at(22));
        assert!(setup.hub.stream(&setup.channel).is_none());
        assert_eq!(setup.told(), ["started", "interrupted", "resumed", "interrupted", "ended"]);
        assert_ne!(setup.publish().expect("free").stream().id(), id);
    }

    #[test]
    fn goodbye_ends_at_once() {
        let mut setup = Setup::new();
        let writer = setup.publish().expect("free");
        let stream = Arc::clone(writer.stream());
        writer.finish();
        assert_eq!(stream.state(), StreamState::Ended);
        assert!(setup.hub.streams().is_empty());
        assert_eq!(setup.told(), ["started", "ended"]);
    }

    #[test]
    fn a_stream_that_is_ended_from_outside_is_over_for_its_publisher_too() {
        let mut setup = Setup::new();
        let writer = setup.publish().expect("free");
        assert!(setup.hub.end(&setup.channel));
        assert!(!setup.hub.end(&setup.channel));
        assert_eq!(writer.stream().state(), StreamState::Ended);
        let next = setup.publish().expect("free");
        assert_ne!(next.stream().id(), writer.stream().id());
        drop(writer);
        assert_eq!(next.stream().state(), StreamState::Live, "the old one's end is not the new one's");
        assert_eq!(setup.told(), ["started", "ended", "started"]);
    }

    #[test]
    fn the_end_of_the_node_ends_every_stream() {
        let mut setup = Setup::new();
        let writer = setup.publish().expect("free");
        setup.hub.end_all();
        assert_eq!(writer.stream().state(), StreamState::Ended);
        drop(writer);
        assert_eq!(setup.told(), ["started", "ended"]);
    }
}
