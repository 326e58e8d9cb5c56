//! The sequence header (section 5.5).

use crate::bits::Bits;

/// What the sequence header says, as far as containers and SDP want to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceHeader {
    /// `seq_profile`: 0 main, 1 high, 2 professional.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point: 0 is level 2.0, 5 is 3.1, 8 is 4.0.
    pub level_index: u8,
    /// `seq_tier` of the first operating point.
    pub high_tier: bool,
    /// Pixels at most.
    pub width: u32,
    /// Pixels at most.
    pub height: u32,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    /// No chroma.
    pub monochrome: bool,
    /// Chroma is halved horizontally.
    pub subsampling_x: bool,
    /// Chroma is halved vertically.
    pub subsampling_y: bool,
    /// `chroma_sample_position`: 0 unknown, 1 vertical, 2 colocated.
    pub chroma_position: u8,
    /// Samples use all values, from 0 on.
    pub full_range: bool,
    /// Colour primaries, transfer and matrix (ITU-T H.273), if it describes them.
    pub color: Option<(u8, u8, u8)>,
}

/// `OperatingPoint` without levels: a still picture's reduced header has one.
#[derive(Clone, Copy, Default)]
struct OperatingPoint {
    level_index: u8,
    high_tier: bool,
}

impl SequenceHeader {
    /// Reads the payload of a sequence header OBU; `None` if it is cut off or breaks the syntax.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(payload);
        let profile = bits.take(3)?;
        if profile > 2 {
            return None;
        }
        // still_picture
        bits.take(1)?;
        let reduced = bits.flag()?;
        let point = match reduced {
            true => OperatingPoint { level_index: bits.take(5)? as u8, high_tier: false },
            false => operating_points(&mut bits)?,
        };
        let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
        let (width, height) = (bits.take(width_bits)? + 1, bits.take(height_bits)? + 1);
        // frame_id_numbers_present_flag and what it brings
        if !reduced && bits.flag()? {
            bits.take(7)?;
        }
        skip_tools(&mut bits, reduced)?;
        let mut header = Self {
            profile: profile as u8,
            level_index: point.level_index,
            high_tier: point.high_tier,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            full_range: false,
            color: None,
        };
        header.read_color(&mut bits)?;
        Some(header)
    }

    /// `color_config` (section 5.5.2).
    fn read_color(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let high = bits.flag()?;
        self.bit_depth = match (self.profile, high) {
            (2, true) => 10 + 2 * bits.take(1)? as u8,
            (_, true) => 10,
            (_, false) => 8,
        };
        self.monochrome = self.profile != 1 && bits.flag()?;
        if bits.flag()? {
            self.color = Some((bits.take(8)? as u8, bits.take(8)? as u8, bits.take(8)? as u8));
        }
        if self.monochrome {
            self.full_range = bits.flag()?;
            return Some(());
        }
        // BT.709 primaries, sRGB transfer, identity matrix: RGB.
        if self.color == Some((1, 13, 0)) {
            (self.full_range, self.subsampling_x, self.subsampling_y) = (true, false, false);
            return Some(());
        }
        self.full_range = bits.flag()?;
        (self.subsampling_x, self.subsampling_y) = match (self.profile, self.bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_position = bits.take(2)? as u8;
        }
        Some(())
    }
}

/// Timing, decoder model and the list of operating points; the first is the whole stream.
fn operating_points(bits: &mut Bits<'_>) -> Option<OperatingPoint> {
    let mut delay_bits = None;
    if bits.flag()? {
        // num_units_in_display_tick, time_scale
        bits.take(32)?;
        bits.take(32)?;
        if bits.flag()? {
            // num_ticks_per_picture_minus_1 is a uvlc, which is Exp-Golomb.
            bits.unsigned_exp_golomb()?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.take(5)? + 1);
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    let display_delays = bits.flag()?;
    let mut first = None;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        let level_index = bits.take(5)? as u8;
        // seq_tier stands only where levels have tiers.
        let high_tier = level_index > 7 && bits.flag()?;
        first.get_or_insert(OperatingPoint { level_index, high_tier });
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.take(delay_bits)?;
            bits.take(delay_bits)?;
            bits.take(1)?;
        }
        if display_delays && bits.flag()? {
            bits.take(4)?;
        }
    }
    first
}

/// The coding tools between the size and the colours.
fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    bits.take(3)?;
    if !reduced {
        // enable_interintra_compound, enable_masked_compound, enable_warped_motion, enable_dual_filter
        bits.take(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.take(2)?;
        }
        // seq_choose_screen_content_tools, else the choice itself
        let screen_content = bits.flag()? || bits.flag()?;
        // seq_choose_integer_mv, else the choice itself
        if screen_content && !bits.flag()? {
            bits.take(1)?;
        }
        if order_hint {
            bits.take(3)?;
        }
    }
    // enable_superres, enable_cdef, enable_restoration
    bits.take(3).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av1::tests::SEQUENCE_8_BIT;
    use crate::bits::tests::unhex;

    /// By SVT-AV1, 320x180 in 10 bits, and by libaom, 1920x1080 in 4:4:4 with its matrix described.
    const SEQUENCE_10_BIT: &str = "0200000521e7f66257ca02";
    const SEQUENCE_444: &str = "20000042abbfc3776be481010088";

    #[test]
    fn reads_what_encoders_write() {
        let plain = SequenceHeader::parse(&unhex(SEQUENCE_8_BIT)).expect("valid");
        assert_eq!(
            plain,
            SequenceHeader {
                profile: 0,
                level_index: 0,
                high_tier: false,
                width: 320,
                height: 180,
                bit_depth: 8,
                monochrome: false,
                subsampling_x: true,
                subsampling_y: true,
                chroma_position: 0,
                full_range: false,
                color: None,
            }
        );
        let ten = SequenceHeader::parse(&unhex(SEQUENCE_10_BIT)).expect("valid");
        assert_eq!((ten.width, ten.height, ten.bit_depth), (320, 180, 10));
        let full = SequenceHeader::parse(&unhex(SEQUENCE_444)).expect("valid");
        assert_eq!((full.profile, full.level_index, full.width, full.height), (1, 8, 1920, 1080));
        assert_eq!((full.subsampling_x, full.subsampling_y, full.color), (false, false, Some((2, 2, 1))));
    }

    #[test]
    fn what_is_cut_off_is_none() {
        let whole = unhex(SEQUENCE_8_BIT);
        for length in 0..whole.len() - 1 {
            assert_eq!(SequenceHeader::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(SequenceHeader::parse(&[0xff; 40]), None, "no such profile");
    }
}
