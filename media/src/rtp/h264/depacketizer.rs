//! Payloads to access units.

use crate::h264::{AccessUnitBuilder, NalHeader, ParameterSets, SliceHeader, unit_type};
use crate::rtp::assembly::{Assembly, Finished, Payloads, Picture};
use crate::{CodecConfig, Error};

use super::{FU_END, FU_START};

/// Packets to frames.
pub(crate) type Depacketizer = Assembly<Format>;

/// What is known for longer than one access unit.
#[derive(Debug, Default)]
pub(crate) struct Format {
    parameter_sets: ParameterSets,
}

/// The access unit whose packets are coming in.
#[derive(Debug)]
pub(crate) struct Unit {
    builder: AccessUnitBuilder,
    has_sps: bool,
}

const REFUSED: fn(&'static str) -> Error = |why| Error::Unsupported { what: "H.264 RTP payload", why };
const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "H.264 RTP payload", why };

impl Payloads for Format {
    type Unit = Unit;

    fn begin(&self, bytes: usize) -> Unit {
        Unit { builder: AccessUnitBuilder::with_capacity(bytes), has_sps: false }
    }

    fn take(&mut self, unit: &mut Unit, payload: &[u8]) -> Result<(), Error> {
        unit.take_payload(payload, &mut self.parameter_sets)
    }

    fn finish(&mut self, unit: Unit) -> Finished {
        if unit.builder.is_open() {
            return Finished::Broken;
        }
        if !unit.builder.has_slices() {
            return Finished::Nothing;
        }
        let made = unit.builder.finish();
        let config = self.parameter_sets.config().cloned();
        let reorder_frames = match config.as_deref() {
            Some(CodecConfig::H264(config)) => config.reorder_frames,
            _ => None,
        };
        Finished::Picture(Picture {
            data: made.data,
            keyframe: made.keyframe,
            discardable: made.discardable,
            config,
            brings_config: unit.has_sps,
            reorder_frames,
        })
    }
}

impl Unit {
    fn take_payload(&mut self, payload: &[u8], sets: &mut ParameterSets) -> Result<(), Error> {
        let Some(header) = NalHeader::of(payload) else { return Ok(()) };
        if header.unit_type() != unit_type::FU_A && self.builder.is_open() {
            return Err(BROKEN("a fragmented unit without end"));
        }
        match header.unit_type() {
            1..=23 => self.take_nal(payload, sets),
            unit_type::STAP_A => {
                let mut rest = &payload[1..];
                while !rest.is_empty() {
                    let (&size, after) = rest.split_first_chunk().ok_or(BROKEN("STAP-A cut off"))?;
                    let size = usize::from(u16::from_be_bytes(size));
                    let (nal, after) = after.split_at_checked(size).ok_or(BROKEN("STAP-A cut off"))?;
                    match NalHeader::of(nal).map(NalHeader::unit_type) {
                        Some(1..=23) => self.take_nal(nal, sets)?,
                        _ => return Err(BROKEN("STAP-A of something else")),
                    }
                    rest = after;
                }
                Ok(())
            }
            unit_type::FU_A => self.take_fragment(payload, sets),
            // STAP-B, MTAP16, MTAP24 and FU-B belong to interleaved mode, which nobody negotiated.
            _ => Err(REFUSED("packet types of interleaved mode")),
        }
    }

    fn take_nal(&mut self, nal: &[u8], sets: &mut ParameterSets) -> Result<(), Error> {
        if sets.insert(nal) {
            self.has_sps |= NalHeader::of(nal).is_some_and(|header| header.unit_type() == unit_type::SPS);
            return Ok(());
        }
        if NalHeader::of(nal).is_some_and(NalHeader::is_slice) {
            self.check_slice(nal, sets)?;
        }
        self.builder.push(nal)
    }

    fn take_fragment(&mut self, payload: &[u8], sets: &mut ParameterSets) -> Result<(), Error> {
        let Some((&[indicator, fu_header], fragment)) = payload.split_first_chunk() else {
            return Err(BROKEN("FU-A cut off"));
        };
        if fu_header & FU_START != 0 {
            let header = indicator & 0xe0 | fu_header & 0x1f;
            if self.builder.is_open() {
                return Err(BROKEN("a fragmented unit without end"));
            }
            // Parameter sets and delimiters are far smaller than a packet.
            if !matches!(fu_header & 0x1f, 1..=6) {
                return Err(REFUSED("fragments of a unit that is no slice"));
            }
            if NalHeader::from_byte(header).is_slice() {
                // The slice header lies in the first fragment; the NAL header byte is not looked at again.
                self.check_slice_payload(header, fragment, sets)?;
            }
            self.builder.open(header)?;
        } else if !self.builder.is_open() {
            return Err(BROKEN("a fragmented unit without beginning"));
        }
        self.builder.extend(fragment)?;
        if fu_header & FU_END != 0 {
            self.builder.close();
        }
        Ok(())
    }

    fn check_slice(&mut self, nal: &[u8], sets: &mut ParameterSets) -> Result<(), Error> {
        match nal.split_first() {
            Some((&header, payload)) => self.check_slice_payload(header, payload, sets),
            None => Ok(()),
        }
    }

