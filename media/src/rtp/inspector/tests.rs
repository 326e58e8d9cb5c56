use super::*;
use crate::av1::tests::SEQUENCE_8_BIT;
use crate::bits::tests::unhex;
use crate::h264::sps_for_tests::BASELINE;
use crate::h265::sps_for_tests::MAIN;
use crate::vp9::tests::KEY_8_BIT;

const SLICE: u8 = 0b1001_1010;
/// first_mb_in_slice = 9
const LATER_SLICE: u8 = 0b0001_0100;

#[test]
fn h264_frames_begin_where_they_begin() {
    let mut inspector = Inspector::for_codec(Codec::H264);
    for (what, timestamp, payload, start, keyframe, discardable) in [
        ("parameter sets", 0, &[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 1][..], true, true, false),
        ("IDR start", 0, &[0x7c, 0x85, SLICE], false, false, false),
        ("IDR end", 0, &[0x7c, 0x45, 9], false, false, false),
        ("P", 3000, &[0x41, SLICE], true, false, false),
        ("P, second slice", 3000, &[0x41, LATER_SLICE], false, false, false),
        ("B, fragmented", 6000, &[0x1c, 0x81, SLICE], true, false, true),
        ("B, its middle", 6000, &[0x1c, 0x01, SLICE], false, false, true),
        ("late end of the IDR", 0, &[0x7c, 0x45, 9], false, false, false),
        ("late start of it", 0, &[0x7c, 0x85, SLICE], false, false, false),
        ("B, its end", 6000, &[0x1c, 0x41, SLICE], false, false, true),
        ("padding", 0, &[], false, false, false),
        ("IDR without parameter sets", 9000, &[0x65, SLICE], true, true, false),
        ("its second slice", 9000, &[0x65, LATER_SLICE], false, false, false),
        ("middle whose beginning is lost", 12_000, &[0x5c, 0x01, 1], false, false, false),
        ("delimiter", 15_000, &[0x09, 0x10], true, false, false),
        ("SPS behind it", 15_000, &[0x67, 0x42], false, true, false),
        ("PPS", 15_000, &[0x68, 0x42], false, false, false),
    ] {
        let flags = inspector.inspect(timestamp, false, payload);
        let expected = Flags { frame_start: start, starts_keyframe: keyframe, discardable, temporal_id: 0 };
        assert_eq!(flags, expected, "{what}");
    }
}

#[test]
fn vp8_says_it_in_its_descriptor() {
    let mut inspector = Inspector::for_codec(Codec::Vp8);
    for (payload, frame_start, starts_keyframe, discardable, temporal_id) in [
        (&[0x10, 0x00][..], true, true, false, 0),
        (&[0x10, 0x01], true, false, false, 0),
        (&[0x00, 0x00], false, false, false, 0),
        (&[0x11, 0x00], false, false, false, 0),
        (&[0xb0, 0x20, 0x80, 0x01], true, false, true, 2),
    ] {
        let flags = inspector.inspect(0, false, payload);
        assert_eq!(flags, Flags { frame_start, starts_keyframe, discardable, temporal_id }, "{payload:?}");
    }
}

#[test]
fn h265_frames_begin_where_they_begin() {
    let mut inspector = Inspector::for_codec(Codec::H265);
    for (what, timestamp, payload, start, keyframe, discardable, temporal_id) in [
        ("parameter sets", 0, &[0x60, 1, 0, 2, 0x40, 1, 0, 3, 0x42, 1, 1][..], true, true, false, 0),
        ("IDR start", 0, &[0x62, 1, 0x80 | 20, 0xac], false, false, false, 0),
        ("IDR end", 0, &[0x62, 1, 0x40 | 20, 9], false, false, false, 0),
        ("P", 3000, &[0x02, 1, 0xd0], true, false, false, 0),
        ("P, second slice", 3000, &[0x02, 1, 0x50], false, false, false, 0),
        ("B, fragmented", 6000, &[0x62, 1, 0x80, 0xd0], true, false, true, 0),
        ("B, its middle", 6000, &[0x62, 1, 0, 1], false, false, true, 0),
        ("late end of the IDR", 0, &[0x62, 1, 0x40 | 20, 9], false, false, false, 0),
        ("upper sub-layer", 9000, &[0x00, 2, 0xd0], true, false, true, 1),
        ("lower one, on which it may rest", 12_000, &[0x00, 1, 0xd0], true, false, false, 0),
        ("CRA without parameter sets", 15_000, &[0x2a, 1, 0xac], true, true, false, 0),
        ("middle whose beginning is lost", 18_000, &[0x62, 1, 1, 1], false, false, false, 0),
        ("delimiter", 21_000, &[0x46, 1, 0x50], true, false, false, 0),
        ("VPS behind it", 21_000, &[0x40, 1, 0x0c], false, true, false, 0),
        ("SPS", 21_000, &[0x42, 1, 0x01], false, false, false, 0),
        ("cut off", 24_000, &[0x42], false, false, false, 0),
    ] {
        let flags = inspector.inspect(timestamp, false, payload);
        let expected = Flags { frame_start: start, starts_keyframe: keyframe, discardable, temporal_id };
        assert_eq!(flags, expected, "{what}");
    }
}

