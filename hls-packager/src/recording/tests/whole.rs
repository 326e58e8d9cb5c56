//! A Stream that ended as it should.

use std::fs;
use std::path::Path;
use std::process::Command;

use media::Kind;

use super::house::{House, files, plays, samples};
use crate::file_name::FileName;
use crate::recording::plan::Plan;
use crate::tests::source::Source;
use crate::vod::Vod;

fn record(source: &Source) -> (House, Plan, Vec<(Kind, media::Frame)>) {
    let mut house = House::new();
    let frames = house.frames(source);
    for (kind, frame) in frames.clone() {
        house.feed(kind, frame);
    }
    let plan = house.finish();
    (house, plan, frames)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn the_recording_is_the_live_stream_and_plays_as_vod() {
    let (house, plan, frames) = record(&Source { seconds: 13.0, b_frames: true, ..Source::default() });
    for (rendition, kind) in plan.renditions.iter().zip([Kind::Video, Kind::Audio]) {
        let sent = frames.iter().filter(|(of, _)| *of == kind).count();
        let kept = samples(house.folder.path(), rendition).len();
        // Sound before the first picture is left out, live too.
        assert!(kept == sent || (kind == Kind::Audio && kept + 4 >= sent), "{kind:?}: {kept} of {sent}");
        assert!(rendition.segments.iter().all(|segment| segment.closed.is_some()));
    }
    plays(house.folder.path(), &plan);
    assert!(
        files(house.folder.path()).iter().all(|it| !it.to_string_lossy().contains("wal-")),
        "no longer needed"
    );
    let vod = Vod::new(&plan);
    let list = text(&vod.media("video").expect("video").plain);
    for line in
        ["#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-TARGETDURATION:2", "#EXT-X-MAP:URI=\"init0.mp4\"", "s0.m4s"]
    {
        assert!(list.lines().any(|it| it == line), "{line} in {list}");
    }
    assert!(list.ends_with("#EXT-X-ENDLIST\n"));
    for tag in ["PART", "PRELOAD", "SERVER-CONTROL", "GAP", "DISCONTINUITY"] {
        assert!(!list.contains(tag), "{tag}: {list}");
    }
    let sum: f64 = list
        .lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(',')?.parse::<f64>().ok())
        .sum();
    assert!((sum - 13.0).abs() < 0.1, "M02: {sum}");
    let master = text(&vod.multivariant().plain);
    assert!(master.contains("RESOLUTION=1280x720") && master.contains("FRAME-RATE=30.0"), "{master}");
    assert!(master.contains("#EXT-X-INDEPENDENT-SEGMENTS") && master.contains("URI=\"audio/index.m3u8\""));
}

#[test]
fn the_mp4_file_has_every_frame_at_its_time_before_its_samples() {
    let (house, plan, frames) = record(&Source { seconds: 9.0, b_frames: true, ..Source::default() });
    plays(house.folder.path(), &plan);
    let path = house.folder.path().join("video.mp4");
    let bytes = fs::read(&path).expect("made");
    let at = |name: &[u8]| bytes.windows(4).position(|it| it == name).expect("a box");
    assert!(at(b"moov") < at(b"mdat"), "it plays before it is complete");
    let shown = probe(&path, &["-select_streams", "v", "-show_entries", "packet=pts_time"]);
    let lines: Vec<&str> = shown.lines().collect();
    let video: Vec<&media::Frame> =
        frames.iter().filter(|(kind, _)| *kind == Kind::Video).map(|(_, frame)| frame).collect();
    assert_eq!(lines.len(), video.len());
    let first = video[0].pts.as_secs_f64();
    for (line, frame) in lines.iter().zip(&video) {
        let time: f64 = line.trim_matches(',').parse().expect("a time");
        let wanted = frame.pts.as_secs_f64() - first;
        assert!((time - wanted).abs() < 0.002, "{line}: {wanted}");
    }
}

