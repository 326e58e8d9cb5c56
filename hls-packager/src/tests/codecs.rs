//! H.265, VP9 and AV1 in fMP4: real encoders in, a real decoder out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::av1::{Obu, obu};
use media::h264::AnnexB;
use media::{Codec, CodecConfig, Frame, Kind, MediaTime, StreamId, Timescale, av1, h265, vp9};

use super::files::{decoded, ffmpeg};
use super::sim::Sim;
use super::source::Source;
use crate::name::Name;
use crate::probe::Expected;
use crate::variant;

const FPS: i64 = 25;
const FRAMES: usize = 150;

/// What a codec's frames and parameters are made of.
struct Unit {
    data: Bytes,
    keyframe: bool,
    config: Option<CodecConfig>,
}

#[test]
fn hls_v03_m06_h265_vp9_and_av1_are_carried_and_decoded() {
    for (codec, encoder, codecs) in [
        (Codec::H265, &["-c:v", "libx265", "-preset", "ultrafast", "-bf", "0"][..], "hvc1.1."),
        (Codec::Vp9, &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"], "vp09.00.11.08"),
        (Codec::Av1, &["-c:v", "libsvtav1", "-preset", "12"], "av01.0."),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let units = encode(codec, encoder, dir.path());
        assert_eq!(units.len(), FRAMES, "{codec:?}");
        let expected = Expected { video: true, audio: true, settled: true, keyframes_on_request: false };
        let mut sim = Sim::new(expected);
        let mut all = frames(units, &sim);
        let sound = Source { video: false, seconds: 6.0, ..Source::default() }.frames(sim.origin);
        all.extend(sound.into_iter().map(|(kind, frame)| {
            (
                kind,
                Frame {
                    arrival: sim.origin + Duration::from_micros(frame.dts.as_micros() as u64 + 1_000_000),
                    ..frame
                },
            )
        }));
        all.sort_by_key(|(_, frame)| frame.arrival);
        sim.feed_frames(all);
        sim.finish();
        let id = StreamId::parse("s0000000000001").expect("an id");
        let variants = variant::multivariant(&sim.presentation, id).variants;
        let listed: Vec<_> = variants.iter().map(|variant| variant.codecs.len()).collect();
        assert_eq!(listed, [2, 1], "for players that do not decode it: sound alone");
        let rendition = sim.presentation.rendition(Name::VIDEO).expect("video");
        let config = rendition.config().expect("known");
        assert!(config.rfc6381().starts_with(codecs), "{}", config.rfc6381());
        assert_eq!(config.size(), Some((320, 180)), "{codec:?}");
        assert!(sim.presentation.all_independent(), "{codec:?}");
        assert_eq!(decoded(&sim, Name::VIDEO, dir.path()), FRAMES, "{codec:?}");
    }
}

fn frames(units: Vec<Unit>, sim: &Sim) -> Vec<(Kind, Frame)> {
    let mut config = None;
    let numbered = units.into_iter().zip(0_i64..);
    numbered
        .map(|(unit, n)| {
            config = unit.config.map(Arc::new).or(config.take());
            let dts = MediaTime::new(n * 90_000 / FPS, Timescale::VIDEO);
            let frame = Frame {
                dts,
                pts: dts,
                duration: 0,
                keyframe: unit.keyframe,
                discardable: false,
                data: unit.data,
                config: config.clone().expect("the first frame says what it is"),
                epoch: 0,
                arrival: sim.origin + Duration::from_micros((dts.as_micros() + 1_000_000) as u64),
            };
            (Kind::Video, frame)
        })
        .collect()
}

fn encode(codec: Codec, encoder: &[&str], dir: &Path) -> Vec<Unit> {
    let path = dir.join(if codec == Codec::H265 { "clip.h265" } else { "clip.ivf" });
    let picture = format!("testsrc2=s=320x180:r={FPS}:d=6");
    ffmpeg(|command| {
        command.args(["-f", "lavfi", "-i", &picture, "-pix_fmt", "yuv420p", "-g", "50"]).args(encoder);
        if codec == Codec::H265 {
            command.args(["-x265-params", "aud=1:scenecut=0:open-gop=0:log-level=none"]);
        }
        command.arg(&path);
    });
    let bytes = std::fs::read(&path).expect("a clip");
    match codec {
        Codec::H265 => h265_units(&bytes),
        Codec::Vp9 => ivf(&bytes).map(vp9_unit).collect(),
        _ => ivf(&bytes).map(av1_unit).collect(),
    }
}

/// The frames of an IVF file: 32 bytes of header, then 12 before each frame.
fn ivf(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &file[32..];
    std::iter::from_fn(move || {
        let (size, _) = rest.split_first_chunk()?;
        let (frame, tail) = rest[12..].split_at(u32::from_le_bytes(*size) as usize);
        rest = tail;
        Some(frame)
    })
}

fn vp9_unit(frame: &[u8]) -> Unit {
    let config = match vp9::FrameHeader::parse(frame).expect("VP9") {
        vp9::FrameHeader::Key(config) => Some(CodecConfig::Vp9(config.expect("whole"))),
        vp9::FrameHeader::Inter => None,
    };
    Unit { data: Bytes::copy_from_slice(frame), keyframe: config.is_some(), config }
}

/// MP4 leaves the temporal delimiter out.
fn av1_unit(frame: &[u8]) -> Unit {
    let data = frame.strip_prefix(&[0x12, 0x00]).expect("a temporal delimiter");
    let first = Obu::parse(data).expect("an OBU");
    let config = (first.kind == obu::kind::SEQUENCE_HEADER).then(|| {
        CodecConfig::Av1(av1::Config::from_sequence_header(first.payload).expect("a sequence header"))
    });
    Unit { data: Bytes::copy_from_slice(data), keyframe: config.is_some(), config }
}

fn h265_units(stream: &[u8]) -> Vec<Unit> {
    let mut sets = h265::ParameterSets::default();
    let mut units: Vec<Unit> = Vec::new();
    for nal in AnnexB::new(stream) {
        let (header, _) = h265::NalHeader::split(nal).expect("a header");
        if header.unit_type() == h265::unit_type::AUD {
            units.push(Unit { data: Bytes::new(), keyframe: false, config: None });
        } else if !sets.insert(nal) {
            let unit = units.last_mut().expect("a delimiter first");
            let mut data = unit.data.to_vec();
            data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            data.extend_from_slice(nal);
            unit.data = data.into();
            unit.keyframe |= header.is_random_access();
            unit.config = sets.activate(0).map(|config| (**config).clone());
        }
    }
    units
}
