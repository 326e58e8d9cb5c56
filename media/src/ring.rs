//! What one face of a Layer holds: everything since the last keyframe, and room for readers that lag.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Frame, RtpPacket};

/// Items kept at most: 16 s of a 10 Mbit/s Layer in packets of 1200 bytes. Beyond it the oldest go: a
/// reader that needed them skips to a keyframe (`Lagged`), and a GOP that long cannot start a viewer.
pub(crate) const RING_ITEMS_MAX: usize = 16_384;

/// Payload bytes kept at most: a 10 s GOP at 12 Mbit/s. The rule is the same as for the items.
pub(crate) const RING_BYTES_MAX: usize = 16 << 20;

/// Items from before the last keyframe that stay for readers that are a little late: half a second or
/// more of any stream.
const RING_SLACK_ITEMS: usize = 512;

/// The two faces of a Layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    Packets,
    Frames,
}

/// An item that lies on a face of a Layer.
pub trait FaceItem: Clone + Send + 'static {
    #[doc(hidden)]
    const FACE: Face;
    /// A reader can start here.
    #[doc(hidden)]
    fn starts_keyframe(&self) -> bool;
    #[doc(hidden)]
    fn payload(&self) -> &Bytes;
    #[doc(hidden)]
    fn face(layer: &crate::layer::LayerState) -> &Ring<Self>;
    #[doc(hidden)]
    fn face_mut(layer: &mut crate::layer::LayerState) -> &mut Ring<Self>;
}

impl FaceItem for RtpPacket {
    const FACE: Face = Face::Packets;
    fn starts_keyframe(&self) -> bool {
        self.starts_keyframe
    }
    fn payload(&self) -> &Bytes {
        &self.payload
    }
    fn face(layer: &crate::layer::LayerState) -> &Ring<Self> {
        &layer.packets
    }
    fn face_mut(layer: &mut crate::layer::LayerState) -> &mut Ring<Self> {
        &mut layer.packets
    }
}

impl FaceItem for Frame {
    const FACE: Face = Face::Frames;
    fn starts_keyframe(&self) -> bool {
        self.keyframe
    }
    fn payload(&self) -> &Bytes {
        &self.data
    }
    fn face(layer: &crate::layer::LayerState) -> &Ring<Self> {
        &layer.frames
    }
    fn face_mut(layer: &mut crate::layer::LayerState) -> &mut Ring<Self> {
        &mut layer.frames
    }
}

/// A bounded ring with 64-bit positions.
#[derive(Debug)]
pub struct Ring<T> {
    items: VecDeque<T>,
    /// Position of `items[0]`.
    head: u64,
    /// Position of the newest item that starts a keyframe.
    keyframe: Option<u64>,
    bytes: usize,
    /// How many readers this face has.
    pub(crate) readers: usize,
}

impl<T: FaceItem> Ring<T> {
    pub(crate) fn new() -> Self {
        Self { items: VecDeque::new(), head: 0, keyframe: None, bytes: 0, readers: 0 }
    }

    /// The position that the next item will have.
    pub(crate) fn end(&self) -> u64 {
        self.head + self.items.len() as u64
    }

    /// Where a new reader begins: at the newest keyframe if it is still held, else at the live edge.
    pub(crate) fn start(&self) -> u64 {
        self.keyframe.filter(|&at| at >= self.head).unwrap_or_else(|| self.end())
    }

    pub(crate) fn push(&mut self, item: T) {
        if item.starts_keyframe() {
            self.keyframe = Some(self.end());
        }
        self.bytes += item.payload().len();
        self.items.push_back(item);
        let keep_from = self.keyframe.unwrap_or(0);
        while self.items.len() > RING_ITEMS_MAX
            || self.bytes > RING_BYTES_MAX
            || (self.items.len() > RING_SLACK_ITEMS && self.head < keep_from)
        {
            let Some(old) = self.items.pop_front() else { break };
            self.bytes -= old.payload().len();
            self.head += 1;
        }
    }

    /// The item at `position`, or where to go on instead if it is gone.
    pub(crate) fn get(&self, position: u64) -> Result<Option<&T>, u64> {
        if position < self.head {
            return Err(self.start());
        }
        Ok(self.items.get((position - self.head) as usize))
    }

    /// The items since the newest keyframe, oldest first; empty if there is none.
    pub(crate) fn since_keyframe(&self) -> impl Iterator<Item = &T> {
        let skip = (self.start() - self.head) as usize;
        self.items.iter().skip(skip)
    }

    /// Forgets all items; positions go on.
    pub(crate) fn clear(&mut self) {
        self.head = self.end();
        self.items.clear();
        self.keyframe = None;
        self.bytes = 0;
    }
}
