//! The sequence parameter set: what the encoder says about the whole sequence.

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitReader, decode_nal};

use crate::Error;

use super::nal::{NalHeader, unit_type, without_trailing_zeros};

/// Longest parameter set that we read. Real ones have 10 to 100 bytes; with all scaling lists and HRD
/// parameters under 1000. A longer one is refused as malformed.
pub const PARAMETER_SET_BYTES_MAX: usize = 2048;

/// How colour is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chroma {
    /// No colour.
    Monochrome,
    /// 4:2:0, the only one that every decoder knows.
    Yuv420,
    /// 4:2:2: no browser decodes it.
    Yuv422,
    /// 4:4:4: no browser decodes it in hardware, few at all.
    Yuv444,
}

impl Chroma {
    /// `chroma_format_idc`.
    pub const fn idc(self) -> u8 {
        match self {
            Self::Monochrome => 0,
            Self::Yuv420 => 1,
            Self::Yuv422 => 2,
            Self::Yuv444 => 3,
        }
    }
}

/// What we want to know from a sequence parameter set.
#[derive(Clone, PartialEq, Debug)]
pub struct Sps {
    /// `seq_parameter_set_id`.
    pub id: u8,
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile_idc: u8,
    /// The byte of `constraint_set` flags.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level_idc: u8,
    /// Cropped width in pixels.
    pub width: u32,
    /// Cropped height in pixels.
    pub height: u32,
    /// Frames per second, if the VUI has timing and says that it is fixed.
    pub frame_rate: Option<f64>,
    /// Frames per second that the VUI names, fixed or not. ffmpeg's x264 does not promise a fixed rate.
    pub nominal_frame_rate: Option<f64>,
    /// How many frames may precede one in decoding order and follow it in output order: what the VUI
    /// says, or 0 where profile or picture order count exclude reordering. `None` if it is left open.
    pub reorder_frames: Option<u32>,
    /// Fields may be coded (`frame_mbs_only_flag` is 0): WebRTC and most players show it badly.
    pub interlaced: bool,
    /// How colour is sampled.
    pub chroma: Chroma,
    /// Bits per luma sample: 8 unless a High 10 profile.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "H.264 SPS", why };

impl Sps {
    /// Reads an SPS NAL unit (with its header byte, without start code).
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no SPS or breaks its syntax.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        let nal = without_trailing_zeros(nal);
        if NalHeader::of(nal).map(NalHeader::unit_type) != Some(unit_type::SPS) {
            return Err(BROKEN("not a sequence parameter set"));
        }
        if nal.len() > PARAMETER_SET_BYTES_MAX {
            return Err(BROKEN("too long"));
        }
        let mut rbsp = decode_nal(nal).map_err(|_| BROKEN("bad emulation prevention"))?.into_owned();
        let &[profile_idc, constraints, level_idc, ..] = &rbsp[..] else {
            return Err(BROKEN("cut off"));
        };
        // The reader refuses pictures larger than the level allows. Encoders in the field announce levels
        // that are too low, and decoders do not care; so it reads every SPS as level 6.2.
        rbsp[2] = 62;
        let sps = SeqParameterSet::from_bits(BitReader::new(&rbsp[..])).map_err(|_| BROKEN("bad syntax"))?;
        let (width, height) = sps.pixel_dimensions().map_err(|_| BROKEN("cropping leaves no picture"))?;
        if width == 0 || height == 0 {
            return Err(BROKEN("cropping leaves no picture"));
        }
        let chroma = match sps.chroma_info.chroma_format {
            ChromaFormat::Monochrome => Chroma::Monochrome,
            ChromaFormat::YUV420 => Chroma::Yuv420,
            ChromaFormat::YUV422 => Chroma::Yuv422,
            ChromaFormat::YUV444 => Chroma::Yuv444,
            ChromaFormat::Invalid(_) => return Err(BROKEN("bad chroma format")),
        };
        Ok(Self {
            id: sps.seq_parameter_set_id.id(),
            profile_idc,
            constraints,
            level_idc,
            width,
            height,
            frame_rate: frame_rate(&sps, true),
            nominal_frame_rate: frame_rate(&sps, false),
            reorder_frames: reorder_frames(&sps, profile_idc, constraints),
            interlaced: matches!(sps.frame_mbs_flags, FrameMbsFlags::Fields { .. }),
            chroma,
            bit_depth_luma: sps.chroma_info.bit_depth_luma_minus8.saturating_add(8),
            bit_depth_chroma: sps.chroma_info.bit_depth_chroma_minus8.saturating_add(8),
        })
    }

