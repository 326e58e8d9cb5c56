//! Payloads to temporal units.

use std::sync::Arc;

use bytes::BytesMut;

use crate::av1::{self, Obu, obu};
use crate::rtp::assembly::{Assembly, Finished, Payloads, Picture};
use crate::{CodecConfig, Error};

use super::AggregationHeader;

/// Packets to frames: a whole temporal unit each, with all its layers.
pub(crate) type Depacketizer = Assembly<Format>;

/// Bytes of one temporal unit at most; see [`crate::h264::ACCESS_UNIT_BYTES_MAX`].
const UNIT_BYTES_MAX: usize = crate::h264::ACCESS_UNIT_BYTES_MAX;

/// What is known for longer than one temporal unit.
#[derive(Debug, Default)]
pub(crate) struct Format {
    /// The configuration handed out last; shared until something changes.
    config: Option<Arc<CodecConfig>>,
}

/// The temporal unit whose packets are coming in.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// Whole OBUs, each with its size.
    data: BytesMut,
    /// The beginning of an OBU that goes on in the next packet.
    open: Option<Vec<u8>>,
    has_sequence: bool,
    /// Of its first frame.
    keyframe: Option<bool>,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "AV1 RTP payload", why };

impl Payloads for Format {
    type Unit = Unit;

    fn begin(&self, bytes: usize) -> Unit {
        Unit { data: BytesMut::with_capacity(bytes), ..Unit::default() }
    }

