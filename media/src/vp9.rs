//! VP9 (VP9 Bitstream & Decoding Process Specification): passed through; we need to know keyframes, what they
//! say about the stream, and how several frames are joined to one.

use bytes::{BufMut, BytesMut};

use crate::bits::Bits;

/// What a VP9 stream says about itself: the keyframe's uncompressed header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// 0 (8 bits, 4:2:0), 1 (other sampling), 2 (10 or 12 bits, 4:2:0) or 3.
    pub profile: u8,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    /// `color_space` (section 7.2.2): 0 unknown, 1 BT.601, 2 BT.709, 5 BT.2020, 7 RGB, ...
    pub color_space: u8,
    /// Samples use all values, from 0 on.
    pub full_range: bool,
    /// Chroma is halved horizontally.
    pub subsampling_x: bool,
    /// Chroma is halved vertically.
    pub subsampling_y: bool,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Largest luma picture of each level (annex A), with ten times the level. The frame rate, which the limits
/// depend on too, is nowhere in the stream.
const LEVELS: [(u64, u8); 8] = [
    (36_864, 10),
    (73_728, 11),
    (122_880, 20),
    (245_760, 21),
    (552_960, 30),
    (983_040, 31),
    (2_228_224, 40),
    (8_912_896, 50),
];

impl Config {
    /// Ten times the level that the size of the picture needs.
    pub fn level(&self) -> u8 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        LEVELS.iter().find(|(most, _)| pixels <= *most).map_or(60, |(_, level)| *level)
    }

    /// `vp09.PP.LL.DD` (VP9 Codec ISO Media File Format Binding, section "Codecs Parameter String").
    pub fn rfc6381(&self) -> String {
        format!("vp09.{:02}.{:02}.{:02}", self.profile, self.level(), self.bit_depth)
    }
}

/// What the first bits of a frame say (section 6.2, `uncompressed_header`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FrameHeader {
    /// A decoder can start here. `None`: the frame is cut off in its header.
    Key(Option<Config>),
    /// Needs other frames.
    Inter,
}

impl FrameHeader {
    /// Reads the first bytes of a frame: 1, and about 12 to know the configuration. `None` if it is no VP9.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(frame);
        if bits.take(2)? != 2 {
            return None;
        }
        let profile = bits.take(1)? | bits.take(1)? << 1;
        if profile == 3 && bits.take(1)? != 0 {
            return None;
        }
        // show_existing_frame, frame_type
        if bits.take(1)? == 1 || bits.take(1)? == 1 {
            return Some(Self::Inter);
        }
        // show_frame, error_resilient_mode, frame_sync_code
        let Some(code) = bits.take(2).and_then(|_| bits.take(24)) else { return Some(Self::Key(None)) };
        if code != SYNC_CODE {
            return None;
        }
        Some(Self::Key(config(bits, profile)))
    }
}

const SYNC_CODE: u32 = 0x49_83_42;
/// `CS_RGB`.
const RGB: u32 = 7;

/// `color_config` and `frame_size`.
fn config(mut bits: Bits<'_>, profile: u32) -> Option<Config> {
    let bit_depth = match profile {
        2 | 3 => 10 + 2 * bits.take(1)?,
        _ => 8,
    };
    let color_space = bits.take(3)?;
    let full_range = color_space == RGB || bits.take(1)? == 1;
    let (subsampling_x, subsampling_y) = match (profile, color_space) {
        (1 | 3, RGB) => {
            bits.take(1)?;
            (false, false)
        }
        (1 | 3, _) => {
            let sampling = (bits.take(1)? == 1, bits.take(1)? == 1);
            bits.take(1)?;
            sampling
        }
        _ => (true, true),
    };
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some(Config {
        profile: profile as u8,
        bit_depth: bit_depth as u8,
        color_space: color_space as u8,
        full_range,
        subsampling_x,
        subsampling_y,
        width,
        height,
    })
}

/// Most frames of a superframe: its index counts them with three bits.
pub(crate) const SUPERFRAME_FRAMES_MAX: usize = 8;

/// Appends the index (annex B) that makes one superframe of the frames in `data`, whose sizes are given.
pub(crate) fn write_superframe_index(sizes: &[usize], data: &mut BytesMut) {
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let bytes = (usize::BITS - largest.leading_zeros()).div_ceil(8).clamp(1, 4) as usize;
    let marker = 0b1100_0000 | ((bytes - 1) << 3 | (sizes.len() - 1)) as u8;
    data.put_u8(marker);
    for size in sizes {
        data.put_slice(&(*size as u32).to_le_bytes()[..bytes]);
    }
    data.put_u8(marker);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bits::tests::unhex;

    /// The first bytes of a 320x180 keyframe by libvpx, of profile 0 and of profile 2 with 10 bits, and of an
    /// inter frame.
    pub(crate) const KEY_8_BIT: &str = "824983420013f00b360638241c184200";
    const KEY_10_BIT: &str = "924983420009f8059b031c120e0c2900";
    const INTER: &str = "86004092f0a1250001047fbc5b634cfc";

    #[test]
    fn reads_what_libvpx_writes() {
        for (hex, profile, bit_depth, codecs) in
            [(KEY_8_BIT, 0, 8, "vp09.00.11.08"), (KEY_10_BIT, 2, 10, "vp09.02.11.10")]
        {
            let Some(FrameHeader::Key(Some(config))) = FrameHeader::parse(&unhex(hex)) else {
                panic!("{hex} is a keyframe")
            };
            assert_eq!((config.profile, config.bit_depth), (profile, bit_depth), "{hex}");
            assert_eq!((config.width, config.height), (320, 180), "{hex}");
            assert!(config.subsampling_x && config.subsampling_y && !config.full_range);
            assert_eq!(config.rfc6381(), codecs);
        }
        assert_eq!(FrameHeader::parse(&unhex(INTER)), Some(FrameHeader::Inter));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_said() {
        let key = unhex(KEY_8_BIT);
        for length in 1..9 {
            assert_eq!(FrameHeader::parse(&key[..length]), Some(FrameHeader::Key(None)), "{length}");
        }
        for bad in [&[][..], &[0x00], &[0xc2], &[0x82, 0x49, 0x83, 0x43, 0]] {
            assert_eq!(FrameHeader::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn levels_follow_the_size() {
        let config = |width, height| Config {
            profile: 0,
            bit_depth: 8,
            color_space: 2,
            full_range: false,
            subsampling_x: true,
            subsampling_y: true,
            width,
            height,
        };
        for (width, height, level) in [
            (1, 1, 10),
            (640, 360, 21),
            (1280, 720, 31),
            (1920, 1080, 40),
            (3840, 2160, 50),
            (7680, 4320, 60),
        ] {
            assert_eq!(config(width, height).level(), level, "{width}x{height}");
        }
    }

    #[test]
    fn a_superframe_names_the_sizes_of_its_frames() {
        let mut data = BytesMut::from(&[1u8; 0x201][..]);
        write_superframe_index(&[0x200, 1], &mut data);
        assert_eq!(data[0x201..], [0b1100_1001, 0x00, 0x02, 0x01, 0x00, 0b1100_1001]);
    }
}
