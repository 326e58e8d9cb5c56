//! What a forwarder must know about a payload that it does not open.

use crate::h264::{NalHeader, SliceHeader, Sps, unit_type};
use crate::rtp::vp8::Descriptor;
use crate::{Codec, vp8};

/// Properties of one packet, from its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// First packet of a frame.
    pub frame_start: bool,
    /// First packet of a keyframe.
    pub starts_keyframe: bool,
    /// The frame is no reference.
    pub discardable: bool,
    /// Temporal layer.
    pub temporal_id: u8,
}

/// Looks into the payloads of one source (SSRC), in the order in which they arrive.
#[derive(Debug)]
pub struct Inspector {
    codec: Codec,
    /// H.264 has no mark of a frame's beginning, so the newest timestamps are remembered: several, because
    /// a late packet of the frame before must not make the current one begin anew.
    frames: [Option<RecentFrame>; RECENT_FRAMES],
    oldest: usize,
}

/// Packets later than this many frames are rarer than repeated timestamps are harmful.
const RECENT_FRAMES: usize = 4;

#[derive(Clone, Copy, Debug)]
struct RecentFrame {
    timestamp: u64,
    /// A packet of it that a viewer can start with was told already.
    keyframe_told: bool,
    discardable: bool,
}

impl Inspector {
    /// An inspector for one source of that codec.
    pub fn for_codec(codec: Codec) -> Self {
        Self { codec, frames: [None; RECENT_FRAMES], oldest: 0 }
    }

    /// Looks at the next packet. `timestamp` is its RTP timestamp, unwrapped
    /// ([`super::TimestampUnwrapper`]). A packet without payload is padding and starts nothing.
    pub fn inspect(&mut self, timestamp: u64, marker: bool, payload: &[u8]) -> Flags {
        if payload.is_empty() {
            return Flags::default();
        }
        match self.codec {
            Codec::H264 => self.inspect_h264(timestamp, marker, payload),
            Codec::Vp8 => inspect_vp8(payload),
            Codec::Opus | Codec::Aac => {
                Flags { frame_start: true, starts_keyframe: true, discardable: false, temporal_id: 0 }
            }
        }
    }

    fn inspect_h264(&mut self, timestamp: u64, marker: bool, payload: &[u8]) -> Flags {
        let contents = Contents::of(payload);
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
        if let Some(ref_idc) = contents.slice_ref_idc {
            frame.discardable = ref_idc == 0;
        }
        let flags = Flags { frame_start, starts_keyframe, discardable: frame.discardable, temporal_id: 0 };
        if marker && contents.keyframe {
            // The frame is over; what follows with this timestamp is late.
            frame.keyframe_told = true;
        }
        flags
    }
}

impl RecentFrame {
    const fn new(timestamp: u64) -> Self {
        Self { timestamp, keyframe_told: false, discardable: false }
    }
}

/// What the NAL units of one H.264 payload say.
#[derive(Default)]
struct Contents {
    /// It holds a parameter set or a slice of an IDR picture (of a fragmented one: its first fragment).
    keyframe: bool,
    /// An access unit can begin with it: no middle of a fragmented unit, no later slice of a picture.
    begins: bool,
    /// `nal_ref_idc` of the slice in it.
    slice_ref_idc: Option<u8>,
}

impl Contents {
    fn of(payload: &[u8]) -> Self {
        let mut contents = Self { begins: true, ..Self::default() };
        match payload {
            [indicator, fu_header, fragment @ ..] if indicator & 0x1f == unit_type::FU_A => {
                let header = NalHeader::from_byte(indicator & 0xe0 | fu_header & 0x1f);
                if fu_header & 0x80 == 0 {
                    contents.begins = false;
                    contents.slice_ref_idc = header.is_slice().then_some(header.ref_idc());
                } else {
                    contents.add(header, fragment);
                }
            }
            [first, rest @ ..] if first & 0x1f == unit_type::STAP_A => {
                let mut rest = rest;
                let mut first_unit = true;
                while let Some((&size, after)) = rest.split_first_chunk() {
                    let size = usize::from(u16::from_be_bytes(size));
                    let Some((nal, after)) = after.split_at_checked(size) else { break };
                    rest = after;
                    let Some((&header, body)) = nal.split_first() else { continue };
                    let begins = contents.begins;
                    contents.add(NalHeader::from_byte(header), body);
                    // What an aggregate begins with, its first unit says.
                    contents.begins = if first_unit { contents.begins } else { begins };
                    first_unit = false;
                }
            }
            [first, body @ ..] => contents.add(NalHeader::from_byte(*first), body),
            [] => {}
        }
        contents
    }

    fn add(&mut self, header: NalHeader, body: &[u8]) {
        self.keyframe |= matches!(header.unit_type(), unit_type::IDR | unit_type::SPS);
        if header.is_slice() {
            self.slice_ref_idc = Some(header.ref_idc());
            self.begins = SliceHeader::parse_payload(body).is_none_or(|slice| slice.first_macroblock == 0);
        }
    }
}

