use super::*;

/// What a descriptor says: PictureID with its number of bits, TL0PICIDX, KEYIDX.
type Said = (Option<(u16, u8)>, Option<u8>, Option<u8>);

/// A VP8 payload with these ids, X and T set as Chromium does.
fn vp8_payload((picture, base, key): Said) -> Vec<u8> {
    let mut payload = vec![0x90, 0x20];
    if let Some((id, bits)) = picture {
        payload[1] |= 0x80;
        match bits {
            15 => payload.extend_from_slice(&(id | 0x8000).to_be_bytes()),
            _ => payload.push(id as u8),
        }
    }
    if let Some(base) = base {
        payload[1] |= 0x40;
        payload.push(base);
    }
    payload.push(0x60);
    if let Some(key) = key {
        payload[1] |= 0x10;
        *payload.last_mut().expect("TID") |= key;
    }
    payload.extend_from_slice(b"picture");
    payload
}

fn said(payload: &[u8]) -> Said {
    let descriptor = vp8::Descriptor::parse(payload).expect("a descriptor");
    assert_eq!((descriptor.temporal_id, descriptor.layer_sync), (1, true), "the rest stays");
    assert_eq!(&payload[descriptor.length..], b"picture");
    let bits = |offset: usize| if payload[offset] & 0x80 != 0 { 15 } else { 7 };
    (
        descriptor.picture_id.map(|field| (field.value, bits(field.offset))),
        descriptor.tl0_picture_index.map(|field| field.value),
        descriptor.key_index.map(|field| field.value),
    )
}

enum Step {
    /// Another source begins.
    Begin,
    /// A packet goes out under this index: what the source says, and what the viewer is told.
    Send(u64, Said, Said),
    /// A packet is left out; the next one goes out under this index.
    LeaveOut(u64, Said),
}

use Step::{Begin, LeaveOut, Send};

const fn full(picture: u16, base: u8, key: u8) -> Said {
    (Some((picture, 15)), Some(base), Some(key))
}

const fn short(picture: u16) -> Said {
    (Some((picture, 7)), None, None)
}

const NONE: Said = (None, None, None);

#[test]
fn ids_are_continuous() {
    let table: [(&str, Vec<Step>); 9] = [
        (
            "one source is left as it is",
            vec![
                Begin,
                Send(10, full(500, 7, 3), full(500, 7, 3)),
                Send(11, full(500, 7, 3), full(500, 7, 3)),
                Send(12, full(501, 8, 3), full(501, 8, 3)),
            ],
        ),
        (
            "the next source follows the last picture",
            vec![
                Begin,
                Send(10, full(500, 7, 3), full(500, 7, 3)),
                Send(11, full(501, 7, 3), full(501, 7, 3)),
                Begin,
                Send(12, full(30_000, 200, 9), full(502, 8, 4)),
                Send(13, full(30_001, 201, 9), full(503, 9, 4)),
                Begin,
                Send(14, full(3, 0, 0), full(504, 10, 5)),
            ],
        ),
        (
            "all of them wrap around in their own width",
            vec![
                Begin,
                Send(10, full(0x7fff, 255, 31), full(0x7fff, 255, 31)),
                Begin,
                Send(11, full(9, 9, 9), full(0, 0, 0)),
                Send(12, full(8, 8, 8), full(0x7fff, 255, 31)),
            ],
        ),
        (
            "7-bit ids",
            vec![
                Begin,
                Send(10, short(126), short(126)),
                Send(11, short(127), short(127)),
                Send(12, short(0), short(0)),
                Begin,
                Send(13, short(50), short(1)),
                Send(14, short(51), short(2)),
            ],
        ),
        (
            "a source that counts in another width",
            vec![
                Begin,
                Send(10, short(100), short(100)),
                Begin,
                Send(11, full(30_000, 1, 1), full(101, 1, 1)),
                Send(12, full(30_099, 1, 1), full(200, 1, 1)),
                Begin,
                Send(13, short(5), short(201 & 0x7f)),
            ],
        ),
        (
            "a source without ids in between",
            vec![
                Begin,
                Send(10, full(500, 7, 3), full(500, 7, 3)),
                Begin,
                Send(11, NONE, NONE),
                Send(12, NONE, NONE),
                Begin,
                Send(13, full(9, 9, 9), full(501, 8, 4)),
            ],
        ),
        (
            "a lost picture keeps its id, and gets it when it comes late",
            vec![
                Begin,
                Send(10, full(500, 7, 3), full(500, 7, 3)),
                Begin,
                Send(11, full(40, 1, 1), full(501, 8, 4)),
                Send(14, full(43, 3, 1), full(504, 10, 4)),
                Send(12, full(41, 1, 1), full(502, 8, 4)),
                Send(15, full(44, 4, 1), full(505, 11, 4)),
            ],
        ),
        (
            "pictures left out close up, once each, and what was sent before stays",
            vec![
                Begin,
                Send(10, full(500, 7, 3), full(500, 7, 3)),
                LeaveOut(11, full(501, 7, 3)),
                LeaveOut(11, full(501, 7, 3)),
                Send(11, full(502, 8, 3), full(501, 8, 3)),
                // The rest of a picture whose beginning was sent.
                LeaveOut(12, full(502, 8, 3)),
                LeaveOut(12, full(503, 8, 3)),
                LeaveOut(12, full(504, 8, 3)),
                // One lost at 12, one that came.
                Send(13, full(506, 9, 3), full(503, 9, 3)),
                Send(12, full(505, 9, 3), full(502, 9, 3)),
                Begin,
                Send(14, full(0, 0, 0), full(504, 10, 4)),
            ],
        ),
        (
            "left out before the first is none of the viewer's business",
            vec![Begin, LeaveOut(10, full(499, 7, 3)), Send(10, full(500, 7, 3), full(500, 7, 3))],
        ),
    ];
    for (what, steps) in table {
        let mut ids = PictureIds::default();
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Begin => ids.begin_source(),
                LeaveOut(next, said) => ids.leave_out(Codec::Vp8, next, &vp8_payload(said)),
                Send(index, source, expected) => {
                    let mut payload = vp8_payload(source);
                    assert!(ids.knows(index));
                    ids.rewrite(Codec::Vp8, index, &mut payload);
                    assert_eq!(said(&payload), expected, "{what}, index {index}");
                    sent.push((index, source, payload));
                }
            }
            for (index, source, before) in &sent {
                let mut again = vp8_payload(*source);
                ids.repeat(Codec::Vp8, *index, &mut again);
                assert_eq!(&again, before, "{what}: {index} again");
            }
        }
    }
}

