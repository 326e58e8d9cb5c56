//! RFC 7741: the payload descriptor of VP8, for those who forward and do not decode.

/// The VP8 payload descriptor (RFC 7741 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// S: a partition starts here.
    pub starts_partition: bool,
    /// PID: which partition. A frame starts where partition 0 does.
    pub partition: u8,
    /// N: no other frame refers to this one.
    pub discardable: bool,
    /// PictureID, 7 or 15 bits, and where it stands in the payload.
    pub picture_id: Option<Field<u16>>,
    /// TL0PICIDX, and where it stands.
    pub tl0_picture_index: Option<Field<u8>>,
    /// TID: temporal layer.
    pub temporal_id: u8,
    /// Y: depends on the base layer only.
    pub layer_sync: bool,
    /// KEYIDX, and where it stands.
    pub key_index: Option<Field<u8>>,
    /// Bytes of the descriptor.
    pub length: usize,
}

/// A number and its place in the payload, for those who rewrite it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<T> {
    /// The number.
    pub value: T,
    /// Offset of its first byte in the payload.
    pub offset: usize,
}

impl Descriptor {
    /// Reads the descriptor at the front of a payload; `None` if it is cut off.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &first = payload.first()?;
        let mut descriptor = Self {
            starts_partition: first & 0x10 != 0,
            partition: first & 0x07,
            discardable: first & 0x20 != 0,
            picture_id: None,
            tl0_picture_index: None,
            temporal_id: 0,
            layer_sync: false,
            key_index: None,
            length: 1,
        };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let extension = *payload.get(1)?;
        let mut at = 2;
        if extension & 0x80 != 0 {
            let high = *payload.get(at)?;
            let value = if high & 0x80 == 0 {
                u16::from(high)
            } else {
                u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?])
            };
            descriptor.picture_id = Some(Field { value, offset: at });
            at += if high & 0x80 == 0 { 1 } else { 2 };
        }
        if extension & 0x40 != 0 {
            descriptor.tl0_picture_index = Some(Field { value: *payload.get(at)?, offset: at });
            at += 1;
        }
        if extension & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if extension & 0x20 != 0 {
                descriptor.temporal_id = byte >> 6;
                descriptor.layer_sync = byte & 0x20 != 0;
            }
            if extension & 0x10 != 0 {
                descriptor.key_index = Some(Field { value: byte & 0x1f, offset: at });
            }
            at += 1;
        }
        descriptor.length = at;
        Some(descriptor)
    }

    /// The first packet of a frame (section 4.2, S and PID).
    pub const fn starts_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        let plain = Descriptor::parse(&[0x10, 0]).expect("valid");
        assert!(plain.starts_frame() && plain.length == 1 && !plain.discardable);
        assert!(!Descriptor::parse(&[0x11]).expect("valid").starts_frame());
        // What Chromium sends: X, I with 15 bits, L, T, K.
        let full = Descriptor::parse(&[0xb0, 0xf0, 0x81, 0x02, 0x09, 0x65, 0xff]).expect("valid");
        assert_eq!(full.picture_id, Some(Field { value: 0x102, offset: 2 }));
        assert_eq!(full.tl0_picture_index, Some(Field { value: 9, offset: 4 }));
        assert_eq!((full.temporal_id, full.layer_sync), (1, true));
        assert_eq!(full.key_index, Some(Field { value: 5, offset: 5 }));
        assert_eq!((full.length, full.discardable), (6, true));
        let short_id = Descriptor::parse(&[0x80, 0x80, 0x7f]).expect("valid");
        assert_eq!((short_id.picture_id, short_id.length), (Some(Field { value: 0x7f, offset: 2 }), 3));
        for cut in [&[][..], &[0x80], &[0x80, 0x80], &[0x80, 0x80, 0x80], &[0x80, 0x40], &[0x80, 0x10]] {
            assert_eq!(Descriptor::parse(cut), None, "{cut:?}");
        }
    }
}
