//! What the NAL units of one H.265 payload say.

use crate::h265::{NalHeader, unit_type};
use crate::rtp::h265::{Aggregated, FU_START, FU_TYPE};

use super::{Contents, PictureSays};

/// Keyframe: a video or sequence parameter set, or a slice of a picture that a decoder can start with.
pub(super) fn contents(payload: &[u8]) -> Contents {
    let mut contents = Contents { begins: true, ..Contents::default() };
    let Some((header, rest)) = NalHeader::split(payload) else { return Contents::default() };
    match (header.unit_type(), rest) {
        (unit_type::FRAGMENT, [fu, fragment @ ..]) => {
            let header = header.with_type(fu & FU_TYPE);
            if fu & FU_START == 0 {
                contents.begins = false;
                contents.picture = header.is_slice().then(|| picture(header));
            } else {
                add(&mut contents, header, fragment);
            }
        }
        (unit_type::AGGREGATION, units) => {
            let mut begins = None;
            for (header, body) in Aggregated(units).map_while(|unit| NalHeader::split(unit?)) {
                add(&mut contents, header, body);
                // What an aggregate begins with, its first unit says.
                begins.get_or_insert(contents.begins);
            }
            contents.begins = begins.unwrap_or(false);
        }
        (_, body) => add(&mut contents, header, body),
    }
    contents
}

fn add(contents: &mut Contents, header: NalHeader, body: &[u8]) {
    if header.layer_id() > 0 {
        return;
    }
    contents.keyframe |=
        header.is_random_access() || matches!(header.unit_type(), unit_type::VPS | unit_type::SPS);
    if header.is_slice() {
        contents.picture = Some(picture(header));
        // first_slice_segment_in_pic_flag (ITU-T H.265 section 7.3.6.1)
        contents.begins = body.first().is_none_or(|first| first & 0x80 != 0);
    }
}

fn picture(header: NalHeader) -> PictureSays {
    PictureSays { discardable: header.is_sub_layer_non_reference(), temporal_id: header.temporal_id() }
}
