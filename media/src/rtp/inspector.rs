//! What a forwarder must know about a payload that it does not open.

mod announced;
mod av1;
mod h264;
mod h265;
#[cfg(test)]
mod tests;

pub use announced::Announced;

use crate::Codec;
use crate::rtp::{vp8, vp9};
use crate::vp9::FrameHeader;

/// Properties of one packet, from its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// First packet of a frame.
    pub frame_start: bool,
    /// First packet of a keyframe.
    pub starts_keyframe: bool,
    /// The frame is no reference. VP9 and AV1 do not say it where a forwarder looks.
    pub discardable: bool,
    /// Temporal layer.
    pub temporal_id: u8,
}

/// Looks into the payloads of one source (SSRC), in the order in which they arrive.
#[derive(Debug)]
pub struct Inspector {
    codec: Codec,
    /// H.264, H.265 and AV1 have no mark of a frame's beginning, so the newest timestamps are remembered: several,
    /// because a late packet of the frame before must not make the current one begin anew.
    frames: [Option<RecentFrame>; RECENT_FRAMES],
    oldest: usize,
    /// The highest temporal layer seen.
    top_layer: u8,
}

/// Packets later than this many frames are rarer than repeated timestamps are harmful.
const RECENT_FRAMES: usize = 4;

#[derive(Clone, Copy, Debug)]
struct RecentFrame {
    timestamp: u64,
    /// A packet of it that a viewer can start with was told already.
    keyframe_told: bool,
    discardable: bool,
    temporal_id: u8,
}

/// What the units in one payload say, where frames are told apart by timestamp.
#[derive(Clone, Copy, Debug, Default)]
struct Contents {
    /// It holds what a decoder can start with (of a fragmented unit: its first fragment).
    keyframe: bool,
    /// A frame can begin with it: no middle of a fragmented unit, no later slice of a picture.
    begins: bool,
    /// Of the picture in it, if it says so.
    picture: Option<PictureSays>,
}

#[derive(Clone, Copy, Debug)]
struct PictureSays {
    /// No picture of its temporal layer refers to it.
    discardable: bool,
    temporal_id: u8,
}

impl Inspector {
    /// An inspector for one source of that codec.
    pub fn for_codec(codec: Codec) -> Self {
        Self { codec, frames: [None; RECENT_FRAMES], oldest: 0, top_layer: 0 }
    }

    /// Looks at the next packet. `timestamp` is its RTP timestamp, unwrapped
    /// ([`super::TimestampUnwrapper`]). A packet without payload is padding and starts nothing.
    pub fn inspect(&mut self, timestamp: u64, marker: bool, payload: &[u8]) -> Flags {
        if payload.is_empty() {
            return Flags::default();
        }
        match self.codec {
            Codec::H264 => self.follow(timestamp, marker, h264::contents(payload)),
            Codec::H265 => self.follow(timestamp, marker, h265::contents(payload)),
            Codec::Av1 => self.follow(timestamp, marker, av1::contents(payload)),
            Codec::Vp8 => inspect_vp8(payload),
            Codec::Vp9 => inspect_vp9(payload),
            Codec::Opus | Codec::Aac => {
                Flags { frame_start: true, starts_keyframe: true, discardable: false, temporal_id: 0 }
            }
        }
    }

    fn follow(&mut self, timestamp: u64, marker: bool, contents: Contents) -> Flags {
        let known = self.frames.iter().position(|frame| frame.is_some_and(|it| it.timestamp == timestamp));
        let place = known.unwrap_or(self.oldest);
        let frame = self.frames[place].get_or_insert(RecentFrame::new(timestamp));
        if known.is_none() {
            *frame = RecentFrame::new(timestamp);
            self.oldest = (self.oldest + 1) % RECENT_FRAMES;
        }
        // What remains of a frame whose beginning was lost does not begin one.
        let frame_start = known.is_none() && contents.begins;
        // A delimiter or SEI by itself may come before the parameter sets.
        let starts_keyframe = contents.keyframe && contents.begins && !frame.keyframe_told;
        frame.keyframe_told |= starts_keyframe;
        if let Some(picture) = contents.picture {
            self.top_layer = self.top_layer.max(picture.temporal_id);
            // A picture of a lower layer, one of a higher layer may refer to all the same.
            frame.discardable = picture.discardable && picture.temporal_id == self.top_layer;
            frame.temporal_id = picture.temporal_id;
        }
        let RecentFrame { discardable, temporal_id, .. } = *frame;
        if marker && contents.keyframe {
            // The frame is over; what follows with this timestamp is late.
            frame.keyframe_told = true;
        }
        Flags { frame_start, starts_keyframe, discardable, temporal_id }
    }
}

impl RecentFrame {
    const fn new(timestamp: u64) -> Self {
        Self { timestamp, keyframe_told: false, discardable: false, temporal_id: 0 }
    }
}

fn inspect_vp8(payload: &[u8]) -> Flags {
    let Some(descriptor) = vp8::Descriptor::parse(payload) else { return Flags::default() };
    let frame_start = descriptor.starts_frame();
    // RFC 7741 section 4.3: the P bit of the payload header is 0 for keyframes.
    let keyframe = payload.get(descriptor.length).is_some_and(|header| header & 1 == 0);
    Flags {
        frame_start,
        starts_keyframe: frame_start && keyframe,
        discardable: descriptor.discardable,
        temporal_id: descriptor.temporal_id,
    }
}

fn inspect_vp9(payload: &[u8]) -> Flags {
    let Some(descriptor) = vp9::Descriptor::parse(payload) else { return Flags::default() };
    let frame_start = descriptor.starts_picture();
    // Some senders leave P at 0 always (ffmpeg); the frame itself does not lie.
    let keyframe = frame_start
        && !descriptor.inter_picture
        && matches!(FrameHeader::parse(&payload[descriptor.length..]), Some(FrameHeader::Key(_)));
    Flags { frame_start, starts_keyframe: keyframe, discardable: false, temporal_id: descriptor.temporal_id }
}