#[test]
fn a_reconnect_with_other_parameters_is_one_recording() {
    let mut house = House::new();
    let before = Source { seconds: 5.0, ..Source::default() };
    let after =
        Source { seconds: 5.0, from: 9.0, epoch: 1, sps: crate::tests::SPS_SMALL, ..Source::default() };
    for source in [&before, &after] {
        for (kind, frame) in house.frames(source) {
            house.feed(kind, frame);
        }
    }
    let plan = house.finish();
    plays(house.folder.path(), &plan);
    let list = text(&Vod::new(&plan).media("video").expect("video").plain);
    assert_eq!(list.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{list}");
    assert!(list.contains("init1.mp4") && !list.contains("GAP"), "{list}");
    // The picture stands still for the 4 s.
    let seconds = probe(&house.folder.path().join("video.mp4"), &["-show_entries", "format=duration"]);
    let seconds: f64 = seconds.trim().parse().expect("a number");
    assert!((seconds - 14.0).abs() < 0.2, "{seconds}");
}

/// Whatever a source does to its timestamps, the recording plays and is not much longer than it lasted.
#[test]
fn timestamps_that_jump_make_no_long_recording() {
    for (what, jump) in [("ahead", 2_147_483.648), ("back", -3.0), ("wrap", -4_294_967.296)] {
        let mut house = House::new();
        let before = Source { seconds: 6.0, ..Source::default() };
        let after = Source { seconds: 6.0, from: 6.0, ..Source::default() };
        for (kind, frame) in house.frames(&before) {
            house.feed(kind, frame);
        }
        for (kind, mut frame) in house.frames(&after) {
            let shift = |time: media::MediaTime| time.offset((jump * f64::from(time.scale().hz())) as i64);
            (frame.dts, frame.pts) = (shift(frame.dts), shift(frame.pts));
            house.feed(kind, frame);
        }
        let plan = house.finish();
        plays(house.folder.path(), &plan);
        let listed = plan.duration().as_secs_f64();
        assert!((5.0..13.0).contains(&listed), "{what}: {listed} s");
    }
}

#[test]
fn two_hours_take_no_more_disk_and_memory_than_allowed() {
    const BYTES_MAX: u64 = 40 << 20;
    let mut house = House::with(BYTES_MAX);
    let (mut most, mut held) = (0, Vec::new());
    // In pieces, so that the source itself is not held.
    for minute in 0..120 {
        let from = f64::from(minute) * 60.0;
        let source = Source { seconds: 60.0, from, fps: 5.0, keyframe: |n| n % 10 == 0, ..Source::default() };
        for (kind, frame) in house.frames(&source) {
            house.feed(kind, frame);
        }
        held.push(house.presentation.renditions().map(|(_, rendition)| rendition.bytes()).sum::<usize>());
        let on_disk = files(house.folder.path());
        most = most.max(on_disk.iter().map(|it| fs::metadata(it).expect("there").len()).sum::<u64>());
        // Names, inits, journal, write-ahead files, and a segment of each Rendition per 2 s.
        assert!(on_disk.len() < 4000, "{}", on_disk.len());
    }
    assert!(most < BYTES_MAX + (6 << 20), "{most}");
    // Memory keeps the window, however much lies behind it.
    let (early, late) = (held[..10].iter().max(), held[10..].iter().max());
    assert!(late <= early, "{late:?} after {early:?}");
    let plan = house.finish();
    let listed: u64 = plan.bytes();
    assert!(listed <= BYTES_MAX && listed > BYTES_MAX / 2, "{listed}");
    let first = plan.renditions[0].segments[0].msn.expect("a segment");
    assert!(first > 100, "the oldest are gone");
    assert!(!plan.renditions[0].path(house.folder.path(), FileName::Segment(first - 1)).exists());
    plays(house.folder.path(), &plan);
}

fn probe(path: &Path, what: &[&str]) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(what)
        .arg(path)
        .output()
        .expect("ffprobe runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).expect("text")
}