    fn take(&mut self, unit: &mut Unit, payload: &[u8]) -> Result<(), Error> {
        let (header, elements) = AggregationHeader::parse(payload).ok_or(BROKEN("empty"))?;
        if header.continues != unit.open.is_some() {
            return Err(BROKEN("an OBU without beginning or end"));
        }
        let mut elements = elements.peekable();
        while let Some(element) = elements.next() {
            let element = element.ok_or(BROKEN("an OBU reaches beyond the end"))?;
            let open = unit.open.as_ref().map_or(0, Vec::len);
            if unit.data.len() + open + element.len() > UNIT_BYTES_MAX {
                return Err(BROKEN("a temporal unit larger than 8 MiB"));
            }
            let goes_on = header.continued && elements.peek().is_none();
            match (&mut unit.open, goes_on) {
                (Some(open), _) => open.extend_from_slice(element),
                (None, true) => unit.open = Some(element.to_vec()),
                (None, false) => self.take_obu(unit, element)?,
            }
            if !goes_on && let Some(whole) = unit.open.take() {
                self.take_obu(unit, &whole)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, unit: Unit) -> Finished {
        if unit.open.is_some() {
            return Finished::Broken;
        }
        let Some(keyframe) = unit.keyframe else { return Finished::Nothing };
        Finished::Picture(Picture {
            data: unit.data.freeze(),
            keyframe,
            discardable: false,
            config: self.config.clone(),
            brings_config: unit.has_sequence,
            reorder_frames: Some(0),
        })
    }
}

impl Format {
    fn take_obu(&mut self, unit: &mut Unit, data: &[u8]) -> Result<(), Error> {
        let obu = Obu::parse(data).ok_or(BROKEN("an OBU that is none"))?;
        match obu.kind {
            // Section 5: to be left out, and not to be sent.
            obu::kind::TEMPORAL_DELIMITER | obu::kind::TILE_LIST | obu::kind::PADDING => return Ok(()),
            obu::kind::SEQUENCE_HEADER => {
                let config = CodecConfig::Av1(av1::Config::from_sequence_header(obu.payload)?);
                if self.config.as_deref() != Some(&config) {
                    self.config = Some(Arc::new(config));
                }
                unit.has_sequence = true;
            }
            _ => unit.keyframe = unit.keyframe.or(obu.keyframe()),
        }
        obu::write(obu.header, obu.extension, obu.payload, &mut unit.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::av1::tests::SEQUENCE_8_BIT;
    use crate::bits::tests::unhex;
    use crate::rtp::depacketizer::Losses;
    use crate::rtp::packet::tests::packet;
    use crate::{Frame, MediaTime, RtpPacket, Timescale};

    const KEY: u8 = 0x10;
    const DELTA: u8 = 0x30;

    /// A frame OBU without size, of `length` bytes.
    fn frame_obu(first: u8, length: usize) -> Vec<u8> {
        let mut data = vec![first; length + 1];
        data[0] = obu::kind::FRAME << 3;
        data
    }

    fn sequence_obu() -> Vec<u8> {
        [&[obu::kind::SEQUENCE_HEADER << 3][..], &unhex(SEQUENCE_8_BIT)].concat()
    }

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

    /// A keyframe in three packets, a frame in one, a frame in two, and a keyframe without lengths in front.
    fn stream() -> Vec<RtpPacket> {
        let (sequence, key) = (sequence_obu(), frame_obu(KEY, 2000));
        let first = [&[0x68, sequence.len() as u8][..], &sequence, &key[..1000]].concat();
        let second = [&[0xd0][..], &key[1000..1500]].concat();
        let third = [&[0x90][..], &key[1500..]].concat();
        let long = frame_obu(DELTA, 1500);
        let again = [&[0x28, sequence.len() as u8][..], &sequence, &frame_obu(KEY, 30)].concat();
        packets(&[
            (0, first, false),
            (0, second, false),
            (0, third, true),
            (3000, [&[0x10][..], &frame_obu(DELTA, 40)].concat(), true),
            (6000, [&[0x50][..], &long[..1000]].concat(), false),
            (6000, [&[0x90][..], &long[1000..]].concat(), true),
            (9000, again, true),
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
        frames.iter().map(|frame| frame.pts.ticks() / 3000).collect()
    }

    #[test]
    fn temporal_units_come_out_whole_with_sizes() {
        let (frames, losses) = joined(&stream());
        assert_eq!((times(&frames), losses), (vec![0, 1, 2, 3], Losses::default()));
        let keyframes: Vec<bool> = frames.iter().map(|frame| frame.keyframe).collect();
        assert_eq!(keyframes, [true, false, false, true]);
        let mut expected = Vec::new();
        for whole in [sequence_obu(), frame_obu(KEY, 2000)] {
            obu::write(whole[0], None, &whole[1..], &mut expected);
        }
        assert_eq!(frames[0].data, expected);
        assert_eq!(frames[1].config.size(), Some((320, 180)));
        assert!(Arc::ptr_eq(&frames[0].config, &frames[3].config), "one config while nothing changes");
    }

    #[test]
    fn any_lost_packet_costs_frames_up_to_the_next_keyframe_only() {
        for (lost, left) in [
            (0, vec![3]),
            (1, vec![3]),
            (2, vec![3]),
            (3, vec![0, 3]),
            (4, vec![0, 1, 3]),
            (6, vec![0, 1, 2]),
        ] {
            let mut some = stream();
            some.remove(lost);
            assert_eq!(times(&joined(&some).0), left, "packet {lost}");
        }
    }

    #[test]
    fn delimiters_and_padding_are_left_out() {
        let key = [&[0x38, 1, 0x10, 13][..], &sequence_obu(), &frame_obu(KEY, 3)].concat();
        let mut key = key;
        key[3] = sequence_obu().len() as u8;
        let (frames, _) = joined(&packets(&[
            (0, key, true),
            (3000, vec![0x10, obu::kind::PADDING << 3, 0, 0], true),
            (6000, [&[0x10][..], &frame_obu(DELTA, 3)].concat(), true),
        ]));
        assert_eq!(times(&frames), [0, 2], "padding by itself is no picture, and none is missing");
        assert_eq!(frames[0].data[0], 0x0a);
    }

    #[test]
    fn a_unit_without_end_is_bounded() {
        let mut endless = vec![(0, [&[0x50][..], &frame_obu(KEY, 60_000)].concat(), false)];
        endless.resize(200, (0, vec![0xd0; 60_000], false));
        let (frames, losses) = joined(&packets(&endless));
        assert!(frames.is_empty() && losses.refused == 1, "{losses:?}");
    }
}