    /// The first slice of a picture begins at macroblock 0 (else its beginning is lost) and names its
    /// parameter sets.
    fn check_slice_payload(
        &mut self,
        header: u8,
        payload: &[u8],
        sets: &mut ParameterSets,
    ) -> Result<(), Error> {
        if self.builder.has_slices() || matches!(header & 0x1f, 3 | 4) {
            return Ok(());
        }
        let slice = SliceHeader::parse_payload(payload).ok_or(BROKEN("slice header cut off"))?;
        if slice.first_macroblock != 0 {
            return Err(BROKEN("the first slice of a picture is missing"));
        }
        match sets.activate(slice.pps_id) {
            Some(_) => Ok(()),
            None => Err(BROKEN("a picture without parameter sets")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::depacketizer::Losses;
    use crate::rtp::h264::Packetizer;
    use crate::rtp::h264::tests::{BODY, frame, nal};
    use crate::{Frame, RtpPacket};

    fn packets(frames: &[Frame]) -> Vec<RtpPacket> {
        let (mut packetizer, mut out) = (Packetizer::new(), Vec::new());
        for frame in frames {
            packetizer.packetize(frame, &mut out);
        }
        for (seq, packet) in out.iter_mut().enumerate() {
            packet.seq = seq as u64;
        }
        out
    }

    /// Times of the frames that come out, with `*` for keyframes.
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

    fn gop() -> Vec<Frame> {
        vec![
            frame(0, true, &[nal(0x06, 30), nal(0x65, 5_000)]),
            frame(1, false, &[nal(0x41, 700)]),
            frame(2, false, &[nal(0x01, 3_000)]),
            frame(3, false, &[nal(0x41, 300)]),
            frame(4, true, &[nal(0x65, 900)]),
            frame(5, false, &[nal(0x41, 1_173)]),
        ]
    }

    #[test]
    fn frames_survive_the_way_through_packets() {
        let frames = gop();
        let (out, losses) = joined(&packets(&frames));
        assert_eq!(losses, Losses::default());
        assert_eq!(out.len(), frames.len());
        for (out, frame) in out.iter().zip(&frames) {
            assert_eq!(out.data, frame.data);
            assert_eq!(
                (out.pts, out.keyframe, out.discardable),
                (frame.pts, frame.keyframe, frame.discardable)
            );
            assert_eq!(out.config, frame.config);
        }
        assert!(std::sync::Arc::ptr_eq(&out[0].config, &out[5].config), "one config while nothing changes");
    }

    #[test]
    fn without_markers_the_time_ends_a_frame() {
        let mut packets = packets(&gop());
        packets.iter_mut().for_each(|packet| packet.marker = false);
        assert_eq!(times(&joined(&packets).0), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn any_lost_packet_costs_frames_up_to_the_next_keyframe_only() {
        let all = packets(&gop());
        for lost in 0..all.len() {
            let mut some = all.clone();
            let time = some.remove(lost).time.ticks();
            let out = times(&joined(&some).0);
            let expected: Vec<i64> = match time {
                0..4 => (0..time).chain(4..6).collect(),
                _ => (0..time).collect(),
            };
            assert_eq!(out, expected, "packet {lost} of frame {time}");
        }
    }

    #[test]
    fn starts_at_a_keyframe_with_parameter_sets_only() {
        let all = packets(&gop());
        // From the middle of the first keyframe: nothing until the second.
        assert_eq!(times(&joined(&all[2..]).0), [4, 5]);
        // An IDR picture without parameter sets anywhere.
        let mut bare = packets(&[frame(0, true, &[nal(0x65, 900)]), frame(1, false, &[nal(0x41, 90)])]);
        bare.remove(0);
        let (out, losses) = joined(&bare);
        assert_eq!((out.len(), losses.frames), (0, 2));
    }

    #[test]
    fn a_reconnect_in_mid_frame_drops_that_frame() {
        let mut all = packets(&gop());
        let cut = all.iter().rposition(|packet| packet.time.ticks() == 2).expect("there");
        all.truncate(cut);
        let mut next = packets(&[frame(90, true, &[nal(0x65, 2_000)])]);
        for (packet, seq) in next.iter_mut().zip(cut as u64..) {
            (packet.seq, packet.epoch) = (seq, 1);
        }
        all.extend(next);
        assert_eq!(times(&joined(&all).0), [0, 1, 90]);
    }

    #[test]
    fn padding_and_interleaved_packets_are_no_frames() {
        let mut all = packets(&gop());
        let mut padding = all[0].clone();
        padding.payload = bytes::Bytes::new();
        all.insert(3, padding);
        for (seq, packet) in all.iter_mut().enumerate() {
            packet.seq = seq as u64;
        }
        assert_eq!(times(&joined(&all).0), [0, 1, 2, 3, 4, 5]);
        let last = all.len() - 1;
        all[last].payload = bytes::Bytes::from_static(&[0x7d, 0x85, 0, 0, BODY]);
        let (out, losses) = joined(&all);
        assert_eq!((times(&out), losses.refused, losses.frames), (vec![0, 1, 2, 3, 4], 1, 1));
    }

    #[test]
    fn a_frame_without_end_is_bounded() {
        let mut all = packets(&gop());
        let (mut depacketizer, mut out) = (Depacketizer::default(), Vec::new());
        let mut endless = all.swap_remove(2);
        endless.payload = bytes::Bytes::from(vec![0x7c; 60_000]);
        for seq in 0..200 {
            endless.seq = seq;
            endless.payload = match seq {
                0 => [&[0x7c, 0x85, BODY][..], &[0; 60_000]].concat().into(),
                _ => [&[0x7c, 0x05][..], &[0; 60_000]].concat().into(),
            };
            depacketizer.depacketize(&endless, &mut out);
        }
        assert!(out.is_empty() && depacketizer.losses().refused == 1);
    }
}
