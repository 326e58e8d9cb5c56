//! The payload descriptor of VP9, for those who forward and do not decode.

use crate::rtp::vp8::Field;

/// Most P_DIFF of a flexible picture (RFC 9628 section 4.2).
const REFERENCES_MAX: usize = 3;

/// The VP9 payload descriptor (RFC 9628 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// PictureID, 7 or 15 bits, and where it stands in the payload.
    pub picture_id: Option<Field<u16>>,
    /// P: the picture needs earlier ones.
    pub inter_picture: bool,
    /// F: references are listed by distance.
    pub flexible: bool,
    /// B: a frame (one spatial layer of a picture) starts here.
    pub starts_frame: bool,
    /// E: a frame ends here.
    pub ends_frame: bool,
    /// TID: temporal layer.
    pub temporal_id: u8,
    /// U: from here on a receiver may switch up to this temporal layer.
    pub switching_up: bool,
    /// SID: spatial layer.
    pub spatial_id: u8,
    /// D: the frame needs the next lower spatial layer of its picture.
    pub inter_layer: bool,
    /// TL0PICIDX, and where it stands; in non-flexible mode only.
    pub tl0_picture_index: Option<Field<u8>>,
    /// V: width and height of the highest spatial layer that the scalability structure lists.
    pub size: Option<(u32, u32)>,
    /// Bytes of the descriptor.
    pub length: usize,
}

impl Descriptor {
    /// Reads the descriptor at the front of a payload; `None` if it is cut off or breaks the format.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &first = payload.first()?;
        let flag = |bit: u8| first & bit != 0;
        let mut descriptor = Self {
            picture_id: None,
            inter_picture: flag(0x40),
            flexible: flag(0x10),
            starts_frame: flag(0x08),
            ends_frame: flag(0x04),
            temporal_id: 0,
            switching_up: false,
            spatial_id: 0,
            inter_layer: false,
            tl0_picture_index: None,
            size: None,
            length: 1,
        };
        if flag(0x80) {
            descriptor.read_picture_id(payload)?;
        }
        if flag(0x20) {
            descriptor.read_layers(payload)?;
        }
        if descriptor.flexible && descriptor.inter_picture {
            descriptor.skip_references(payload)?;
        }
        if flag(0x02) {
            descriptor.read_structure(payload)?;
        }
        Some(descriptor)
    }

    /// The first packet of a picture: of its lowest spatial layer.
    pub const fn starts_picture(&self) -> bool {
        self.starts_frame && !self.inter_layer && self.spatial_id == 0
    }

    /// The next byte.
    fn take(&mut self, payload: &[u8]) -> Option<u8> {
        let byte = payload.get(self.length).copied()?;
        self.length += 1;
        Some(byte)
    }

    fn read_picture_id(&mut self, payload: &[u8]) -> Option<()> {
        let offset = self.length;
        let high = self.take(payload)?;
        let value = match high & 0x80 {
            0 => u16::from(high),
            _ => u16::from_be_bytes([high & 0x7f, self.take(payload)?]),
        };
        self.picture_id = Some(Field { value, offset });
        Some(())
    }

    fn read_layers(&mut self, payload: &[u8]) -> Option<()> {
        let byte = self.take(payload)?;
        self.temporal_id = byte >> 5;
        self.switching_up = byte & 0x10 != 0;
        self.spatial_id = byte >> 1 & 7;
        self.inter_layer = byte & 1 != 0;
        if !self.flexible {
            let offset = self.length;
            self.tl0_picture_index = Some(Field { value: self.take(payload)?, offset });
        }
        Some(())
    }

    fn skip_references(&mut self, payload: &[u8]) -> Option<()> {
        for _ in 0..REFERENCES_MAX {
            // N: another one follows.
            if self.take(payload)? & 1 == 0 {
                return Some(());
            }
        }
        None
    }

    fn read_structure(&mut self, payload: &[u8]) -> Option<()> {
        let byte = self.take(payload)?;
        let layers = (byte >> 5) + 1;
        if byte & 0x10 != 0 {
            for _ in 0..layers {
                let size = payload.get(self.length..self.length + 4)?;
                let pixels = |at: usize| u32::from(u16::from_be_bytes([size[at], size[at + 1]]));
                self.size = Some((pixels(0), pixels(2))).filter(|(width, height)| *width > 0 && *height > 0);
                self.length += 4;
            }
        }
        if byte & 0x08 != 0 {
            for _ in 0..self.take(payload)? {
                let references = usize::from(self.take(payload)? >> 2 & 3);
                self.length += references;
            }
        }
        (self.length <= payload.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        let plain = Descriptor::parse(&[0x0c, 0]).expect("valid");
        assert!(plain.starts_picture() && plain.ends_frame && !plain.inter_picture && plain.length == 1);
        // What Chromium sends on a keyframe without layers: I with 15 bits, L, B, V with size and a group of one.
        let key = [0xaa, 0x81, 0x02, 0x00, 0x09, 0x18, 0x02, 0x80, 0x01, 0x68, 0x01, 0x04, 0x01, 0xff];
        let key = Descriptor::parse(&key).expect("valid");
        assert_eq!(key.picture_id, Some(Field { value: 0x102, offset: 1 }));
        assert_eq!(key.tl0_picture_index, Some(Field { value: 9, offset: 4 }));
        assert_eq!((key.size, key.length), (Some((640, 360)), 13));
        // Flexible: temporal layer 2, spatial layer 1 upon 0, two references.
        let flexible = Descriptor::parse(&[0xf8, 0x7f, 0x53, 0x03, 0x04, 0xff]).expect("valid");
        assert_eq!(flexible.picture_id, Some(Field { value: 0x7f, offset: 1 }));
        assert_eq!((flexible.temporal_id, flexible.spatial_id), (2, 1));
        assert!(flexible.switching_up && flexible.inter_layer && flexible.starts_frame);
        assert!(!flexible.starts_picture() && flexible.tl0_picture_index.is_none());
        assert_eq!(flexible.length, 5);
        // Two spatial layers: the size of the higher one.
        let sizes = Descriptor::parse(&[0x02, 0x30, 1, 64, 0, 180, 2, 128, 1, 104]).expect("valid");
        assert_eq!(sizes.size, Some((640, 360)));
    }

    #[test]
    fn what_is_cut_off_or_endless_is_none() {
        for bad in [
            &[][..],
            &[0x80],
            &[0x80, 0x80],
            &[0x20],
            &[0x20, 0x00],
            &[0x50],
            &[0x50, 0x01, 0x01, 0x01, 0x00],
            &[0x02],
            &[0x02, 0x10, 0, 1, 0],
            &[0x02, 0x08],
            &[0x02, 0x08, 0x02, 0x00],
            &[0x02, 0x08, 0x01, 0x0c, 0x00],
        ] {
            assert_eq!(Descriptor::parse(bad), None, "{bad:?}");
        }
    }
}
