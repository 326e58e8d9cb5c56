//! The sequence parameter set, as far as we want to know it (ITU-T H.265 section 7.3.2.2).

use std::fmt::Write as _;

use crate::Error;
use crate::bits::Bits;
use crate::h264::{Chroma, unescape};

use super::{NalHeader, PARAMETER_SET_BYTES_MAX, unit_type};

/// Bytes that are read: all fields up to the reordering of the highest sub-layer have fewer than 200.
const FRONT_BYTES: usize = 256;
/// `sps_max_sub_layers_minus1` is at most 6.
const SUB_LAYERS_MAX: u32 = 7;
/// Largest width or height: level 6.2 ends at 16,888 (annex A.4.1).
const SIDE_MAX: u32 = 16_888;

/// Profile, tier and level of a stream (section 7.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileTierLevel {
    /// `general_profile_space`: 0.
    pub space: u8,
    /// `general_tier_flag`: the bit rates of broadcasters.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 main, 2 main 10, 4 range extensions.
    pub idc: u8,
    /// `general_profile_compatibility_flag[0]` to `[31]`, the first in the highest bit.
    pub compatibility: u32,
    /// The six bytes of constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`: thirty times the level.
    pub level_idc: u8,
}

impl ProfileTierLevel {
    /// `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 annex E).
    pub fn rfc6381(&self) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.space & 3)];
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", self.idc, self.level_idc);
        // Zero bytes at the end are left out.
        let length = self.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in &self.constraints[..length] {
            // Writing to a String cannot fail.
            let _ = write!(text, ".{byte:X}");
        }
        text
    }
}

/// What we want to know from a sequence parameter set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sps {
    /// `sps_seq_parameter_set_id`.
    pub id: u8,
    /// `sps_video_parameter_set_id`.
    pub vps_id: u8,
    /// Temporal sub-layers at most, from 1.
    pub sub_layers: u8,
    /// Who can decode it.
    pub profile: ProfileTierLevel,
    /// Cropped width in pixels.
    pub width: u32,
    /// Cropped height in pixels.
    pub height: u32,
    /// How colour is sampled.
    pub chroma: Chroma,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// `sps_max_num_reorder_pics` of the highest sub-layer: how many pictures may precede one in decoding
    /// order and follow it in output order.
    pub reorder_frames: u8,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "H.265 SPS", why };

impl Sps {
    /// Reads an SPS NAL unit (with its header, without start code).
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no SPS or breaks its syntax.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        let Some((header, payload)) = NalHeader::split(nal) else { return Err(BROKEN("cut off")) };
        if header.unit_type() != unit_type::SPS {
            return Err(BROKEN("not a sequence parameter set"));
        }
        if nal.len() > PARAMETER_SET_BYTES_MAX {
            return Err(BROKEN("too long"));
        }
        let mut front = [0; FRONT_BYTES];
        let length = unescape(payload, &mut front);
        Self::read(&mut Bits::new(&front[..length])).ok_or(BROKEN("bad syntax"))
    }

    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let vps_id = bits.take(4)? as u8;
        let sub_layers = bits.take(3)? + 1;
        if sub_layers > SUB_LAYERS_MAX {
            return None;
        }
        // sps_temporal_id_nesting_flag
        bits.take(1)?;
        let profile = profile_tier_level(bits, sub_layers)?;
        let id = bits.unsigned_exp_golomb().filter(|id| *id < 16)? as u8;
        let chroma = match bits.unsigned_exp_golomb()? {
            0 => Chroma::Monochrome,
            1 => Chroma::Yuv420,
            2 => Chroma::Yuv422,
            // separate_colour_plane_flag
            3 => bits.take(1).map(|_| Chroma::Yuv444)?,
            _ => return None,
        };
        let (width, height) = size(bits, chroma)?;
        let mut depth =
            || bits.unsigned_exp_golomb().filter(|above| *above <= 8).map(|above| 8 + above as u8);
        let (bit_depth_luma, bit_depth_chroma) = (depth()?, depth()?);
        // log2_max_pic_order_cnt_lsb_minus4
        bits.unsigned_exp_golomb().filter(|log| *log <= 12)?;
        // Without sub_layer_ordering_info_present_flag only the highest is told.
        let told = if bits.flag()? { sub_layers } else { 1 };
        let mut reorder_frames = 0;
        for _ in 0..told {
            // sps_max_dec_pic_buffering_minus1, sps_max_num_reorder_pics, sps_max_latency_increase_plus1
            bits.unsigned_exp_golomb()?;
            reorder_frames = bits.unsigned_exp_golomb().filter(|frames| *frames <= 16)? as u8;
            bits.unsigned_exp_golomb()?;
        }
        Some(Self {
            id,
            vps_id,
            sub_layers: sub_layers as u8,
            profile,
            width,
            height,
            chroma,
            bit_depth_luma,
            bit_depth_chroma,
            reorder_frames,
        })
    }
}

