//! Sample entries of video codecs beside H.264: H.265, VP9, AV1.

use media::{av1, h265, vp9};
use mp4_atom::{Av01, Av1c, Hvc1, HvcCArray, Hvcc, Visual, Vp09, VpcC};

use super::init::dimension;
use crate::Error;

/// `colour_primaries` and the like of ITU-T H.273 that say nothing.
const UNSPECIFIED: u8 = 2;

fn visual(width: u32, height: u32) -> Visual {
    Visual {
        data_reference_index: 1,
        width: dimension(width),
        height: dimension(height),
        ..Visual::default()
    }
}

/// `hvc1`: the parameter sets stand here and nowhere else (ISO/IEC 14496-15 section 8.4.1).
pub(super) fn hvc1(config: &h265::Config) -> Result<Hvc1, Error> {
    let sequence = &config.sequence;
    for (sets, what) in [(&config.vps, "VPS"), (&config.sps, "SPS"), (&config.pps, "PPS")] {
        if sets.is_empty() {
            return Err(Error::Parameters { what });
        }
    }
    // sps_temporal_id_nesting_flag: the last bit of the byte behind the header.
    let nested = config.sps[0].get(2).is_some_and(|byte| byte & 1 == 1);
    let array = |nal_unit_type, sets: &[bytes::Bytes]| HvcCArray {
        completeness: true,
        nal_unit_type,
        nalus: sets.iter().map(|set| set.to_vec()).collect(),
    };
    Ok(Hvc1 {
        visual: visual(sequence.width, sequence.height),
        hvcc: Hvcc {
            general_profile_space: sequence.profile.space,
            general_tier_flag: sequence.profile.high_tier,
            general_profile_idc: sequence.profile.idc,
            general_profile_compatibility_flags: sequence.profile.compatibility.to_be_bytes(),
            general_constraint_indicator_flags: sequence.profile.constraints,
            general_level_idc: sequence.profile.level_idc,
            chroma_format_idc: sequence.chroma.idc(),
            bit_depth_luma_minus8: sequence.bit_depth_luma.saturating_sub(8),
            bit_depth_chroma_minus8: sequence.bit_depth_chroma.saturating_sub(8),
            num_temporal_layers: sequence.sub_layers,
            temporal_id_nested: nested,
            length_size_minus_one: 3,
            arrays: vec![
                array(h265::unit_type::VPS, &config.vps),
                array(h265::unit_type::SPS, &config.sps),
                array(h265::unit_type::PPS, &config.pps),
            ],
            ..Hvcc::new()
        },
        ..Hvc1::default()
    })
}

/// `av01` (AV1 Codec ISO Media File Format Binding, section 2.2).
pub(super) fn av01(config: &av1::Config) -> Av01 {
    let sequence = &config.sequence;
    Av01 {
        visual: visual(sequence.width, sequence.height),
        av1c: Av1c {
            seq_profile: sequence.profile,
            seq_level_idx_0: sequence.level_index,
            seq_tier_0: sequence.high_tier,
            high_bitdepth: sequence.bit_depth > 8,
            twelve_bit: sequence.bit_depth > 10,
            monochrome: sequence.monochrome,
            chroma_subsampling_x: sequence.subsampling_x,
            chroma_subsampling_y: sequence.subsampling_y,
            chroma_sample_position: sequence.chroma_position,
            initial_presentation_delay: None,
            config_obus: config.sequence_header.to_vec(),
        },
        ..Av01::default()
    }
}

/// `vp09` (VP Codec ISO Media File Format Binding).
pub(super) fn vp09(config: &vp9::Config) -> Vp09 {
    // `color_space` of the stream as H.273 has it: primaries, transfer, matrix.
    let (primaries, transfer, matrix) = match config.color_space {
        1 => (5, 6, 5),
        2 => (1, 1, 1),
        3 => (6, 6, 6),
        4 => (7, 7, 7),
        5 => (9, 14, 9),
        7 => (1, 13, 0),
        _ => (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED),
    };
    let chroma_subsampling = match (config.subsampling_x, config.subsampling_y) {
        // 4:2:0, with chroma where luma is (the other place, 0, is between two rows).
        (true, true) => 1,
        (true, false) => 2,
        _ => 3,
    };
    Vp09 {
        visual: visual(config.width, config.height),
        vpcc: VpcC {
            profile: config.profile,
            level: config.level(),
            bit_depth: config.bit_depth,
            chroma_subsampling,
            video_full_range_flag: config.full_range,
            color_primaries: primaries,
            transfer_characteristics: transfer,
            matrix_coefficients: matrix,
            codec_initialization_data: Vec::new(),
        },
        ..Vp09::default()
    }
}
