//! Whatever bytes a peer sends: parsers return, and what they return is bounded.
//!
//! Seeded mutations of valid samples. A failure prints the seed and the number of the case; `SEED` and `FIRST`
//! below repeat it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::h264::{self, AccessUnit, AnnexB, Avcc, LengthPrefixed, ParameterSets, SliceHeader, Sps};
use media::rtp::inspector::Announced;
use media::rtp::{Depacketizer, Inspector, Packetizer, Reorder, TimestampUnwrapper};
use media::rtp::{av1::AggregationHeader, unwrap::SeqUnwrapper, vp8, vp9::Descriptor};
use media::{Codec, CodecConfig, Frame, MediaTime, RtpPacket, Timescale, aac, av1, h265, opus, vp9};

const SEED: u64 = 0x5357_4946_5457_4154;
const FIRST: u64 = 0;
const CASES: u64 = 30_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Says how to repeat a failure.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {SEED:#x}, case {}", self.0);
        }
    }
}

/// Runs `check` on mutated samples.
fn mutate(samples: &[Vec<u8>], mut check: impl FnMut(&mut Random, Vec<u8>)) {
    for number in FIRST..FIRST + CASES {
        let _case = Case(number);
        let mut random = Random(SEED ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut data = samples[random.below(samples.len())].clone();
        for _ in 0..random.below(6) {
            let at = random.below(data.len());
            match random.below(6) {
                0 => data.truncate(at),
                1 => data.insert(at, random.next() as u8),
                2 if !data.is_empty() => drop(data.remove(at)),
                3 if !data.is_empty() => data[at] ^= 1 << random.below(8),
                4 if !data.is_empty() => data[at] = [0, 0xff, 0x80, 0x7f][random.below(4)],
                _ => data.extend((0..random.below(20)).map(|_| random.next() as u8)),
            }
        }
        if random.below(10) == 0 {
            data = (0..random.below(200)).map(|_| random.next() as u8).collect();
        }
        check(&mut random, data);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn sps() -> Vec<Vec<u8>> {
    [
        "6742c00ad90426c044000003000400000300c83c489920",
        "6764001facd9405005bb0110000003001000000303c0f1831960",
        "674d402ad900780227e5c044000003000400000301e23c60c920",
        "677a000cbcd941419f8dc044000003000400000300c83c50a658",
        "6764001eacd940b424d8088000000300800000190f8a14cb",
    ]
    .map(unhex)
    .into()
}

fn pps() -> Vec<u8> {
    unhex("68ebe3cb22c0")
}

fn config(sps: &[u8]) -> h264::Config {
    h264::Config::from_parameter_sets(vec![Bytes::copy_from_slice(sps)], vec![pps().into()]).expect("valid")
}

#[test]
fn sequence_parameter_sets() {
    mutate(&sps(), |_, data| {
        if let Ok(sps) = Sps::parse(&data) {
            assert!(sps.width > 0 && sps.height > 0);
            assert!(sps.frame_rate.is_none_or(|rate| rate.is_finite() && rate > 0.0));
        }
        let _ = SliceHeader::parse(&data);
        let mut sets = ParameterSets::default();
        sets.insert(&data);
        sets.insert(&pps());
        if let Some(config) = sets.activate(0) {
            let CodecConfig::H264(config) = &**config else { unreachable!("H.264 makes H.264") };
            if let Some(record) = config.to_avcc() {
                assert_eq!(h264::Config::from_avcc(&record).as_ref(), Ok(config));
            }
        }
    });
}

#[test]
fn decoder_configuration_records() {
    let samples: Vec<_> = sps().iter().map(|sps| config(sps).to_avcc().expect("fits").to_vec()).collect();
    mutate(&samples, |_, data| {
        let _ = Avcc::parse(&data);
        if let Ok(config) = h264::Config::from_avcc(&data) {
            let _ = (config.rfc6381(), config.to_avcc(), config.first_sps());
        }
    });
}

fn vp9_keyframe() -> Vec<u8> {
    unhex("824983420013f00b360638241c184200")
}

fn av1_sequence() -> Vec<u8> {
    unhex("000000043cfeccdaf90040")
}

/// VPS, SPS and PPS of H.265.
fn h265_sets() -> Vec<Vec<u8>> {
    [
        "40010c01ffff01600000030090000003000003003cba0240",
        "42010101600000030090000003000003003ca00a080c1f3e5ba4a4c2f0168080000003008000000c84",
        "42010201600000030090000003000003003f0000a005020171f2e5ba22494985e02d010000030001000003001e08",
        "4401c073c189",
    ]
    .map(unhex)
    .into()
}

#[test]
fn headers_of_the_other_codecs() {
    mutate(&[vp9_keyframe(), unhex("924983420009f8059b031c120e0c2900")], |_, data| {
        if let Some(vp9::FrameHeader::Key(Some(config))) = vp9::FrameHeader::parse(&data) {
            assert!(config.width > 0 && config.height > 0);
            assert!(config.rfc6381().len() == "vp09.00.11.08".len());
        }
    });
    mutate(&[av1_sequence(), unhex("20000042abbfc3776be481010088")], |_, data| {
        if let Ok(config) = av1::Config::from_sequence_header(&data) {
            let written = av1::Obu::parse(&config.sequence_header).expect("what we write, we can read");
            assert_eq!(written.payload, data);
            assert!(config.sequence.width > 0 && config.rfc6381().starts_with("av01."));
        }
        let _ = av1::Obu::parse(&data);
    });
    mutate(&h265_sets(), |_, data| {
        if let Ok(sps) = h265::Sps::parse(&data) {
            assert!(sps.width > 0 && sps.height > 0 && sps.profile.rfc6381().starts_with("hvc1."));
        }
        let mut sets = h265::ParameterSets::default();
        sets.insert(&data);
        for set in h265_sets() {
            sets.insert(&set);
        }
        let _ = sets.activate(0);
    });
}

/// Payloads of VP9, AV1 and H.265 that are whole pictures.
fn other_payloads() -> Vec<Vec<u8>> {
    let sequence = av1_sequence();
    let sets = h265_sets();
    let mut aggregate = vec![0x60, 0x01];
    for set in [&sets[0], &sets[1], &sets[3]] {
        aggregate.extend((set.len() as u16).to_be_bytes());
        aggregate.extend(set);
    }
    vec![
        [&unhex("ae810200091802800168010401")[..], &vp9_keyframe()].concat(),
        [&[0xcc, 0x03][..], &unhex("86004092f0a1250001047fbc5b634cfc")].concat(),
        [&[0x28, 1 + sequence.len() as u8, 0x08][..], &sequence, &[0x30, 0x10, 1, 2, 3]].concat(),
        vec![0x50, 0x34, 0x20, 0x30, 5],
        vec![0x90, 6, 7, 8],
        aggregate,
        vec![0x62, 0x01, 0x80 | 20, 0xac, 1, 2, 3],
        vec![0x62, 0x01, 0x40 | 20, 4, 5],
        vec![0x02, 0x01, 0xd0, 1],
    ]
}

#[test]
fn access_units() {
    let mut annex_b = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 1];
    annex_b.extend(&sps()[0]);
    annex_b.extend([0, 0, 0, 1, 0x65, 0x88, 0x80, 1, 2, 3, 0, 0, 1, 0x41, 0x9a, 0, 0]);
    let prefixed = vec![0, 0, 0, 3, 0x65, 0x88, 0x80, 0, 0, 0, 2, 0x06, 5, 0, 0, 0, 0];
    mutate(&[annex_b, prefixed], |random, data| {
        let whole: usize = AnnexB::new(&data).map(<[u8]>::len).sum();
        assert!(whole <= data.len());
        let length_size = random.below(6) as u8;
        let whole: usize = LengthPrefixed::new(&data, length_size).flatten().map(<[u8]>::len).sum();
        assert!(whole <= data.len());
        for unit in [
            AccessUnit::from_annex_b(&data),
            AccessUnit::from_length_prefixed(Bytes::from(data.clone()), length_size),
        ] {
            let Ok(unit) = unit else { continue };
            assert!(LengthPrefixed::new(&unit.data, 4).all(|nal| nal.is_ok()), "what we write, we can read");
            h264::write_annex_b(&unit.data, None, &mut Vec::new());
        }
    });
}

#[test]
fn sound() {
    let samples = [
        vec![0x12, 0x10],
        vec![0x2b, 0x11, 0x88, 0x00],
        vec![0x17, 0x80, 0x56, 0x22, 0x10],
        vec![0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 0xaa, 0xbb],
        vec![0xfb, 0xc6, 1, 2],
        opus::Config::default().opus_head().to_vec(),
    ];
    mutate(&samples, |_, data| {
        if let Ok(config) = aac::Config::parse(&data) {
            assert!((1..=8).contains(&config.channels) && config.sample_rate > 0);
        }
        if let Some(frame) = aac::AdtsFrame::parse(&data) {
            assert!(frame.data.len() + frame.rest.len() <= data.len());
        }
        let samples = opus::packet_samples(&data).unwrap_or(1);
        assert!((1..=opus::PACKET_SAMPLES_MAX).contains(&samples));
        let _ = opus::Config::from_opus_head(&data);
    });
}

/// Streams of mutated packets, in any order, with any numbers.
#[test]
fn packets_of_every_codec() {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; tests only add to it"
    )]
    let start = Instant::now();
    let mut data = Vec::new();
    for length in [1_500u32, 40, 4_000] {
        data.extend(length.to_be_bytes());
        data.extend(std::iter::repeat_n(0x9a, length as usize));
        let header = data.len() - length as usize;
        data[header] = 0x65;
    }
    let time = MediaTime::zero(Timescale::VIDEO);
    let frame = Frame {
        dts: time,
        pts: time,
        duration: 0,
        keyframe: true,
        discardable: false,
        data: data.into(),
        config: Arc::new(CodecConfig::H264(config(&sps()[0]))),
        epoch: 0,
        arrival: start,
    };
    let mut packets = Vec::new();
    Packetizer::for_codec(Codec::H264).expect("has RTP").packetize(&frame, false, &mut packets);
    let mut samples: Vec<Vec<u8>> = packets.iter().map(|packet| packet.payload.to_vec()).collect();
    samples
        .push(vec![0xb0, 0xf0, 0x81, 0x02, 0x09, 0x65, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 2, 0x68, 1]);
    samples.push(vec![0xfc, 1, 2, 3]);
    samples.extend(other_payloads());
    let codecs = [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::Aac];
    for codec in codecs {
        let mut depacketizer = Depacketizer::for_codec(codec);
        let mut inspector = Inspector::for_codec(codec);
        let (mut seqs, mut times) = (SeqUnwrapper::new(), TimestampUnwrapper::new());
        let (mut reorder, mut now, mut frames) = (Reorder::default(), start, Vec::new());
        let (mut seq, mut timestamp) = (0u32, 0u32);
        mutate(&samples, |random, payload| {
            now += Duration::from_millis(random.below(3) as u64);
            seq = if random.below(50) == 0 { random.next() as u32 } else { seq.wrapping_add(1) };
            timestamp = if random.below(5) == 0 { random.next() as u32 } else { timestamp };
            let unwrapped = times.unwrap(timestamp);
            let marker = random.below(4) == 0;
            let flags = inspector.inspect(unwrapped, marker, &payload);
            let _ = (Announced::read(codec, &payload), vp8::Descriptor::parse(&payload));
            assert!(Descriptor::parse(&payload).is_none_or(|it| it.length <= payload.len()));
            let elements = AggregationHeader::parse(&payload).map_or(0, |(_, elements)| elements.count());
            assert!(elements <= payload.len());
            reorder.push(RtpPacket {
                seq: seqs.unwrap(seq),
                time: MediaTime::new(unwrapped as i64, Timescale::VIDEO),
                lag_micros: 0,
                payload: payload.into(),
                marker,
                frame_start: flags.frame_start,
                starts_keyframe: flags.starts_keyframe,
                discardable: flags.discardable,
                reorders: false,
                temporal_id: flags.temporal_id,
                epoch: (random.below(1000) == 0).into(),
                arrival: now,
            });
            while let (Some(packet), Some(depacketizer)) = (reorder.pop(now), &mut depacketizer) {
                depacketizer.depacketize(&packet, &mut frames);
            }
            for frame in frames.drain(..) {
                assert!(frame.data.len() <= h264::ACCESS_UNIT_BYTES_MAX);
                assert_eq!(frame.config.codec(), codec);
                if matches!(codec, Codec::H264 | Codec::H265) {
                    assert!(LengthPrefixed::new(&frame.data, 4).all(|nal| nal.is_ok()));
                }
            }
        });
    }
}
