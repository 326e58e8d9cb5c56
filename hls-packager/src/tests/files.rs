//! Names of files, and what a real decoder says about their contents.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use media::h264::{AccessUnit, AnnexB, ParameterSets};
use media::{CodecConfig, Frame, Kind, MediaTime, Timescale, aac};

use super::sim::Sim;
use crate::file_name::FileName;
use crate::name::Name;
use crate::probe::Expected;
use crate::rendition::Resource;

#[test]
fn hls_l16_names_are_canonical_and_only_what_is_listed_or_hinted_exists() {
    for (text, name) in [
        ("p12.m4s", Some(FileName::Part(12))),
        ("s0.m4s", Some(FileName::Segment(0))),
        ("init3.mp4", Some(FileName::Init(3))),
        ("p012.m4s", None),
        ("p+1.m4s", None),
        ("p.m4s", None),
        ("p18446744073709551616.m4s", None),
        ("12.m4s", None),
        ("../p1.m4s", None),
    ] {
        assert_eq!(FileName::parse(text), name, "{text}");
    }
    let mut sim = Sim::run(&super::source::Source::default());
    let hint = sim.list(Name::VIDEO).hint.expect("a hint");
    let Some(FileName::Part(next)) = FileName::parse(&hint) else { panic!("{hint} is a part") };
    let look = |number| sim.presentation.file(Name::VIDEO, FileName::Part(number));
    assert!(matches!(look(next), Resource::Hinted), "L15: waits");
    assert!(matches!(look(next + 1), Resource::Missing), "L16");
    assert!(matches!(look(next - 1), Resource::Found(_)));
}

#[test]
fn ffprobe_decodes_every_frame_of_init_and_segments() {
    for (encoder, size, gop) in [
        (&["-profile:v", "high", "-bf", "2"][..], "320x180", 50),
        (&["-profile:v", "baseline", "-bf", "0"][..], "320x180", 25),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let clip = Clip::make(dir.path(), encoder, size, gop);
        let expected = Expected { video: true, audio: true, settled: true, keyframes_on_request: false };
        let mut sim = Sim::new(expected);
        let frames = clip.frames(&sim);
        let sent = |kind| frames.iter().filter(|(of, _)| *of == kind).count();
        let (video, audio) = (sent(Kind::Video), sent(Kind::Audio));
        sim.feed_frames(frames);
        sim.finish();
        assert_eq!(decoded(&sim, Name::VIDEO, dir.path()), video);
        // Audio from before the first picture (B-frames delay it) is left out.
        let heard = decoded(&sim, Name::Audio, dir.path());
        assert!(heard <= audio && heard + 4 >= audio, "{heard} of {audio}");
    }
}

/// Writes init and all segments of a Rendition into one file and counts the frames that ffprobe decodes.
pub(super) fn decoded(sim: &Sim, name: Name, dir: &Path) -> usize {
    let list = sim.lists(name).last().expect("a playlist");
    let mut bytes = Vec::new();
    let uris = list.segments.iter().flat_map(|segment| segment.map.iter().chain(&segment.uri));
    for uri in uris {
        for slices in sim.file(name, uri).expect("downloadable") {
            bytes.extend_from_slice(&slices.to_bytes());
        }
    }
    let path = dir.join(format!("{}.mp4", name.as_str()));
    std::fs::write(&path, bytes).expect("writes");
    let decode = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(&path)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let complaint = String::from_utf8_lossy(&decode.stderr).into_owned();
    assert!(decode.status.success() && complaint.is_empty(), "{name:?}: {complaint}");
    probe(&path, &["-count_frames", "-show_entries", "stream=nb_read_frames"])
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .expect("a count")
}

