//! Where a Stream's frames, parts and segments go to be recorded: a bounded queue that never blocks.
//!
//! The packager does not notice a recorder that is slow, stalled or gone: what finds no room is counted and left
//! out. The recorder sees from the numbers what is missing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use media::{CodecConfig, Frame, Kind, MediaTime, NtpTime, Timescale};

use super::stored::Stored;
use crate::fmp4::{Sample, Slices};
use crate::horizon::Horizon;
use crate::segmenter::Cut;

/// Messages on their way to the disk: 15 s of 60 fps video with its audio and their parts. At the limit the
/// recording gets a gap, counted in `recorder_overflows_total`.
const MESSAGES_MAX: usize = 2048;

/// Payload bytes of those: 6 s of 40 Mbit/s, or a minute of 4 Mbit/s. At the limit as for [`MESSAGES_MAX`]. Frames
/// and the parts made of them share their bytes, and both count.
const BYTES_MAX: usize = 64 << 20;

/// What all parts of one Rendition have in common.
#[derive(Debug)]
pub(crate) struct About {
    /// As in URLs.
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) scale: Timescale,
    /// What was added to every decoding time, in ticks.
    pub(crate) offset_ticks: i64,
    /// TARGETDURATION, in seconds.
    pub(crate) target_s: u32,
    /// What of it is on disk.
    pub(crate) stored: Stored,
}

/// An init segment.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) generation: u64,
    pub(crate) bytes: Bytes,
    pub(crate) config: Arc<CodecConfig>,
}

/// What the recorder is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A frame as it came, before anything was made of it.
    Frame { rendition: &'static str, frame: Frame },
    /// A segment begins.
    Open {
        about: Arc<About>,
        init: Option<Arc<Init>>,
        msn: u64,
        at: MediaTime,
        starts: NtpTime,
        discontinuity: bool,
        independent: bool,
    },
    /// Part number `index` of segment `msn`. Its last sample is decoded at `last_decode_time` (with the offset).
    Part {
        about: Arc<About>,
        msn: u64,
        index: u32,
        bytes: Slices,
        frames: u32,
        duration: Duration,
        last_decode_time: u64,
    },
    /// Segment `msn` is over; it has so many parts.
    Close { about: Arc<About>, msn: u64, parts: u32, duration: Duration, gap: bool },
}

impl Message {
    fn payload(&self) -> usize {
        match self {
            Self::Frame { frame, .. } => frame.data.len(),
            Self::Part { bytes, .. } => bytes.len(),
            Self::Open { .. } | Self::Close { .. } => 0,
        }
    }
}