/// A VP9 payload in non-flexible mode, as Chromium sends it.
fn vp9_payload(picture: u16, base: u8) -> Vec<u8> {
    let id = (picture | 0x8000).to_be_bytes();
    vec![0xe8, id[0], id[1], 0x00, base, 0x86]
}

/// References of VP9 are places in a group of pictures, or distances: what is left out must stay a gap.
#[test]
fn ids_of_vp9_follow_over_switches_and_keep_their_gaps() {
    let mut ids = PictureIds::default();
    let mut send = |index, picture, base, begins| {
        if begins {
            ids.begin_source();
        }
        let mut payload = vp9_payload(picture, base);
        ids.leave_out(Codec::Vp9, index, &vp9_payload(picture.wrapping_sub(1), base));
        ids.rewrite(Codec::Vp9, index, &mut payload);
        let mut again = vp9_payload(picture, base);
        ids.repeat(Codec::Vp9, index, &mut again);
        assert_eq!(again, payload);
        let said = vp9::Descriptor::parse(&payload).expect("a descriptor");
        (said.picture_id.map(|field| field.value), said.tl0_picture_index.map(|field| field.value))
    };
    assert_eq!(send(1, 0x7ffe, 254, true), (Some(0x7ffe), Some(254)));
    assert_eq!(send(2, 0x7fff, 255, false), (Some(0x7fff), Some(255)));
    assert_eq!(send(3, 300, 30, true), (Some(0), Some(0)));
    assert_eq!(send(4, 302, 31, false), (Some(2), Some(1)));
    let flexible = [0x90, 0x81, 0x2c, 0x86];
    let mut payload = flexible;
    ids.begin_source();
    ids.rewrite(Codec::Vp9, 5, &mut payload);
    assert_eq!(payload, [0x90, 0x80, 0x03, 0x86]);
}

#[test]
fn other_codecs_and_broken_descriptors_are_left_alone() {
    let mut ids = PictureIds::default();
    ids.begin_source();
    ids.rewrite(Codec::Vp8, 1, &mut vp8_payload(full(7, 7, 7)));
    ids.begin_source();
    for (codec, payload) in [
        (Codec::H264, &[0x90, 0x80, 0x81, 0x02][..]),
        (Codec::Opus, &[0x90, 0x80, 0x81, 0x02]),
        (Codec::Vp8, &[]),
        (Codec::Vp8, &[0x90]),
        (Codec::Vp8, &[0x90, 0x80, 0x81]),
        (Codec::Vp8, &[0x10, 0x00]),
        (Codec::Vp9, &[0x80, 0x80]),
        (Codec::Av1, &[0x90, 0x80, 0x81, 0x02]),
    ] {
        let mut same = payload.to_vec();
        ids.rewrite(codec, 2, &mut same);
        ids.repeat(codec, 2, &mut same);
        ids.leave_out(codec, 3, &same);
        assert_eq!(same, payload);
    }
}

#[test]
fn what_is_forgotten_is_said() {
    let mut ids = PictureIds::default();
    for index in 0..200 {
        ids.begin_source();
        ids.rewrite(Codec::Vp8, index, &mut vp8_payload(full(index as u16 * 90, 0, 0)));
    }
    assert!(ids.knows(199) && ids.knows(200 - PIECES_MAX as u64));
    assert!(!ids.knows(199 - PIECES_MAX as u64));
    assert_eq!(ids.pieces.len(), PIECES_MAX);
}
