//! One elementary stream of a Stream: the writer's and the readers' handles.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use crate::layer::LayerDemand;
use crate::ring::FaceItem;
use crate::{Codec, Demand, Frame, Kind, Layer, Rid, RtpPacket, Timescale};

/// What a Track is, fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSpec {
    /// The codec; it says the kind too.
    pub codec: Codec,
    /// Ticks per second of every time in the Track: 90 kHz for video, 48 kHz for Opus, the sample rate
    /// for AAC.
    pub timescale: Timescale,
    /// The encoder makes a keyframe when asked. False for RTMP, RTSP and OBS by WHIP.
    pub keyframes_on_request: bool,
    /// Made by `transcode` from another Track of the Stream.
    pub derived: bool,
}

/// One elementary stream of a Stream. Shared by its readers; written through [`TrackWriter`].
#[derive(Debug)]
pub struct Track {
    spec: TrackSpec,
    layers: RwLock<Vec<Arc<Layer>>>,
    writer: Arc<Mutex<Option<Waker>>>,
    ended: AtomicBool,
}

impl Track {
    pub(crate) fn new(spec: TrackSpec) -> Arc<Self> {
        let track = Self {
            spec,
            layers: RwLock::new(Vec::new()),
            writer: Arc::new(Mutex::new(None)),
            ended: AtomicBool::new(false),
        };
        if spec.codec.kind() == Kind::Audio {
            track.layer_or_new(&Rid::single());
        }
        Arc::new(track)
    }

    /// What it is.
    pub fn spec(&self) -> TrackSpec {
        self.spec
    }

    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.spec.codec.kind()
    }

    /// Its codec.
    pub fn codec(&self) -> Codec {
        self.spec.codec
    }

    /// Its Layers, in the order in which they appeared.
    pub fn layers(&self) -> Vec<Arc<Layer>> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The Layer of that name.
    pub fn layer(&self, rid: &Rid) -> Option<Arc<Layer>> {
        self.layers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|layer| layer.rid() == rid)
            .cloned()
    }

    /// True once nothing will ever be written again: the Stream ended or the codec changed.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Reads one face of a Layer from its newest keyframe on (audio: from the live edge).
    pub fn read<T: FaceItem>(self: &Arc<Self>, rid: &Rid) -> TrackReader<T> {
        let layer = self.layer_or_new(rid);
        let (id, start) = layer.attach::<T>();
        let position = if self.kind() == Kind::Audio { T::face(&layer.lock()).end() } else { start };
        TrackReader { layer, id, position, lagged: 0, face: PhantomData }
    }

    fn layer_or_new(&self, rid: &Rid) -> Arc<Layer> {
        if let Some(layer) = self.layer(rid) {
            return layer;
        }
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = layers.iter().find(|layer| layer.rid() == rid) {
            return Arc::clone(layer);
        }
        let layer = Arc::new(Layer::new(rid.clone(), self.spec.codec, Arc::clone(&self.writer)));
        layers.push(Arc::clone(&layer));
        layer
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        for layer in self.layers() {
            layer.end();
        }
    }

    fn poll_demand(&self, waker: Option<&Waker>) -> Option<Demand> {
        if let Some(waker) = waker {
            // Registered before looking, so that a wish made meanwhile wakes.
            *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        }
        for layer in self.layers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let demand = layer.lock().take_demand();
            match demand {
                Some(LayerDemand::Keyframe) => return Some(Demand::Keyframe(layer.rid().clone())),
                Some(LayerDemand::Wanted(wanted)) => {
                    return Some(Demand::LayerWanted(layer.rid().clone(), wanted));
                }
                None => {}
            }
        }
        None
    }
}

/// Writes a Track: exactly one exists per Track at a time. Fill one face; the Track fills the other.
pub struct TrackWriter {
    track: Arc<Track>,
    epoch: u32,
    /// Per Layer: what to add to a source's sequence numbers so that they go on across reconnects.
    offsets: HashMap<Rid, i64>,
    next_seq: Arc<Mutex<HashMap<Rid, u64>>>,
    end_on_drop: bool,
}

impl TrackWriter {
    pub(crate) fn new(
        track: Arc<Track>,
        epoch: u32,
        next_seq: Arc<Mutex<HashMap<Rid, u64>>>,
        end_on_drop: bool,
    ) -> Self {
        Self { track, epoch, offsets: HashMap::new(), next_seq, end_on_drop }
    }

