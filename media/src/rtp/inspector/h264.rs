//! What the NAL units of one H.264 payload say.

use crate::h264::{NalHeader, SliceHeader, unit_type};

use super::{Contents, PictureSays};

/// Keyframe: a parameter set or a slice of an IDR picture.
pub(super) fn contents(payload: &[u8]) -> Contents {
    let mut contents = Contents { begins: true, ..Contents::default() };
    match payload {
        [indicator, fu_header, fragment @ ..] if indicator & 0x1f == unit_type::FU_A => {
            let header = NalHeader::from_byte(indicator & 0xe0 | fu_header & 0x1f);
            if fu_header & 0x80 == 0 {
                contents.begins = false;
                contents.picture = header.is_slice().then(|| picture(header));
            } else {
                add(&mut contents, header, fragment);
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
                add(&mut contents, NalHeader::from_byte(header), body);
                // What an aggregate begins with, its first unit says.
                contents.begins = if first_unit { contents.begins } else { begins };
                first_unit = false;
            }
        }
        [first, body @ ..] => add(&mut contents, NalHeader::from_byte(*first), body),
        [] => {}
    }
    contents
}

fn add(contents: &mut Contents, header: NalHeader, body: &[u8]) {
    contents.keyframe |= matches!(header.unit_type(), unit_type::IDR | unit_type::SPS);
    if header.is_slice() {
        contents.picture = Some(picture(header));
        contents.begins = SliceHeader::parse_payload(body).is_none_or(|slice| slice.first_macroblock == 0);
    }
}

fn picture(header: NalHeader) -> PictureSays {
    PictureSays { discardable: header.ref_idc() == 0, temporal_id: 0 }
}
