//! One elementary stream of a Stream: the writer's and the readers' handles.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use crate::layer::{Attached, LayerDemand, LayerState};
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

    /// Looks at its Layers without a copy of the list. `look` must be short: who writes a new Layer waits.
    pub fn look_at_layers<T>(&self, look: impl FnOnce(&[Arc<Layer>]) -> T) -> T {
        look(&self.layers.read().unwrap_or_else(PoisonError::into_inner))
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

    /// Reads one face of a Layer from its newest keyframe on, or from the next one if the newest is too long
    /// ago to be kept (audio: from the live edge).
    pub fn read<T: FaceItem>(self: &Arc<Self>, rid: &Rid) -> TrackReader<T> {
        let layer = self.layer_or_new(rid);
        let Attached { reader, position } = layer.attach::<T>();
        TrackReader { layer, id: reader, position, seeking: true, lagged: 0, face: PhantomData }
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
        if self.ended() {
            layer.end();
        }
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
    layers: Vec<WrittenLayer>,
    end_on_drop: bool,
}

/// A Layer as its writer sees it.
struct WrittenLayer {
    layer: Arc<Layer>,
    /// The source's first number in this publication, and the Layer's number for it.
    numbers: Option<(u64, u64)>,
}

impl TrackWriter {
    pub(crate) fn new(track: Arc<Track>, epoch: u32, end_on_drop: bool) -> Self {
        Self { track, epoch, layers: Vec::new(), end_on_drop }
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
        self.written(layer).layer.write_frame(frame);
    }

    /// Writes a packet of a Layer as it arrived; the source's `seq` is mapped so that it goes on where the
    /// last publication stopped. `packet.epoch` is set here. A packet from before the first one of this
    /// publication is dropped: its number belongs to the last one.
    pub fn write_rtp(&mut self, layer: &Rid, mut packet: RtpPacket) {
        packet.epoch = self.epoch;
        let written = self.written(layer);
        let (theirs, ours) = *written.numbers.get_or_insert_with(|| (packet.seq, written.layer.next_seq()));
        let Some(seq) = packet.seq.checked_sub(theirs).and_then(|after| after.checked_add(ours)) else {
            return;
        };
        packet.seq = seq;
        written.layer.write_rtp(packet);
    }

    /// A Track has few Layers: they are looked through.
    fn written(&mut self, rid: &Rid) -> &mut WrittenLayer {
        let known = self.layers.iter().position(|written| written.layer.rid() == rid);
        let place = known.unwrap_or_else(|| {
            self.layers.push(WrittenLayer { layer: self.track.layer_or_new(rid), numbers: None });
            self.layers.len() - 1
        });
        &mut self.layers[place]
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

/// Reads one face of one Layer, from a keyframe on. A reader that lags behind the ring skips to a keyframe, counted in
/// [`TrackReader::lagged`].
pub struct TrackReader<T: FaceItem> {
    layer: Arc<Layer>,
    id: u64,
    position: u64,
    /// Looks for a keyframe to begin with.
    seeking: bool,
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
        let layer = Arc::clone(&self.layer);
        let mut state = layer.lock();
        match self.step(&state) {
            Some(item) => Poll::Ready(Some(item)),
            None if state.ended() => Poll::Ready(None),
            None => {
                state.register(self.id, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Appends all items that are there to `out`, under one lock. `Pending`: caught up and registered to
    /// be woken. `Ready`: the Track ended.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, out: &mut Vec<T>) -> Poll<()> {
        let layer = Arc::clone(&self.layer);
        let mut state = layer.lock();
        while let Some(item) = self.step(&state) {
            out.push(item);
        }
        if state.ended() {
            return Poll::Ready(());
        }
        state.register(self.id, cx.waker());
        Poll::Pending
    }

    /// The next item that this reader can use, if it is there.
    fn step(&mut self, state: &LayerState) -> Option<T> {
        loop {
            match T::face(state).get(self.position) {
                Ok(None) => return None,
                Ok(Some(item)) => {
                    self.position += 1;
                    // Nothing before a keyframe can be decoded by one who begins, or begins again.
                    if !self.seeking || item.starts_keyframe() {
                        self.seeking = false;
                        return Some(item.clone());
                    }
                }
                Err(start) => {
                    self.position = start;
                    self.seeking = true;
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

#[cfg(test)]
mod tests;
