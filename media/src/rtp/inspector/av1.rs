//! What the OBUs of one AV1 payload say.

use crate::av1::{Obu, obu};
use crate::rtp::av1::AggregationHeader;

use super::{Contents, PictureSays};

/// Keyframe: the sender says that a coded video sequence begins here (N), or one does. Some repeat the sequence
/// header in between, so that it alone is no keyframe.
pub(super) fn contents(payload: &[u8]) -> Contents {
    let Some((header, elements)) = AggregationHeader::parse(payload) else { return Contents::default() };
    if header.continues {
        return Contents::default();
    }
    let mut contents = Contents { keyframe: header.new_sequence, begins: true, picture: None };
    let mut sequence = false;
    for obu in elements.map_while(|element| Obu::parse(element?)) {
        sequence |= obu.kind == obu::kind::SEQUENCE_HEADER;
        if let Some(keyframe) = obu.keyframe() {
            contents.keyframe |= sequence && keyframe;
            // Nothing here says whether another frame refers to it.
            contents.picture = Some(PictureSays { discardable: false, temporal_id: obu.temporal_id() });
            break;
        }
    }
    contents
}
