//! VP8 (RFC 6386): passed through; we only need to know keyframes and size.

/// What a VP8 stream says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// The frame tag (RFC 6386 section 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameTag {
    /// A decoder can start here.
    pub keyframe: bool,
    /// Width and height in pixels; only keyframes say it.
    pub size: Option<(u32, u32)>,
}

impl FrameTag {
    /// Reads the first bytes of a frame (of its first partition): 3, and 10 to know the size. `None` if there
    /// are fewer than 3, or a keyframe has no start code.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (tag, rest) = frame.split_first_chunk::<3>()?;
        // The lowest bit is 0 for keyframes.
        if tag[0] & 1 == 1 {
            return Some(Self { keyframe: false, size: None });
        }
        if !rest.starts_with(&START_CODE[..rest.len().min(3)]) {
            return None;
        }
        let size = rest.get(3..7).map(|size| {
            // 14 bits of size, 2 bits of scaling, little endian.
            let pixels = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            (pixels(size[0], size[1]), pixels(size[2], size[3]))
        });
        Some(Self { keyframe: true, size })
    }
}

const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_frame_tag() {
        for (frame, keyframe, size) in [
            (&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x41][..], true, Some((640, 360))),
            (&[0x10, 0x02, 0x00, 0x9d, 0x01], true, None),
            (&[0x31, 0x02, 0x00], false, None),
        ] {
            assert_eq!(FrameTag::parse(frame), Some(FrameTag { keyframe, size }));
        }
        for bad in [&[][..], &[0x10, 2], &[0x10, 2, 0, 0x9d, 0x02, 0x2a]] {
            assert_eq!(FrameTag::parse(bad), None);
        }
    }
}
