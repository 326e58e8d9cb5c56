//! Publishers of the codecs that no client at hand encodes over WebRTC: real streams in packets of our making.

use media::{Codec, Frame, Kind, Rid, RtpPacket};
use str0m::RtcConfig;

use super::world::{World, drain};

/// Eight frames of 128x128, a keyframe every fourth, parameter sets before each, made by x265.
const TINY_H265: &[u8] = include_bytes!("../../../../tests/fixtures/tiny.h265");
const H265_VPS: u8 = 32;
const H265_SLICE_LAST: u8 = 31;

/// The NAL units between start codes.
fn nal_units(stream: &'static [u8]) -> Vec<&'static [u8]> {
    let starts: Vec<usize> =
        (0..stream.len() - 2).filter(|at| stream[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    // The zero byte in front of a four-byte start code is not the unit's.
    let unit = |(start, end): (&usize, usize)| {
        let unit = &stream[start + 3..end];
        unit.strip_suffix(&[0]).unwrap_or(unit)
    };
    starts.iter().zip(ends).map(unit).collect()
}

fn unit_type(unit: &[u8]) -> u8 {
    unit[0] >> 1 & 0x3f
}

/// Payloads of one access unit: its parameter sets together, a large slice in fragments (RFC 7798 section 4.4).
fn payloads(units: &[&[u8]]) -> Vec<Vec<u8>> {
    let (slices, sets): (Vec<&[u8]>, Vec<&[u8]>) =
        units.iter().partition(|it| unit_type(it) <= H265_SLICE_LAST);
    let mut payloads = Vec::new();
    if !sets.is_empty() {
        let sized = sets.iter().map(|set| [&(set.len() as u16).to_be_bytes()[..], set].concat());
        payloads.push([&[0x60, 0x01][..], &sized.collect::<Vec<_>>().concat()].concat());
    }
    for slice in slices {
        let pieces: Vec<&[u8]> = slice[2..].chunks(400).collect();
        if pieces.len() == 1 {
            payloads.push(slice.to_vec());
            continue;
        }
        for (index, piece) in pieces.iter().enumerate() {
            let flags = u8::from(index == 0) << 7 | u8::from(index + 1 == pieces.len()) << 6;
            payloads.push([&[0x62, slice[1], flags | unit_type(slice)], *piece].concat());
        }
    }
    payloads
}

/// A frame as it stands in the frame face.
fn length_prefixed(units: &[&[u8]]) -> Vec<u8> {
    let slices = units.iter().filter(|unit| unit_type(unit) <= H265_SLICE_LAST);
    slices.flat_map(|slice| [&(slice.len() as u32).to_be_bytes()[..], slice].concat()).collect()
}

#[test]
fn h265_goes_on_as_it_came_and_comes_out_of_the_frame_face() {
    let h265 = |config: RtcConfig| config.clear_codecs().enable_h265(true);
    let mut world = World::new(h265, false);
    world.connect();
    let video = world.video.unwrap();
    let track = world.track(Kind::Video);
    assert_eq!(track.codec(), Codec::H265);
    let mut frames = track.read::<Frame>(&Rid::single());
    let mut packets = track.read::<RtpPacket>(&Rid::single());
    let mut pictures: Vec<Vec<&[u8]>> = Vec::new();
    for unit in nal_units(TINY_H265) {
        let begins = unit_type(unit) == H265_VPS
            || (unit_type(unit) <= H265_SLICE_LAST
                && pictures.last().is_none_or(|it| it.iter().any(|unit| unit_type(unit) <= H265_SLICE_LAST)));
        if begins {
            pictures.push(Vec::new());
        }
        pictures.last_mut().unwrap().push(unit);
    }
    assert_eq!(pictures.len(), 8);
    let mut sent = Vec::new();
    let (mut seq, mut time) = (10, 90_000);
    for picture in &pictures {
        let payloads = payloads(picture);
        for (at, payload) in payloads.iter().enumerate() {
            world.send(video, seq, time, at + 1 == payloads.len(), payload);
            seq += 1;
        }
        sent.extend(payloads);
        time += 3600;
        world.run_for(40);
    }
    world.run_for(1000);
    let (frames, packets) = (drain!(frames), drain!(packets));
    let arrived: Vec<&[u8]> = packets.iter().map(|packet| &packet.payload[..]).collect();
    assert_eq!(arrived, sent, "forwarded as they are");
    let starts: Vec<bool> = packets.iter().filter(|it| it.frame_start).map(|it| it.starts_keyframe).collect();
    let keyframes: Vec<bool> = (0..8).map(|at| at % 4 == 0).collect();
    assert_eq!(starts, keyframes);
    assert_eq!(frames.iter().map(|frame| frame.keyframe).collect::<Vec<_>>(), keyframes);
    for (frame, picture) in frames.iter().zip(&pictures) {
        assert_eq!(frame.data, length_prefixed(picture));
    }
    let info = track.layers()[0].info();
    assert_eq!(info.size, Some((128, 128)));
    assert!(info.codecs.as_deref().is_some_and(|it| it.starts_with("hvc1.1.6.L")), "{info:?}");
}
