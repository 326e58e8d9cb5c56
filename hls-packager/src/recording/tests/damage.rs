//! Recordings whose process was killed, and whose files end anywhere.

use std::fs;

use media::Kind;

use super::house::{House, copy, files, plays, samples};
use crate::recording::plan::Plan;
use crate::recording::repair::repair;
use crate::tests::source::Source;

/// The decoding times of the frames of a kind that a decoder can begin with, in microseconds.
fn sent(frames: &[(Kind, media::Frame)], kind: Kind) -> Vec<i64> {
    frames.iter().filter(|(of, _)| *of == kind).map(|(_, frame)| frame.dts.as_micros()).collect()
}

fn of(plan: &Plan, kind: Kind) -> &crate::recording::plan::Rendition {
    plan.renditions.iter().find(|it| media::Kind::from(it.kind) == kind).expect("a rendition")
}

#[test]
fn every_frame_that_was_taken_before_a_kill_is_in_the_recording() {
    for source in [
        Source { seconds: 11.0, b_frames: true, ..Source::default() },
        Source { seconds: 7.0, audio_late: std::time::Duration::from_millis(400), ..Source::default() },
        Source { seconds: 9.0, millisecond_stamps: true, audio_hz: Some(44_100), ..Source::default() },
    ] {
        let mut house = House::new();
        let frames = house.frames(&source);
        for (at, (kind, frame)) in frames.clone().into_iter().enumerate() {
            house.feed(kind, frame);
            // A prime, so that kills fall everywhere in parts and segments.
            if at % 23 != 0 {
                continue;
            }
            let killed = house.killed();
            let plan = repair(killed.path()).expect("repaired");
            let taken = &frames[..=at];
            let video = sent(taken, Kind::Video);
            if video.is_empty() {
                continue;
            }
            let kept = samples(killed.path(), of(&plan, Kind::Video));
            let missing: Vec<_> = video.iter().filter(|it| !near(&kept, **it)).collect();
            assert!(missing.is_empty(), "{missing:?} of {} after {at}", video.len());
            if let Some(audio) = plan.renditions.iter().find(|it| media::Kind::from(it.kind) == Kind::Audio) {
                let kept = samples(killed.path(), audio);
                let start = of(&plan, Kind::Video).segments[0].at_us;
                let audio = sent(taken, Kind::Audio);
                let missing: Vec<_> = audio.iter().filter(|it| **it >= start && !near(&kept, **it)).collect();
                assert!(missing.is_empty(), "{missing:?} after {at}");
            }
            plays(killed.path(), &plan);
            // Once more changes nothing.
            let again = repair(killed.path()).expect("repaired");
            assert_eq!((again.duration(), again.bytes()), (plan.duration(), plan.bytes()));
        }
    }
}

/// Ticks are rounded to microseconds.
fn near(kept: &[i64], wanted: i64) -> bool {
    let at = kept.partition_point(|it| *it < wanted - 2);
    kept.get(at).is_some_and(|it| *it <= wanted + 2)
}

#[test]
fn a_recording_survives_the_loss_of_the_tail_of_any_file() {
    for ended in [false, true] {
        let mut house = House::new();
        let source = Source { seconds: 6.7, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
        for (kind, mut frame) in house.frames(&source) {
            // Small: a recording is copied thousands of times here.
            frame.data.truncate(100);
            house.feed(kind, frame);
        }
        if ended {
            house.finish();
        }
        let whole = {
            let killed = house.killed();
            let plan = repair(killed.path()).expect("repaired");
            plan.renditions.iter().map(|it| samples(killed.path(), it).len()).sum::<usize>()
        };
        for file in files(house.folder.path()) {
            let name = file.strip_prefix(house.folder.path()).expect("inside");
            let length = fs::metadata(&file).expect("there").len();
            // Every byte of the last ones, and from there to the start in steps.
            let cuts = (0..length).filter(|cut| length - cut < 160 || cut % 997 == 0);
            for cut in cuts {
                let damaged = copy(house.folder.path());
                let victim = damaged.path().join(name);
                fs::OpenOptions::new().write(true).open(&victim).expect("there").set_len(cut).expect("cut");
                let plan =
                    repair(damaged.path()).unwrap_or_else(|error| panic!("{name:?} at {cut}: {error}"));
                let kept: usize = plan.renditions.iter().map(|it| samples(damaged.path(), it).len()).sum();
                let lost = whole.saturating_sub(kept);
                // A segment holds at most 2 s of either; the journal and the manifest cost nothing.
                let most = match name.to_string_lossy() {
                    it if it.ends_with(".m4s") => 100,
                    it if it.starts_with("wal") => 100,
                    _ => 0,
                };
                assert!(lost <= most, "{name:?} at {cut} of {length}: {lost} of {whole} are lost");
                if kept > 0 {
                    plays(damaged.path(), &plan);
                }
            }
        }
    }
}
