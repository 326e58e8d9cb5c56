//! Payloads to pictures.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::rtp::assembly::{Assembly, Finished, Payloads, Picture};
use crate::vp9::{self, FrameHeader, SUPERFRAME_FRAMES_MAX};
use crate::{CodecConfig, Error};

use super::Descriptor;

/// Packets to frames: a whole picture each, with all its spatial layers.
pub(crate) type Depacketizer = Assembly<Format>;

/// Bytes of one picture at most; see [`crate::h264::ACCESS_UNIT_BYTES_MAX`].
const PICTURE_BYTES_MAX: usize = crate::h264::ACCESS_UNIT_BYTES_MAX;

/// What is known for longer than one picture.
#[derive(Debug, Default)]
pub(crate) struct Format {
    /// The configuration handed out last; shared until something changes.
    config: Option<Arc<CodecConfig>>,
}

/// The picture whose packets are coming in.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    data: BytesMut,
    /// Where each of its frames begins: one per spatial layer.
    starts: Vec<usize>,
    /// The newest frame has not ended.
    open: bool,
    inter_picture: bool,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "VP9 RTP payload", why };

impl Payloads for Format {
    type Unit = Unit;

    fn begin(&self, bytes: usize) -> Unit {
        Unit { data: BytesMut::with_capacity(bytes), ..Unit::default() }
    }

    fn take(&mut self, unit: &mut Unit, payload: &[u8]) -> Result<(), Error> {
        let descriptor = Descriptor::parse(payload).ok_or(BROKEN("descriptor cut off"))?;
        let data = &payload[descriptor.length..];
        if unit.data.len() + data.len() > PICTURE_BYTES_MAX {
            return Err(BROKEN("a picture larger than 8 MiB"));
        }
        if descriptor.starts_frame {
            if unit.open {
                return Err(BROKEN("a frame without end"));
            }
            if unit.starts.len() == SUPERFRAME_FRAMES_MAX {
                return Err(BROKEN("more than 8 frames in a picture"));
            }
            if unit.starts.is_empty() {
                unit.inter_picture = descriptor.inter_picture;
            }
            unit.starts.push(unit.data.len());
        } else if !unit.open {
            return Err(BROKEN("a frame without beginning"));
        }
        unit.open = !descriptor.ends_frame;
        unit.data.put_slice(data);
        Ok(())
    }

    fn finish(&mut self, mut unit: Unit) -> Finished {
        if unit.open || unit.starts.is_empty() {
            return Finished::Broken;
        }
        let header = FrameHeader::parse(&unit.data);
        let keyframe = match header {
            Some(FrameHeader::Key(Some(config))) if !unit.inter_picture => {
                self.note(&unit, config);
                true
            }
            // Not even a header.
            None | Some(FrameHeader::Key(None)) => return Finished::Broken,
            _ => false,
        };
        if unit.starts.len() > 1 {
            let ends = unit.starts[1..].iter().copied().chain([unit.data.len()]);
            let sizes: Vec<usize> = unit.starts.iter().zip(ends).map(|(start, end)| end - start).collect();
            vp9::write_superframe_index(&sizes, &mut unit.data);
        }
        Finished::Picture(Picture {
            data: unit.data.freeze(),
            keyframe,
            discardable: false,
            config: self.config.clone(),
            brings_config: keyframe,
            reorder_frames: Some(0),
        })
    }
}

