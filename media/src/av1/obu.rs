//! OBUs: their header, and the numbers in front of them.

use bytes::BufMut;

/// `obu_type` (section 6.2.2).
pub mod kind {
    /// Sequence header.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// Begins a temporal unit. RTP and MP4 leave it out.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// The header of a frame whose tiles follow in OBUs of their own.
    pub const FRAME_HEADER: u8 = 3;
    /// Metadata.
    pub const METADATA: u8 = 5;
    /// A frame: header and tiles.
    pub const FRAME: u8 = 6;
    /// A frame header again.
    pub const REDUNDANT_FRAME_HEADER: u8 = 7;
    /// For large scale tile decoding.
    pub const TILE_LIST: u8 = 8;
    /// Padding.
    pub const PADDING: u8 = 15;
}

/// One OBU, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Obu<'a> {
    /// See [`kind`].
    pub kind: u8,
    /// The first byte, without `obu_has_size_field`.
    pub header: u8,
    /// The second byte, if there is one.
    pub extension: Option<u8>,
    /// What follows the header and the size, if it says one.
    pub payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Reads an OBU that fills `data`, with or without a size of its own. `None` if it breaks the format.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (&header, mut rest) = data.split_first()?;
        // obu_forbidden_bit
        if header & 0x80 != 0 {
            return None;
        }
        let mut extension = None;
        if header & 0x04 != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (Some(byte), after);
        }
        if header & HAS_SIZE != 0 {
            let size = take_leb128(&mut rest)?;
            rest = rest.get(..size)?;
        }
        Some(Self { kind: header >> 3 & 0x0f, header: header & !HAS_SIZE, extension, payload: rest })
    }

    /// The temporal layer; 0 where nothing says it.
    pub fn temporal_id(&self) -> u8 {
        self.extension.map_or(0, |extension| extension >> 5)
    }

    /// Whether a decoder can start with the frame that begins here (section 5.9.2): a key frame that is shown.
    /// `None`: no frame begins here. Stills with their reduced header are no video, and not looked at.
    pub fn keyframe(&self) -> Option<bool> {
        if !matches!(self.kind, kind::FRAME | kind::FRAME_HEADER) {
            return None;
        }
        // show_existing_frame, two bits of frame_type, show_frame
        self.payload.first().map(|first| first >> 4 == 0b0001)
    }
}

/// `obu_has_size_field`.
const HAS_SIZE: u8 = 0x02;

/// Appends an OBU with its size, in the fewest bytes.
pub(crate) fn write(header: u8, extension: Option<u8>, payload: &[u8], out: &mut impl BufMut) {
    out.put_u8(header | HAS_SIZE);
    if let Some(extension) = extension {
        out.put_u8(extension);
    }
    let mut size = payload.len();
    while size >= 0x80 {
        out.put_u8(size as u8 | 0x80);
        size >>= 7;
    }
    out.put_u8(size as u8);
    out.put_slice(payload);
}

/// Takes a `leb128` number (section 4.10.5) from the front; `None` if it is cut off or beyond 32 bits.
pub(crate) fn take_leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0u64;
    for place in 0..8 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obus_are_taken_apart_and_written() {
        let plain = Obu::parse(&[0x30, 0x10, 9]).expect("valid");
        assert_eq!((plain.kind, plain.temporal_id(), plain.payload), (kind::FRAME, 0, &[0x10, 9][..]));
        assert_eq!(plain.keyframe(), Some(true));
        // With extension (temporal layer 2) and size; what follows is not of it.
        let sized = Obu::parse(&[0x36, 0x40, 0x01, 0x30, 9]).expect("valid");
        assert_eq!((sized.header, sized.extension, sized.payload), (0x34, Some(0x40), &[0x30][..]));
        assert_eq!((sized.temporal_id(), sized.keyframe()), (2, Some(false)));
        let mut written = Vec::new();
        write(sized.header, sized.extension, &[7; 200], &mut written);
        assert_eq!(written[..4], [0x36, 0x40, 0xc8, 0x01]);
        assert_eq!(Obu::parse(&written).expect("valid").payload, [7; 200]);
        for bad in [&[][..], &[0x80], &[0x34], &[0x32], &[0x32, 2, 1], &[0x32, 0x80, 0x80]] {
            assert_eq!(Obu::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn leb128_is_bounded() {
        for (bytes, value) in [
            (&[0x00][..], Some(0)),
            (&[0xe5, 0x8e, 0x26], Some(624_485)),
            (&[0x81, 0x80, 0x00], Some(1)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX as usize)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0x80; 9], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(take_leb128(&mut &bytes[..]), value, "{bytes:?}");
        }
    }
}