fn probe(path: &Path, what: &[&str]) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(what)
        .arg(path)
        .output()
        .expect("ffprobe runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A clip from a real encoder: Annex B, ADTS, and the times of its packets.
struct Clip {
    video: Vec<u8>,
    audio: Vec<u8>,
    /// (pts, dts) in 1/12800 s.
    times: Vec<(i64, i64)>,
}

/// Pictures per second, and the timescale that ffmpeg's muxer takes for them.
const FPS: i64 = 25;
const MUX_HZ: u32 = 12_800;

impl Clip {
    fn make(dir: &Path, encoder: &[&str], size: &str, gop: u32) -> Self {
        let (mp4, h264, aac) = (dir.join("clip.mp4"), dir.join("clip.h264"), dir.join("clip.aac"));
        let picture = format!("testsrc2=s={size}:r={FPS}:d=12");
        let gop = gop.to_string();
        ffmpeg(|command| {
            command.args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", "sine=r=44100:d=12"]);
            command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", &gop, "-sc_threshold", "0"]);
            command.args(encoder).args(["-c:a", "aac", "-b:a", "96k"]).arg(&mp4);
        });
        ffmpeg(|command| {
            command.arg("-i").arg(&mp4).args(["-an", "-c", "copy", "-bsf:v"]);
            command.arg("h264_mp4toannexb,h264_metadata=aud=insert").arg(&h264);
        });
        ffmpeg(|command| {
            command.arg("-i").arg(&mp4).args(["-vn", "-c", "copy", "-f", "adts"]).arg(&aac);
        });
        let times = probe(&mp4, &["-select_streams", "v", "-show_entries", "packet=pts,dts"]);
        let times = times.lines().map(|line| {
            let mut numbers = line.split(',').map(|number| number.parse().expect("a time"));
            (numbers.next().expect("pts"), numbers.next().expect("dts"))
        });
        Self {
            times: times.collect(),
            video: std::fs::read(&h264).expect("video"),
            audio: std::fs::read(&aac).expect("audio"),
        }
    }

    fn frames(&self, sim: &Sim) -> Vec<(Kind, Frame)> {
        let mut frames = self.video_frames(sim);
        frames.extend(self.audio_frames(sim));
        frames.sort_by_key(|(_, frame)| frame.arrival);
        frames
    }

    fn video_frames(&self, sim: &Sim) -> Vec<(Kind, Frame)> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        let mut sets = ParameterSets::default();
        for nal in AnnexB::new(&self.video) {
            match nal[0] & 31 {
                9 => units.push(Vec::new()),
                7 | 8 => drop(sets.insert(nal)),
                _ => {
                    let unit = units.last_mut().expect("a delimiter first");
                    unit.extend_from_slice(&[0, 0, 0, 1]);
                    unit.extend_from_slice(nal);
                }
            }
        }
        assert_eq!(units.len(), self.times.len());
        let config = Arc::clone(sets.activate(0).expect("parameter sets"));
        let scale = Timescale::new(MUX_HZ).expect("not zero");
        let frames = units.iter().zip(&self.times).map(|(unit, (pts, dts))| {
            let unit = AccessUnit::from_annex_b(unit).expect("a picture");
            let dts = MediaTime::new(*dts, scale).rescale(Timescale::VIDEO);
            let frame = Frame {
                dts,
                pts: MediaTime::new(*pts, scale).rescale(Timescale::VIDEO),
                duration: 0,
                keyframe: unit.keyframe,
                discardable: unit.discardable,
                data: unit.data,
                config: Arc::clone(&config),
                epoch: 0,
                arrival: sim.origin + Duration::from_micros((dts.as_micros() + 1_000_000) as u64),
            };
            (Kind::Video, frame)
        });
        frames.collect()
    }

    fn audio_frames(&self, sim: &Sim) -> Vec<(Kind, Frame)> {
        let (mut rest, mut out) = (&self.audio[..], Vec::new());
        let scale = Timescale::new(44_100).expect("not zero");
        let config = Arc::new(CodecConfig::Aac(aac::Config::low_complexity(44_100, 1).expect("usual")));
        while rest.len() > 7 {
            let length =
                usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5]) >> 5;
            let (frame, tail) = rest.split_at(length);
            rest = tail;
            let at = MediaTime::new(out.len() as i64 * 1024, scale);
            let frame = Frame {
                dts: at,
                pts: at,
                duration: 1024,
                keyframe: true,
                discardable: false,
                data: frame[7..].to_vec().into(),
                config: Arc::clone(&config),
                epoch: 0,
                arrival: sim.origin + Duration::from_micros((at.as_micros() + 1_000_000) as u64),
            };
            out.push((Kind::Audio, frame));
        }
        out
    }
}

pub(super) fn ffmpeg(arguments: impl FnOnce(&mut Command)) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]);
    arguments(&mut command);
    let output = command.output().expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