/// The sending end. A Tap without a recorder takes everything and does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Option<Arc<Shared>>);

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Queue {
    messages: Receiver<Message>,
    bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Shared {
    /// `None` once the Stream is over.
    sender: Mutex<Option<SyncSender<Message>>>,
    bytes: Arc<AtomicUsize>,
    overflows: Arc<AtomicU64>,
    horizon: Arc<Horizon>,
}

impl Tap {
    /// A queue; messages that find no room are counted in `overflows`. Live viewers may go back to `horizon`.
    pub(crate) fn open(overflows: Arc<AtomicU64>, horizon: Horizon) -> (Self, Queue) {
        let (sender, messages) = sync_channel(MESSAGES_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let queue = Queue { messages, bytes: Arc::clone(&bytes) };
        let horizon = Arc::new(horizon);
        let shared = Shared { sender: Mutex::new(Some(sender)), bytes, overflows, horizon };
        (Self(Some(Arc::new(shared))), queue)
    }

    /// Takes a frame as it came.
    pub(crate) fn frame(&self, rendition: &'static str, frame: &Frame) {
        if self.0.is_some() {
            self.send(Message::Frame { rendition, frame: frame.clone() });
        }
    }

    /// The Stream is over: the recorder finishes once it has what was sent before.
    pub(crate) fn end(&self) {
        if let Some(shared) = &self.0 {
            shared.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Nothing with bytes waits in the queue.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.bytes.load(Ordering::Relaxed) == 0)
    }

    /// The place where a Rendition leaves what is made of it.
    pub(crate) fn rendition(
        &self,
        name: &'static str,
        kind: Kind,
        scale: Timescale,
        offset_seconds: i64,
        target_s: u32,
    ) -> RenditionTap {
        let offset_ticks = offset_seconds * i64::from(scale.hz());
        RenditionTap {
            tap: self.clone(),
            about: Arc::new(About {
                name: name.into(),
                kind,
                scale,
                offset_ticks,
                target_s,
                stored: Stored::default(),
            }),
            init: None,
            msn: 0,
            parts: 0,
        }
    }

    fn send(&self, message: Message) {
        let Some(shared) = &self.0 else { return };
        let payload = message.payload();
        let sender = shared.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*sender else { return };
        if shared.bytes.fetch_add(payload, Ordering::Relaxed) + payload <= BYTES_MAX {
            match sender.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        shared.bytes.fetch_sub(payload, Ordering::Relaxed);
        shared.overflows.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// The next message; `None` once the Stream is over and nothing is left.
    pub(crate) fn next(&self) -> Option<Message> {
        self.messages.recv().ok().inspect(|it| self.took(it))
    }

    /// The next message, if it is there already.
    #[cfg(test)]
    pub(crate) fn try_next(&self) -> Option<Message> {
        self.messages.try_recv().ok().inspect(|it| self.took(it))
    }

    fn took(&self, message: &Message) {
        self.bytes.fetch_sub(message.payload(), Ordering::Relaxed);
    }
}

/// The sending end of one Rendition.
#[derive(Debug)]
pub(crate) struct RenditionTap {
    tap: Tap,
    about: Arc<About>,
    init: Option<Arc<Init>>,
    msn: u64,
    parts: u32,
}

impl RenditionTap {
    /// What all its parts have in common, and what of it is on disk.
    pub(crate) fn about(&self) -> Arc<About> {
        Arc::clone(&self.about)
    }

    /// How far back live viewers may go.
    pub(crate) fn horizon(&self) -> Arc<Horizon> {
        self.tap.0.as_ref().map(|shared| Arc::clone(&shared.horizon)).unwrap_or_default()
    }

    /// The following segments need this init.
    pub(crate) fn init(&mut self, generation: u64, bytes: &Bytes, config: &Arc<CodecConfig>) {
        let (bytes, config) = (bytes.clone(), Arc::clone(config));
        self.init = Some(Arc::new(Init { generation, bytes, config }));
    }

    /// A segment begins; its first frame is shown at `at`, by the wall clock at `starts`.
    pub(crate) fn open(&mut self, cut: &Cut, at: MediaTime, starts: NtpTime) {
        (self.msn, self.parts) = (cut.msn, 0);
        self.tap.send(Message::Open {
            about: Arc::clone(&self.about),
            init: self.init.clone(),
            msn: cut.msn,
            at,
            starts,
            discontinuity: cut.discontinuity,
            independent: cut.independent,
        });
    }

    /// A part of the open segment.
    pub(crate) fn part(&mut self, bytes: &Slices, decode_time: u64, samples: &[Sample], duration: Duration) {
        let before_last = samples.split_last().map_or(&[][..], |(_, before)| before);
        let last_decode_time = decode_time + before_last.iter().map(|it| u64::from(it.duration)).sum::<u64>();
        let index = self.parts;
        self.parts += 1;
        self.tap.send(Message::Part {
            about: Arc::clone(&self.about),
            msn: self.msn,
            index,
            bytes: bytes.clone(),
            frames: u32::try_from(samples.len()).unwrap_or(u32::MAX),
            duration,
            last_decode_time,
        });
    }

    /// The open segment is over.
    pub(crate) fn close(&mut self, duration: Duration, gap: bool) {
        let (about, msn, parts) = (Arc::clone(&self.about), self.msn, self.parts);
        self.tap.send(Message::Close { about, msn, parts, duration, gap });
    }
}