    /// `avc1.PPCCLL`.
    pub fn rfc6381(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile_idc, self.constraints, self.level_idc)
    }
}

fn frame_rate(sps: &SeqParameterSet, fixed: bool) -> Option<f64> {
    let timing = sps.vui_parameters.as_ref()?.timing_info.as_ref()?;
    let rate = f64::from(timing.time_scale) / (2.0 * f64::from(timing.num_units_in_tick));
    // Beyond it the encoder wrote something else there (a 90 kHz clock is common).
    ((timing.fixed_frame_rate_flag || !fixed) && (1.0..=300.0).contains(&rate)).then_some(rate)
}

fn reorder_frames(sps: &SeqParameterSet, profile_idc: u8, constraints: u8) -> Option<u32> {
    // Table A.2.1: baseline has no B slices. Section 8.2.1.3: with type 2, output order is decoding order.
    if profile_idc == 66 || matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo) {
        return Some(0);
    }
    let vui = sps.vui_parameters.as_ref();
    if let Some(restrictions) = vui.and_then(|vui| vui.bitstream_restrictions.as_ref()) {
        return Some(restrictions.max_num_reorder_frames);
    }
    // Section E.2.1: with constraint_set3_flag these are the intra-only profiles.
    let intra_only = constraints & 0x10 != 0 && matches!(profile_idc, 44 | 86 | 100 | 110 | 122 | 244);
    (intra_only || sps.max_num_ref_frames == 0).then_some(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use crate::bits::tests::unhex;

    pub(crate) const BASELINE: &str = "6742c00ad90426c044000003000400000300c83c489920";
    pub(crate) const HIGH_720P: &str = "6764001facd9405005bb0110000003001000000303c0f1831960";
    const MAIN_1080P60: &str = "674d402ad900780227e5c044000003000400000301e23c60c920";
    const HIGH422: &str = "677a000cbcd941419f8dc044000003000400000300c83c50a658";
    const INTERLACED: &str = "6764001eacd940b424d8088000000300800000190f8a14cb";
    const ONE_B_FRAME: &str = "6764000aace4109b011000000300100000030320f1225120";

    /// What x264 wrote for known settings.
    #[test]
    fn reads_what_x264_writes() {
        for (hex, size, rate, reorder, profile, interlaced, chroma) in [
            (BASELINE, (64, 64), Some(25.0), Some(0), 66, false, Chroma::Yuv420),
            (HIGH_720P, (1280, 720), Some(30.0), Some(2), 100, false, Chroma::Yuv420),
            (MAIN_1080P60, (1920, 1080), Some(60.0), Some(0), 77, false, Chroma::Yuv420),
            (HIGH422, (320, 180), Some(25.0), Some(2), 122, false, Chroma::Yuv422),
            (INTERLACED, (720, 576), Some(25.0), Some(2), 100, true, Chroma::Yuv420),
            (ONE_B_FRAME, (64, 64), Some(25.0), Some(1), 100, false, Chroma::Yuv420),
        ] {
            let sps = Sps::parse(&unhex(hex)).expect(hex);
            assert_eq!((sps.width, sps.height), size, "{hex}");
            assert_eq!(sps.nominal_frame_rate, rate, "{hex}");
            assert_eq!(sps.reorder_frames, reorder, "{hex}");
            assert_eq!((sps.profile_idc, sps.interlaced, sps.chroma), (profile, interlaced, chroma), "{hex}");
        }
    }

    #[test]
    fn only_a_promised_rate_is_a_rate() {
        let sps = |hex| Sps::parse(&unhex(hex)).expect(hex);
        assert_eq!(sps("6764000aacd94426c044000003000400000300ca3c489658").frame_rate, Some(25.0));
        assert_eq!(sps(BASELINE).frame_rate, None);
    }

    #[test]
    fn a_level_that_is_too_low_is_no_error() {
        let mut nal = unhex(MAIN_1080P60);
        nal[3] = 10;
        let sps = Sps::parse(&nal).expect("still an SPS");
        assert_eq!((sps.level_idc, sps.width), (10, 1920));
    }

    #[test]
    fn refuses_what_is_no_sps() {
        for bad in [&[][..], &[0x67], &[0x68, 1, 2, 3], &[0x67, 0, 0, 0], &[0x67, 66, 0, 30]] {
            assert!(Sps::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Sps::parse(&[0x67; PARAMETER_SET_BYTES_MAX + 1]).is_err());
    }
}
