use super::*;
use crate::bits::tests::unhex;
use crate::h265::sps_for_tests::MAIN;
use crate::rtp::depacketizer::Losses;
use crate::rtp::packet::tests::packet;
use crate::{Frame, MediaTime, RtpPacket, Timescale};

const VPS: &str = "40010c01ffff01600000030090000003000003003cba0240";
const PPS: &str = "4401c073c189";
/// First slice segment in the picture, no_output_of_prior_pics_flag 0, PPS 0.
const IDR: [u8; 3] = [0x28, 0x01, 0xac];
/// First slice segment in the picture, PPS 0.
const TRAIL_R: [u8; 3] = [0x02, 0x01, 0xd0];
const TRAIL_N: [u8; 3] = [0x00, 0x01, 0xd0];

fn nal(front: [u8; 3], length: usize) -> Vec<u8> {
    let mut nal = vec![7; length];
    nal[..3].copy_from_slice(&front);
    nal
}

/// An aggregation packet.
fn aggregate(nals: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = vec![0x60, 0x01];
    for nal in nals {
        payload.extend((nal.len() as u16).to_be_bytes());
        payload.extend(nal);
    }
    payload
}

/// Fragments of a unit.
fn fragments(nal: &[u8], size: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = nal[2..].chunks(size).collect();
    let last = chunks.len() - 1;
    let fu = |at: usize| {
        nal[0] >> 1 & 0x3f | if at == 0 { FU_START } else { 0 } | if at == last { FU_END } else { 0 }
    };
    let write = |(at, chunk): (usize, &&[u8])| [&[0x62, nal[1], fu(at)][..], chunk].concat();
    chunks.iter().enumerate().map(write).collect()
}

fn packets(pictures: &[(i64, Vec<Vec<u8>>)]) -> Vec<RtpPacket> {
    let mut out = Vec::new();
    for (time, payloads) in pictures {
        for (at, payload) in payloads.iter().enumerate() {
            out.push(RtpPacket {
                time: MediaTime::new(*time * 3000, Timescale::VIDEO),
                payload: payload.clone().into(),
                marker: at + 1 == payloads.len(),
                ..packet(out.len() as u64)
            });
        }
    }
    out
}

fn key(length: usize) -> Vec<Vec<u8>> {
    let mut payloads = vec![aggregate(&[unhex(VPS), unhex(MAIN), unhex(PPS)])];
    payloads.extend(fragments(&nal(IDR, length), 1000));
    payloads
}

fn stream() -> Vec<RtpPacket> {
    packets(&[
        (0, key(2500)),
        (1, vec![nal(TRAIL_R, 40)]),
        (2, fragments(&nal(TRAIL_N, 1500), 1000)),
        (3, vec![unhex(VPS), unhex(MAIN), unhex(PPS), vec![0x46, 0x01, 0x50], nal(IDR, 90)]),
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
fn units_come_out_whole_without_parameter_sets() {
    let (frames, losses) = joined(&stream());
    assert_eq!((times(&frames), losses), (vec![0, 1, 2, 3], Losses::default()));
    let said: Vec<(bool, bool)> = frames.iter().map(|frame| (frame.keyframe, frame.discardable)).collect();
    assert_eq!(said, [(true, false), (false, false), (false, true), (true, false)]);
    assert_eq!(frames[0].data, [&2500u32.to_be_bytes()[..], &nal(IDR, 2500)].concat());
    assert_eq!(frames[2].data, [&1500u32.to_be_bytes()[..], &nal(TRAIL_N, 1500)].concat());
    assert_eq!(frames[3].data.len(), 94, "no delimiter");
    assert_eq!(frames[0].config.rfc6381(), "hvc1.1.6.L60.90");
    assert!(std::sync::Arc::ptr_eq(&frames[0].config, &frames[3].config), "one config while nothing changes");
}

#[test]
fn any_lost_packet_costs_frames_up_to_the_next_keyframe_only() {
    let all = stream();
    assert_eq!(all.len(), 12);
    for (lost, left) in [
        (0..4, vec![3]),
        (4..5, vec![0, 3]),
        (5..7, vec![0, 1, 3]),
        // The VPS, which is known already.
        (7..8, vec![0, 1, 2, 3]),
        (8..12, vec![0, 1, 2]),
    ] {
        for lost in lost {
            let mut some = all.clone();
            some.remove(lost);
            assert_eq!(times(&joined(&some).0), left, "packet {lost}");
        }
    }
}

#[test]
fn what_was_not_negotiated_is_refused() {
    for payload in [
        vec![0x64, 0x01, 0, 0, 0],
        vec![0x62, 0x01, FU_START | 33, 1, 2],
        vec![0x62, 0x01, 1, 1, 2],
        vec![0x62, 0x01],
        vec![0x60, 0x01, 0, 9, 1],
        vec![0x02],
        nal([0x02, 0x01, 0x50], 9),
        nal([0x02, 0x01, 0xa0], 9),
    ] {
        let pictures = [(0, key(90)), (1, vec![payload.clone()]), (2, vec![nal(TRAIL_R, 9)]), (3, key(90))];
        let (frames, losses) = joined(&packets(&pictures));
        assert_eq!((times(&frames), losses.refused, losses.frames), (vec![0, 3], 1, 2), "{payload:?}");
    }
}

#[test]
fn layers_above_the_base_are_left_out() {
    let layered = [0x28, 0x09, 0xac];
    let (frames, _) = joined(&packets(&[(0, [key(90), vec![nal(layered, 50)]].concat())]));
    assert_eq!(frames[0].data.len(), 94);
}

#[test]
fn a_unit_without_end_is_bounded() {
    let mut payloads = key(90);
    payloads.truncate(1);
    payloads.push([&[0x62, 0x01, FU_START | 20, 0xac][..], &[0; 60_000]].concat());
    payloads.extend(std::iter::repeat_n([&[0x62, 0x01, 20][..], &[0; 60_000]].concat(), 200));
    let (frames, losses) = joined(&packets(&[(0, payloads)]));
    assert!(frames.is_empty() && losses.refused == 1);
}
