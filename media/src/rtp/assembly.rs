//! Packets to pictures: what the depacketizers of all video formats have in common.
//!
//! A picture has one timestamp and ends with its marker, or where the next one begins. One with a hole in it is
//! dropped, and every picture up to the next keyframe: it might refer to the lost one.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::{CodecConfig, Error, Frame, MediaTime, RtpPacket};

use super::decode_time::DecodeTimes;
use super::depacketizer::Losses;

/// How one payload format carries a picture. What it knows for longer than one picture (parameter sets) is in
/// itself, what belongs to one picture in `Unit`.
pub(super) trait Payloads {
    /// A picture whose packets are coming in.
    type Unit: std::fmt::Debug;

    /// A picture without anything in it. `bytes`: how much to reserve.
    fn begin(&self, bytes: usize) -> Self::Unit;

    /// Adds the payload of the next packet, which is not empty.
    ///
    /// # Errors
    /// It breaks the format, or the packets before it: the picture is lost.
    fn take(&mut self, unit: &mut Self::Unit, payload: &[u8]) -> Result<(), Error>;

    /// All packets were taken.
    fn finish(&mut self, unit: Self::Unit) -> Finished;
}

/// What the packets of one timestamp made.
#[derive(Debug)]
pub(super) enum Finished {
    Picture(Picture),
    /// No picture, and none is missing: parameter sets by themselves.
    Nothing,
    /// Its end is missing.
    Broken,
}

/// A whole picture.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) data: Bytes,
    pub(super) keyframe: bool,
    pub(super) discardable: bool,
    /// `None`: it was never told.
    pub(super) config: Option<Arc<CodecConfig>>,
    /// The configuration came with it. Behind a hole there may have been another; only this one is sure.
    pub(super) brings_config: bool,
    /// How many pictures may precede one in decoding order and follow it in presentation, if the stream says.
    pub(super) reorder_frames: Option<u32>,
}

/// Joins the packets of one Layer, given in order of sequence number. Waits for its first keyframe.
#[derive(Debug)]
pub(super) struct Assembly<P: Payloads> {
    payloads: P,
    next_seq: Option<u64>,
    epoch: u32,
    unit: Option<Unit<P::Unit>>,
    /// A picture was lost: what follows cannot be decoded until a keyframe.
    waiting: bool,
    losses: Losses,
    decode_times: DecodeTimes,
    /// Size of the last picture and of the last keyframe: what to reserve for the next one.
    last_bytes: [usize; 2],
}

#[derive(Debug)]
struct Unit<U> {
    time: MediaTime,
    arrival: Instant,
    content: U,
    /// The packet before its first one is missing: it may have lost its beginning.
    after_hole: bool,
    /// Something of it is missing or malformed: swallow the rest.
    broken: bool,
}

impl<P: Payloads + Default> Default for Assembly<P> {
    fn default() -> Self {
        Self {
            payloads: P::default(),
            next_seq: None,
            epoch: 0,
            unit: None,
            waiting: true,
            losses: Losses::default(),
            decode_times: DecodeTimes::default(),
            last_bytes: [0; 2],
        }
    }
}

impl<P: Payloads> Assembly<P> {
    pub(super) fn losses(&self) -> Losses {
        self.losses
    }

    /// Takes the next packet in order; appends the frames that it completes.
    pub(super) fn depacketize(&mut self, packet: &RtpPacket, out: &mut Vec<Frame>) {
        let mut hole = self.next_seq.is_some_and(|next| next != packet.seq);
        self.next_seq = Some(packet.seq + 1);
        if packet.epoch != self.epoch {
            // Another publication: the last one was cut off in mid-picture.
            self.epoch = packet.epoch;
            self.decode_times.reset();
            hole |= self.unit.is_some();
        }
        if hole {
            self.losses.holes += 1;
            self.waiting = true;
            if let Some(unit) = &mut self.unit {
                unit.broken = true;
            }
        }
        // Padding may carry an old timestamp.
        if packet.payload.is_empty() {
            return;
        }
        if self.unit.as_ref().is_some_and(|unit| unit.time != packet.time) {
            self.finish(out);
        }
        let unit = self.unit.get_or_insert_with(|| Unit {
            time: packet.time,
            arrival: packet.arrival,
            content: self.payloads.begin(self.last_bytes[usize::from(packet.starts_keyframe)]),
            after_hole: hole,
            broken: false,
        });
        unit.arrival = unit.arrival.max(packet.arrival);
        if !unit.broken && self.payloads.take(&mut unit.content, &packet.payload).is_err() {
            self.losses.refused += 1;
            unit.broken = true;
        }
        if packet.marker {
            self.finish(out);
        }
    }

    /// Ends the picture: by its marker, or because the next one began.
    fn finish(&mut self, out: &mut Vec<Frame>) {
        let Some(unit) = self.unit.take() else { return };
        let finished = if unit.broken { Finished::Broken } else { self.payloads.finish(unit.content) };
        let picture = match finished {
            Finished::Nothing => return,
            Finished::Broken => None,
            Finished::Picture(picture) => {
                let decodable = picture.keyframe && (picture.brings_config || !unit.after_hole);
                Some(picture).filter(|_| decodable || !self.waiting)
            }
        };
        let Some((picture, config)) = picture.and_then(|mut picture| {
            let config = picture.config.take()?;
            Some((picture, config))
        }) else {
            self.losses.frames += 1;
            self.waiting = true;
            return;
        };
        self.waiting = false;
        let decoding = self.decode_times.next(unit.time.ticks(), picture.reorder_frames);
        self.last_bytes[usize::from(picture.keyframe)] = picture.data.len();
        out.push(Frame {
            dts: MediaTime::new(decoding, unit.time.scale()),
            pts: unit.time,
            duration: 0,
            keyframe: picture.keyframe,
            discardable: picture.discardable,
            data: picture.data,
            config,
            epoch: self.epoch,
            arrival: unit.arrival,
        });
    }
}