fn profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<ProfileTierLevel> {
    let (space, high_tier, idc) = (bits.take(2)? as u8, bits.flag()?, bits.take(5)? as u8);
    let compatibility = bits.take(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.take(8)? as u8;
    }
    let level_idc = bits.take(8)? as u8;
    let mut present = [(false, false); SUB_LAYERS_MAX as usize];
    let lower = sub_layers as usize - 1;
    for flags in &mut present[..lower] {
        *flags = (bits.flag()?, bits.flag()?);
    }
    if lower > 0 {
        bits.take(2 * (8 - lower as u32))?;
    }
    for (profile, level) in &present[..lower] {
        // 88 bits of profile, 8 of level.
        let skipped = if *profile { 11 } else { 0 } + u32::from(*level);
        for _ in 0..skipped {
            bits.take(8)?;
        }
    }
    Some(ProfileTierLevel { space, high_tier, idc, compatibility, constraints, level_idc })
}

/// Size and conformance window.
fn size(bits: &mut Bits<'_>, chroma: Chroma) -> Option<(u32, u32)> {
    let mut side = || bits.unsigned_exp_golomb().filter(|side| (1..=SIDE_MAX).contains(side));
    let (width, height) = (side()?, side()?);
    if !bits.flag()? {
        return Some((width, height));
    }
    // Offsets count chroma samples (table 6-1).
    let (unit_x, unit_y) = match chroma {
        Chroma::Yuv420 => (2, 2),
        Chroma::Yuv422 => (2, 1),
        Chroma::Monochrome | Chroma::Yuv444 => (1, 1),
    };
    let mut offset = || bits.unsigned_exp_golomb().filter(|offset| *offset < SIDE_MAX);
    let (left, right, top, bottom) = (offset()?, offset()?, offset()?, offset()?);
    let width = width.checked_sub(unit_x * (left + right)).filter(|width| *width > 0)?;
    let height = height.checked_sub(unit_y * (top + bottom)).filter(|height| *height > 0)?;
    Some((width, height))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bits::tests::unhex;

    pub(crate) const MAIN: &str =
        "42010101600000030090000003000003003ca00a080c1f3e5ba4a4c2f0168080000003008000000c84";
    const MAIN_10: &str =
        "420101022000000300900000030000030078a003c08010e4d96566924caf016808000003000800000300f040";
    const TWO_SUB_LAYERS: &str =
        "42010201600000030090000003000003003f0000a005020171f2e5ba22494985e02d010000030001000003001e08";
    const KVAZAAR: &str =
        "4201020160000003008000000300000300ba0000a0050201696c100864932ac04040000003004000000782";

    /// What x265 and Kvazaar wrote for known settings.
    #[test]
    fn reads_what_encoders_write() {
        for (hex, size, depth, sub_layers, reorder_frames, codecs) in [
            (MAIN, (320, 180), 8, 1, 0, "hvc1.1.6.L60.90"),
            (MAIN_10, (1920, 1080), 10, 1, 2, "hvc1.2.4.L120.90"),
            (TWO_SUB_LAYERS, (640, 360), 8, 2, 1, "hvc1.1.6.L63.90"),
            (KVAZAAR, (640, 360), 8, 2, 15, "hvc1.1.6.L186.80"),
        ] {
            let sps = Sps::parse(&unhex(hex)).expect(hex);
            assert_eq!((sps.width, sps.height), size, "{hex}");
            assert_eq!(
                (sps.bit_depth_luma, sps.bit_depth_chroma, sps.chroma),
                (depth, depth, Chroma::Yuv420)
            );
            assert_eq!((sps.sub_layers, sps.reorder_frames), (sub_layers, reorder_frames), "{hex}");
            assert_eq!(sps.profile.rfc6381(), codecs, "{hex}");
        }
    }

    #[test]
    fn codec_strings_follow_the_standard() {
        let profile = ProfileTierLevel {
            space: 0,
            high_tier: false,
            idc: 1,
            compatibility: 0x6000_0000,
            constraints: [0xb0, 0, 0, 0, 0, 0],
            level_idc: 93,
        };
        assert_eq!(profile.rfc6381(), "hvc1.1.6.L93.B0");
        let other = ProfileTierLevel { space: 1, high_tier: true, constraints: [0; 6], ..profile };
        assert_eq!(other.rfc6381(), "hvc1.A1.6.H93");
    }

    #[test]
    fn refuses_what_is_no_sps() {
        let whole = unhex(MAIN);
        for length in 0..24 {
            assert!(Sps::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Sps::parse(&[0x44, 0x01, 1, 2]).is_err());
        assert!(Sps::parse(&[0x42; PARAMETER_SET_BYTES_MAX + 1]).is_err());
    }
}