impl Format {
    /// The size is that of the highest spatial layer, if its header says one.
    fn note(&mut self, unit: &Unit, mut config: vp9::Config) {
        for start in unit.starts.iter().skip(1) {
            if let Some(FrameHeader::Key(Some(higher))) = FrameHeader::parse(&unit.data[*start..]) {
                (config.width, config.height) = (higher.width, higher.height);
            }
        }
        let config = CodecConfig::Vp9(config);
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::tests::unhex;
    use crate::rtp::depacketizer::Losses;
    use crate::rtp::packet::tests::packet;
    use crate::vp9::tests::KEY_8_BIT;
    use crate::{Frame, MediaTime, RtpPacket, Timescale};

    const INTER: [u8; 3] = [0x86, 0x00, 0x40];

    fn packets(list: &[(i64, Vec<u8>, bool)]) -> Vec<RtpPacket> {
        (0..)
            .zip(list)
            .map(|(seq, (time, payload, marker))| RtpPacket {
                time: MediaTime::new(*time, Timescale::VIDEO),
                payload: payload.clone().into(),
                marker: *marker,
                ..packet(seq)
            })
            .collect()
    }

    /// A keyframe in two packets, two pictures, and a keyframe.
    fn stream() -> Vec<RtpPacket> {
        let key = unhex(KEY_8_BIT);
        packets(&[
            (0, [&[0x88, 1][..], &key].concat(), false),
            (0, vec![0x84, 1, 5, 6], true),
            (1, [&[0xcc, 2][..], &INTER].concat(), true),
            (2, [&[0xc8, 3][..], &INTER].concat(), false),
            (2, vec![0xc4, 3, 9], true),
            (3, [&[0x8c, 4][..], &key].concat(), true),
        ])
    }

    fn joined(packets: &[RtpPacket]) -> (Vec<Frame>, Losses) {
        let (mut depacketizer, mut out) = (Depacketizer::default(), Vec::new());
        for packet in packets {
            depacketizer.depacketize(packet, &mut out);
        }
        (out, depacketizer.losses())
    }

    fn times(frames: &[Frame]) -> Vec<i64> {
        frames.iter().map(|frame| frame.pts.ticks()).collect()
    }

    #[test]
    fn pictures_come_out_whole() {
        let (frames, losses) = joined(&stream());
        assert_eq!((times(&frames), losses), (vec![0, 1, 2, 3], Losses::default()));
        let keyframes: Vec<bool> = frames.iter().map(|frame| frame.keyframe).collect();
        assert_eq!(keyframes, [true, false, false, true]);
        assert_eq!(frames[0].data, [&unhex(KEY_8_BIT)[..], &[5, 6]].concat());
        assert_eq!(frames[2].data, [&INTER[..], &[9]].concat());
        assert_eq!(frames[1].config.size(), Some((320, 180)));
        assert!(Arc::ptr_eq(&frames[0].config, &frames[3].config), "one config while nothing changes");
    }

    #[test]
    fn any_lost_packet_costs_frames_up_to_the_next_keyframe_only() {
        for (lost, left) in [
            (0, vec![3]),
            (1, vec![3]),
            (2, vec![0, 3]),
            (3, vec![0, 1, 3]),
            (4, vec![0, 1, 3]),
            (5, vec![0, 1, 2]),
        ] {
            let mut some = stream();
            some.remove(lost);
            assert_eq!(times(&joined(&some).0), left, "packet {lost}");
        }
    }

    #[test]
    fn spatial_layers_become_one_superframe() {
        let key = unhex(KEY_8_BIT);
        let lower = [&[0xac, 1, 0x00, 7][..], &key].concat();
        let higher = vec![0xac, 1, 0x03, 7, 0x86, 1, 2];
        let (frames, losses) = joined(&packets(&[(0, lower, false), (0, higher, true)]));
        assert_eq!(losses, Losses::default());
        let expected = [&key[..], &[0x86, 1, 2], &[0b1100_0001, key.len() as u8, 3, 0b1100_0001]].concat();
        assert_eq!(frames[0].data, expected);
        assert!(frames[0].keyframe);
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        for payload in [vec![0x88], vec![0x84, 1, 9], vec![0x88, 0x80]] {
            let mut some = stream();
            some[2].payload = payload.clone().into();
            let (frames, losses) = joined(&some);
            assert_eq!((times(&frames), losses.frames), (vec![0, 3], 2), "{payload:?}");
        }
    }

    #[test]
    fn a_picture_without_end_is_bounded() {
        let mut endless = vec![(0, [&[0x88, 1][..], &unhex(KEY_8_BIT)].concat(), false)];
        endless.resize(200, (0, [&[0x80, 1][..], &[0; 60_000]].concat(), false));
        let (frames, losses) = joined(&packets(&endless));
        assert!(frames.is_empty() && losses.refused == 1);
    }
}