fn inspect_vp8(payload: &[u8]) -> Flags {
    let Some(descriptor) = Descriptor::parse(payload) else { return Flags::default() };
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

/// The sequence parameter set that a packet begins with, if it does.
pub fn first_sps(codec: Codec, payload: &[u8]) -> Option<Sps> {
    if codec != Codec::H264 {
        return None;
    }
    let nal = match payload {
        [first, rest @ ..] if first & 0x1f == unit_type::STAP_A => {
            let (&size, rest) = rest.split_first_chunk()?;
            rest.get(..usize::from(u16::from_be_bytes(size)))?
        }
        nal => nal,
    };
    Sps::parse(nal).ok()
}

/// Width and height in pixels that the first packet of a keyframe tells, if it does.
pub fn keyframe_size(codec: Codec, payload: &[u8]) -> Option<(u32, u32)> {
    match codec {
        Codec::H264 => first_sps(codec, payload).map(|sps| (sps.width, sps.height)),
        Codec::Vp8 => {
            let descriptor = Descriptor::parse(payload)?;
            vp8::FrameTag::parse(payload.get(descriptor.length..)?)?.size
        }
        Codec::Opus | Codec::Aac => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::tests::unhex;
    use crate::h264::sps_for_tests::BASELINE;

    const SLICE: u8 = 0b1001_1010;
    /// first_mb_in_slice = 9
    const LATER_SLICE: u8 = 0b0001_0100;

    #[test]
    fn h264_frames_begin_where_they_begin() {
        let mut inspector = Inspector::for_codec(Codec::H264);
        for (what, timestamp, payload, start, keyframe, discardable) in [
            ("parameter sets", 0, &[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 1][..], true, true, false),
            ("IDR start", 0, &[0x7c, 0x85, SLICE], false, false, false),
            ("IDR end", 0, &[0x7c, 0x45, 9], false, false, false),
            ("P", 3000, &[0x41, SLICE], true, false, false),
            ("P, second slice", 3000, &[0x41, LATER_SLICE], false, false, false),
            ("B, fragmented", 6000, &[0x1c, 0x81, SLICE], true, false, true),
            ("B, its middle", 6000, &[0x1c, 0x01, SLICE], false, false, true),
            ("late end of the IDR", 0, &[0x7c, 0x45, 9], false, false, false),
            ("late start of it", 0, &[0x7c, 0x85, SLICE], false, false, false),
            ("B, its end", 6000, &[0x1c, 0x41, SLICE], false, false, true),
            ("padding", 0, &[], false, false, false),
            ("IDR without parameter sets", 9000, &[0x65, SLICE], true, true, false),
            ("its second slice", 9000, &[0x65, LATER_SLICE], false, false, false),
            ("middle whose beginning is lost", 12_000, &[0x5c, 0x01, 1], false, false, false),
            ("delimiter", 15_000, &[0x09, 0x10], true, false, false),
            ("SPS behind it", 15_000, &[0x67, 0x42], false, true, false),
            ("PPS", 15_000, &[0x68, 0x42], false, false, false),
        ] {
            let flags = inspector.inspect(timestamp, false, payload);
            let expected =
                Flags { frame_start: start, starts_keyframe: keyframe, discardable, temporal_id: 0 };
            assert_eq!(flags, expected, "{what}");
        }
    }

    #[test]
    fn vp8_says_it_in_its_descriptor() {
        let mut inspector = Inspector::for_codec(Codec::Vp8);
        for (payload, frame_start, starts_keyframe, discardable, temporal_id) in [
            (&[0x10, 0x00][..], true, true, false, 0),
            (&[0x10, 0x01], true, false, false, 0),
            (&[0x00, 0x00], false, false, false, 0),
            (&[0x11, 0x00], false, false, false, 0),
            (&[0xb0, 0x20, 0x80, 0x01], true, false, true, 2),
        ] {
            let flags = inspector.inspect(0, false, payload);
            assert_eq!(
                flags,
                Flags { frame_start, starts_keyframe, discardable, temporal_id },
                "{payload:?}"
            );
        }
    }

    #[test]
    fn keyframes_tell_their_size() {
        let sps = unhex(BASELINE);
        let stap = [&[0x78, 0, sps.len() as u8][..], &sps, &[0, 2, 0x68, 1]].concat();
        assert_eq!(keyframe_size(Codec::H264, &stap), Some((64, 64)));
        assert_eq!(keyframe_size(Codec::H264, &sps), Some((64, 64)));
        assert_eq!(keyframe_size(Codec::H264, &[0x65, 1]), None);
        let vp8 = [0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
        assert_eq!(keyframe_size(Codec::Vp8, &vp8), Some((640, 360)));
    }
}