    /// The Track that it writes.
    pub fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Writes the next frame of a Layer, in decoding order. `frame.epoch` is set here; in a derived Track,
    /// which lives across publications, it stays that of the frame it was made from.
    pub fn write_frame(&mut self, layer: &Rid, mut frame: Frame) {
        if !self.track.spec.derived {
            frame.epoch = self.epoch;
        }
        self.track.layer_or_new(layer).write_frame(frame);
    }

    /// Writes a packet of a Layer as it arrived; the source's `seq` is mapped so that it goes on where the
    /// last publication stopped. `packet.epoch` is set here. A packet from before the first one of this
    /// publication is dropped.
    pub fn write_rtp(&mut self, layer: &Rid, mut packet: RtpPacket) {
        packet.epoch = self.epoch;
        let offset = match self.offsets.get(layer) {
            Some(offset) => *offset,
            None => {
                let next = self.seqs().get(layer).copied().unwrap_or(0);
                let offset = next as i64 - packet.seq as i64;
                self.offsets.insert(layer.clone(), offset);
                offset
            }
        };
        let Some(seq) = packet.seq.checked_add_signed(offset) else { return };
        packet.seq = seq;
        {
            let mut seqs = self.seqs();
            match seqs.get_mut(layer) {
                Some(next) => *next = (*next).max(seq + 1),
                None => drop(seqs.insert(layer.clone(), seq + 1)),
            }
        }
        self.track.layer_or_new(layer).write_rtp(packet);
    }

    fn seqs(&self) -> std::sync::MutexGuard<'_, HashMap<Rid, u64>> {
        self.next_seq.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next wish of the readers.
    pub fn poll_demand(&mut self, cx: &mut Context<'_>) -> Poll<Demand> {
        match self.track.poll_demand(Some(cx.waker())) {
            Some(demand) => Poll::Ready(demand),
            None => Poll::Pending,
        }
    }

    /// The next wish of the readers, if there is one now.
    pub fn try_demand(&mut self) -> Option<Demand> {
        self.track.poll_demand(None)
    }

    /// The next wish of the readers.
    pub async fn demand(&mut self) -> Demand {
        poll_fn(|cx| self.poll_demand(cx)).await
    }
}

impl Drop for TrackWriter {
    fn drop(&mut self) {
        if self.end_on_drop {
            self.track.end();
        }
    }
}

impl fmt::Debug for TrackWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackWriter").field("spec", &self.track.spec).field("epoch", &self.epoch).finish()
    }
}

/// Reads one face of one Layer. A reader that lags behind the ring skips to a keyframe, counted in
/// [`TrackReader::lagged`].
pub struct TrackReader<T: FaceItem> {
    layer: Arc<Layer>,
    id: u64,
    position: u64,
    lagged: u64,
    face: PhantomData<fn() -> T>,
}

/// Reads packets.
pub type PacketReader = TrackReader<RtpPacket>;
/// Reads frames.
pub type FrameReader = TrackReader<Frame>;

impl<T: FaceItem> TrackReader<T> {
    /// The Layer that it reads; ask it for keyframes.
    pub fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// How often this reader was too slow and skipped.
    pub fn lagged(&self) -> u64 {
        self.lagged
    }

    /// The next item; `Ready(None)` when the Track ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.layer.lock();
        loop {
            match T::face(&state).get(self.position) {
                Ok(Some(item)) => {
                    let item = item.clone();
                    self.position += 1;
                    return Poll::Ready(Some(item));
                }
                Ok(None) if state.ended() => return Poll::Ready(None),
                Ok(None) => {
                    state.register(self.id, cx.waker());
                    return Poll::Pending;
                }
                Err(start) => {
                    self.position = start;
                    self.lagged += 1;
                }
            }
        }
    }

    /// Appends all items that are there to `out`, under one lock. `Pending`: caught up and registered to
    /// be woken. `Ready`: the Track ended.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, out: &mut Vec<T>) -> Poll<()> {
        let mut state = self.layer.lock();
        loop {
            match T::face(&state).get(self.position) {
                Ok(Some(item)) => {
                    out.push(item.clone());
                    self.position += 1;
                }
                Ok(None) if state.ended() => return Poll::Ready(()),
                Ok(None) => {
                    state.register(self.id, cx.waker());
                    return Poll::Pending;
                }
                Err(start) => {
                    self.position = start;
                    self.lagged += 1;
                }
            }
        }
    }

    /// The next item; `None` when the Track ended.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl<T: FaceItem> Drop for TrackReader<T> {
    fn drop(&mut self) {
        self.layer.detach::<T>(self.id);
    }
}

impl<T: FaceItem> fmt::Debug for TrackReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackReader").field("position", &self.position).field("lagged", &self.lagged).finish()
    }
}