#[test]
fn av1_frames_begin_where_they_begin() {
    let mut inspector = Inspector::for_codec(Codec::Av1);
    for (what, timestamp, payload, frame_start, starts_keyframe, temporal_id) in [
        ("sequence header and key frame, N", 0, &[0x28, 2, 0x08, 0, 0x30, 0x10][..], true, true, 0),
        ("its rest", 0, &[0x90, 1, 2], false, false, 0),
        ("its next tiles", 0, &[0x10, 0x20, 2], false, false, 0),
        ("frame of layer 1", 3000, &[0x50, 0x34, 0x20, 0x30], true, false, 1),
        ("its rest", 3000, &[0x90, 0x34], false, false, 1),
        ("key frame of a sender that says no N", 6000, &[0x20, 2, 0x08, 0, 0x30, 0x10], true, true, 0),
        ("sequence header repeated", 9000, &[0x20, 2, 0x08, 0, 0x30, 0x30], true, false, 0),
        ("key frame that is not shown", 12_000, &[0x20, 2, 0x08, 0, 0x30, 0x00], true, false, 0),
        ("its beginning is lost", 15_000, &[0x90, 0x30, 0x10], false, false, 0),
    ] {
        let flags = inspector.inspect(timestamp, false, payload);
        let expected = Flags { frame_start, starts_keyframe, discardable: false, temporal_id };
        assert_eq!(flags, expected, "{what}");
    }
}

#[test]
fn vp9_says_it_in_its_descriptor() {
    let mut inspector = Inspector::for_codec(Codec::Vp9);
    for (what, payload, frame_start, starts_keyframe, temporal_id) in [
        ("keyframe", &[0x88, 0x01, 0x82, 0x49][..], true, true, 0),
        ("its end", &[0x84, 0x01, 0x82], false, false, 0),
        ("inter picture", &[0xcc, 0x02, 0x86], true, false, 0),
        ("inter picture of a sender that says no P", &[0x0c, 0x86], true, false, 0),
        ("temporal layer 1", &[0xec, 0x02, 0x20, 0x05, 0x86], true, false, 1),
        ("spatial layer 1 of a keyframe", &[0xac, 0x02, 0x03, 0x05, 0x82], false, false, 0),
        ("cut off", &[0xec], false, false, 0),
    ] {
        let flags = inspector.inspect(0, false, payload);
        assert_eq!(flags, Flags { frame_start, starts_keyframe, discardable: false, temporal_id }, "{what}");
    }
}

#[test]
fn keyframes_tell_what_the_stream_is() {
    let sps = unhex(BASELINE);
    let vp8 = [0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    let vp9 = unhex(KEY_8_BIT);
    let h265 = unhex(MAIN);
    let av1 = unhex(SEQUENCE_8_BIT);
    let length = |data: &[u8]| data.len() as u8;
    for (codec, payload, told) in [
        (
            Codec::H264,
            [&[0x78, 0, length(&sps)][..], &sps, &[0, 2, 0x68, 1]].concat(),
            Some(((64, 64), "avc1.42c00a")),
        ),
        (Codec::H264, sps.clone(), Some(((64, 64), "avc1.42c00a"))),
        (Codec::H264, vec![0x65, 1], None),
        (Codec::Vp8, vp8.to_vec(), Some(((640, 360), "vp8"))),
        (Codec::Vp8, [&[0x00][..], &vp8[1..]].concat(), None),
        (Codec::Vp9, [&[0x0c][..], &vp9].concat(), Some(((320, 180), "vp09.00.11.08"))),
        // Two spatial layers: the size of the higher one.
        (
            Codec::Vp9,
            [&[0x0e, 0x30, 1, 64, 0, 180, 2, 128, 1, 104][..], &vp9].concat(),
            Some(((640, 360), "vp09.00.21.08")),
        ),
        (Codec::Vp9, [&[0x04][..], &vp9].concat(), None),
        (
            Codec::H265,
            [&[0x60, 1, 0, 3, 0x40, 1, 0, 0, length(&h265)][..], &h265].concat(),
            Some(((320, 180), "hvc1.1.6.L60.90")),
        ),
        (Codec::H265, h265.clone(), Some(((320, 180), "hvc1.1.6.L60.90"))),
        (Codec::H265, vec![0x40, 1, 0x0c], None),
        (
            Codec::Av1,
            [&[0x28, 1 + length(&av1), 0x08][..], &av1, &[0x30, 0x10]].concat(),
            Some(((320, 180), "av01.0.00M.08")),
        ),
        (Codec::Av1, vec![0x10, 0x30, 0x10], None),
        (Codec::Opus, vec![0xfc, 1], None),
    ] {
        let read = Announced::read(codec, &payload);
        let read = read.as_ref().map(|it| (it.size, it.codecs.as_str()));
        assert_eq!(read, told, "{codec:?} {payload:x?}");
    }
}
