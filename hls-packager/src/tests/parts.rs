//! Parts and segments: lengths, independence, timing, bytes.

use std::time::{Duration, Instant};

use media::{Frame, Kind, MediaTime};
use mp4_atom::{Decode, Moof};

use super::reader::List;
use super::sim::{Sim, expected};
use super::source::Source;
use crate::Config;
use crate::name::Name;
use crate::presentation::KeyframeAdvice;
use crate::probe::Expected;

/// Every kind of source that plays without a hole. `sim` checks all rules on all of their playlists.
fn sources(seconds: f64) -> Vec<(&'static str, Source)> {
    let sources = all_sources().into_iter();
    sources.map(|(name, source)| (name, Source { seconds, ..source })).collect()
}

fn all_sources() -> Vec<(&'static str, Source)> {
    vec![
        ("GOP 2 s", Source::default()),
        ("GOP 0.5 s", Source { keyframe: |n| n % 15 == 0, ..Source::default() }),
        ("GOP 0.7 s", Source { keyframe: |n| n % 21 == 0, ..Source::default() }),
        ("GOP 1.5 s", Source { keyframe: |n| n % 45 == 0, ..Source::default() }),
        ("GOP 10 s", Source { keyframe: |n| n % 300 == 0, ..Source::default() }),
        (
            "GOP 8.3 s, as x264 makes it",
            Source { keyframe: |n| n % 250 == 0, b_frames: true, ..Source::default() },
        ),
        ("GOP 60 s", Source { keyframe: |n| n % 1800 == 0, ..Source::default() }),
        (
            "irregular GOP",
            Source { keyframe: |n| [0, 37, 61, 130, 144].contains(&(n % 170)), ..Source::default() },
        ),
        ("B-frames", Source { b_frames: true, ..Source::default() }),
        (
            "millisecond stamps",
            Source { millisecond_stamps: true, audio_hz: Some(44_100), ..Source::default() },
        ),
        (
            "millisecond stamps and B-frames",
            Source { millisecond_stamps: true, b_frames: true, audio_hz: Some(44_100), ..Source::default() },
        ),
        ("25 fps", Source { fps: 25.0, keyframe: |n| n % 50 == 0, ..Source::default() }),
        ("29.97 fps", Source { fps: 30_000.0 / 1001.0, ..Source::default() }),
        ("60 fps, keyint 250", Source { fps: 60.0, keyframe: |n| n % 250 == 0, ..Source::default() }),
        ("5 fps", Source { fps: 5.0, keyframe: |n| n % 10 == 0, ..Source::default() }),
        (
            "10 fps, millisecond stamps",
            Source { fps: 10.0, keyframe: |n| n % 20 == 0, millisecond_stamps: true, ..Source::default() },
        ),
        ("audio comes late", Source { audio_late: Duration::from_millis(400), ..Source::default() }),
        ("video only", Source { audio_hz: None, ..Source::default() }),
        ("audio only", Source { video: false, ..Source::default() }),
        ("audio only, 44.1 kHz", Source { video: false, audio_hz: Some(44_100), ..Source::default() }),
        ("negative start", Source { from: -3.0, ..Source::default() }),
    ]
}

#[test]
fn hls_m01_m02_l01_l02_l03_l04_l05_l06_l07_l08_l11_l12_l13_p07_hold_for_every_source() {
    for (name, source) in sources(30.0) {
        println!("{name}");
        let mut sim = Sim::run(&source);
        sim.finish();
        super::judge::judge(name, &sim);
        let lead = if source.video { Name::VIDEO } else { Name::Audio };
        assert!(sim.lists(lead).count() > 40, "{name}: parts came");
        // Audio from before the first picture: with B-frames that one is shown a frame after it is decoded.
        assert!(sim.presentation.dropped() <= 2, "{name}: {}", sim.presentation.dropped());
    }
}

#[test]
fn hls_l07_part_never_exceeds_target() {
    // 30 fps in whole milliseconds: 15 frames are 499, 500 or 501 ms.
    let sim = Sim::run(&Source { millisecond_stamps: true, ..Source::default() });
    let list = sim.lists(Name::VIDEO).last().expect("a playlist");
    assert!(list.part_target >= 0.501 && list.part_target < 0.55, "{}", list.part_target);
    let full: Vec<_> =
        list.segments.iter().filter(|segment| segment.uri.is_some() && !segment.parts.is_empty()).collect();
    assert!(full.iter().all(|segment| segment.parts.len() == 4), "whole frames fill the parts evenly");
    for hz in [44_100, 48_000] {
        let sim = Sim::run(&Source { millisecond_stamps: true, audio_hz: Some(hz), ..Source::default() });
        let list = sim.lists(Name::Audio).last().expect("a playlist");
        let full = list.segments.iter().filter(|found| found.uri.is_some() && !found.parts.is_empty());
        assert!(full.clone().count() > 1);
        for segment in full {
            assert_eq!(segment.parts.len(), 4, "{hz}: no part of two frames is left over");
        }
    }
}

#[test]
fn parts_of_sound_are_as_even_as_frames_allow() {
    for part_target_ms in [200, 250, 333, 500, 1000] {
        for hz in [32_000, 44_100, 48_000] {
            let source =
                Source { millisecond_stamps: true, audio_hz: Some(hz), seconds: 40.0, ..Source::default() };
            let mut sim = Sim::with(Config { part_target_ms, ..Config::default() }, expected(&source));
            sim.feed(&source);
            super::judge::judge("even parts", &sim);
            let list = sim.lists(Name::Audio).last().expect("a playlist");
            let segments = list.segments.iter().filter(|it| it.uri.is_some() && !it.parts.is_empty());
            for segment in segments {
                let lengths: Vec<_> = segment.parts.iter().map(|part| part.duration).collect();
                let shortest = lengths.iter().copied().fold(f64::MAX, f64::min);
                assert!(shortest > 0.66 * list.part_target, "{part_target_ms} ms, {hz} Hz: {lengths:?}");
            }
        }
    }
}

/// A clip that is played in a loop has less sound than picture: Chromium plays what comes after such a hole too early.
#[test]
fn holes_in_sound_are_filled_with_silence() {
    for (hz, millisecond_stamps) in [(48_000, false), (44_100, true)] {
        let source = Source { millisecond_stamps, audio_hz: Some(hz), ..Source::default() };
        let mut sim = Sim::new(expected(&source));
        let mut heard = 0..;
        let frames = source.frames(sim.origin).into_iter().filter(|(kind, _)| {
            let number = if *kind == Kind::Audio { heard.next().unwrap_or(0) } else { 0 };
            // One, two and six in a row; and one where a segment ends.
            ![300, 500, 501, 700, 701, 702, 703, 704, 705, 938].contains(&number)
        });
        sim.feed_frames(frames.collect());
        sim.finish();
        super::judge::judge("holes in sound", &sim);
        assert_eq!((sim.presentation.silent(), sim.presentation.dropped()), (10, 0), "{hz}");
        let parts = sim.parts.iter().filter(|(name, ..)| *name == Name::Audio);
        for (_, file, slices) in parts {
            let moof = Moof::decode(&mut &slices.to_bytes()[..]).expect("a moof");
            for sample in &moof.traf[0].trun[0].samples {
                let ticks = sample.duration.expect("explicit");
                assert!((900..1150).contains(&ticks), "{hz}: {file}: {ticks}");
            }
        }
    }
    // What lies between two publications is no hole.
    let source = Source { seconds: 8.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    sim.feed(&source);
    sim.feed(&Source { from: 8.5, epoch: 1, ..source });
    sim.finish();
    assert_eq!(sim.presentation.silent(), 0);
}

#[test]
fn hls_l08_a_frame_that_lasts_long_fills_the_part_that_it_is_in() {
    // Of each 97 pictures some are missing, all at once: a busy encoder, a line that loses.
    for lost in [20..23, 31..40, 7..25] {
        for millisecond_stamps in [false, true] {
            let source = Source { millisecond_stamps, ..Source::default() };
            let mut sim = Sim::new(expected(&source));
            sim.clipped = true;
            let frames = source.frames(sim.origin).into_iter().filter(|(kind, frame)| {
                let number = (frame.dts.as_micros() * 3 + 50_000) / 100_000;
                *kind == Kind::Audio || frame.keyframe || !lost.contains(&(number % 97))
            });
            sim.feed_frames(frames.collect());
            sim.finish();
            super::judge::judge("frames that last long", &sim);
            assert_eq!(sim.presentation.dropped(), 0);
        }
    }
}

/// The first sound of `source` arrives before the first picture, though what it is stamped with is `micros` later.
fn sound_first(source: &Source, origin: Instant, micros: i64) -> Vec<(Kind, Frame)> {
    let mut frames = source.frames(origin);
    let audio = frames.iter().position(|(kind, _)| *kind == Kind::Audio).expect("there is sound");
    let first = frames[0].1.arrival;
    frames[audio].1.arrival = first;
    frames[..=audio].rotate_right(1);
    for (_, frame) in frames.iter_mut().filter(|(kind, _)| *kind == Kind::Audio) {
        let later = MediaTime::from_micros(frame.dts.as_micros() + micros, frame.dts.scale());
        (frame.dts, frame.pts) = (later, later);
    }
    frames
}

#[test]
fn sound_that_arrives_before_an_earlier_picture_costs_no_group_of_pictures() {
    for micros in [30, 20_000, 400_000] {
        let source = Source { seconds: 8.0, ..Source::default() };
        let mut sim = Sim::new(expected(&source));
        sim.feed_frames(sound_first(&source, sim.origin, micros));
        // The encoder comes back after a pause in which nothing is awaited any more.
        let again = Source { from: 16.0, epoch: 1, ..source };
        sim.feed_frames(sound_first(&again, sim.origin, micros));
        sim.finish();
        assert_eq!(sim.presentation.dropped(), 0, "{micros}");
        let list = sim.lists(Name::VIDEO).last().expect("a playlist");
        let seconds: f64 = list.segments.iter().filter(|it| !it.gap).map(|it| it.length()).sum();
        // What stands between them belongs to no segment.
        assert!((seconds - 16.0).abs() < 0.2, "{micros}: {seconds}");
    }
}

#[test]
fn a_camera_that_paused_and_comes_back_stamped_earlier_makes_no_empty_segment() {
    let source = Source { seconds: 20.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    sim.clipped = true;
    let frames = sound_first(&source, sim.origin, 300_000).into_iter();
    let seen = |frame: &Frame| !(3_000_000..12_000_000).contains(&frame.dts.as_micros());
    sim.feed_frames(frames.filter(|(kind, frame)| *kind == Kind::Audio || seen(frame)).collect());
    sim.finish();
    for name in [Name::VIDEO, Name::Audio] {
        let list = sim.lists(name).last().expect("a playlist");
        assert!(list.segments.iter().all(|it| it.length() > 0.1), "{name:?}: {list:?}");
    }
}

#[test]
fn hls_l09_independent_parts_begin_with_their_keyframe() {
    for (name, source) in sources(12.0) {
        let sim = Sim::run(&source);
        for (of, uri, bytes) in &sim.parts {
            if *of == Name::Audio {
                continue;
            }
            let keyframes = keyframes_in(&bytes.to_bytes());
            let listed =
                sim.lists(Name::VIDEO).flat_map(|list| &list.segments).flat_map(|found| &found.parts);
            let independent = listed.filter(|part| part.uri == *uri).map(|part| part.independent).next();
            assert_eq!(independent, Some(keyframes[0]), "{name}: {uri}");
        }
    }
}

#[test]
fn hls_l18_m19_segments_open_at_a_keyframe() {
    for gop in
        [|n: usize| n.is_multiple_of(60), |n: usize| n.is_multiple_of(15), |n: usize| n.is_multiple_of(45)]
    {
        let sim = Sim::run(&Source { keyframe: gop, ..Source::default() });
        let list = sim.lists(Name::VIDEO).last().expect("a playlist");
        for segment in list.segments.iter().filter(|segment| !segment.parts.is_empty()) {
            assert!(segment.parts[0].independent);
        }
        assert!(sim.presentation.all_independent());
    }
}

#[test]
fn hls_m19_a_long_gop_is_cut_and_independence_is_not_claimed() {
    for (keyframe, dependent) in [
        ((|n: usize| n.is_multiple_of(250)) as fn(usize) -> bool, 1..=1),
        (|n| n.is_multiple_of(1800), 3..=4),
    ] {
        let sim = Sim::run(&Source { keyframe, ..Source::default() });
        let list = sim.lists(Name::VIDEO).last().expect("a playlist");
        assert_eq!(list.target_duration, 10);
        assert!(!sim.presentation.all_independent());
        let count = sim.presentation.dependent_segments();
        assert!(dependent.contains(&count), "{count}");
        // One alone is no reason to send the streamer to the settings.
        let told = sim.presentation.keyframe_advice() == Some(KeyframeAdvice::TooFarApart);
        assert_eq!(told, count > 1, "{count}");
    }
}

#[test]
fn viewers_are_let_in_where_a_keyframe_is_in_reach() {
    let source = Source { keyframe: |n| n % 250 == 0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let (mut first, mut away) = (None, 0.0);
    let mut last = 0.0;
    for (kind, frame) in source.frames(sim.origin) {
        let at = frame.dts.as_secs_f64();
        sim.feed_frames(vec![(kind, frame)]);
        let open = sim.presentation.welcomes();
        if open && first.is_none() {
            first = Some(at);
        }
        if first.is_some() && !open {
            away += at - last;
        }
        last = at;
    }
    assert!(first.is_some_and(|first| first < 4.4), "as soon as it was measured: {first:?}");
    // From where players start lies in the second segment until it lies in the third: the length of the second.
    assert!((4.0..4.7).contains(&away), "only the first GOP is cut: {away}");
}

#[test]
fn hls_m07_decode_times_are_continuous_and_never_negative() {
    for (name, source) in sources(12.0) {
        let sim = Sim::run(&source);
        for of in [Name::VIDEO, Name::Audio] {
            let mut expected = None;
            for (_, uri, bytes) in sim.parts.iter().filter(|(found, _, _)| *found == of) {
                let (start, length) = times_of(&bytes.to_bytes());
                assert!(start < 1 << 40, "{name}: {uri} starts at {start}");
                assert!(
                    expected.is_none_or(|expected| expected == start),
                    "{name}: {uri}: {expected:?} {start}"
                );
                expected = Some(start + length);
            }
        }
    }
}

#[test]
fn hls_l10_a_part_comes_within_one_part_target_of_the_one_before() {
    for (name, source) in sources(12.0) {
        let sim = Sim::run(&source);
        for of in [Name::VIDEO, Name::Audio] {
            let snapshots: Vec<_> = sim.snapshots.iter().filter(|(_, found, _)| *found == of).collect();
            // What was measured first comes out in one burst.
            for pair in snapshots.windows(2).skip(20) {
                let step = pair[1].0 - pair[0].0;
                let target = Duration::from_secs_f64(pair[1].2.part_target);
                let slack = Duration::from_secs_f64(1.5 / source.fps);
                assert!(step <= target + slack, "{name}: {of:?} {step:?}");
            }
        }
    }
}

#[test]
fn hls_m11_a_segment_comes_within_one_and_a_half_target_durations() {
    for (name, source) in sources(12.0) {
        let sim = Sim::run(&source);
        let mut last = None;
        let mut seen = 0;
        for (at, _, list) in sim.snapshots.iter().filter(|(_, of, _)| *of == Name::VIDEO) {
            let closed =
                list.media_sequence + list.segments.iter().filter(|found| found.uri.is_some()).count() as u64;
            if closed > seen {
                let limit = Duration::from_secs_f64(1.5 * list.target_duration as f64);
                assert!(last.is_none_or(|last| *at - last <= limit), "{name}");
                (seen, last) = (closed, Some(*at));
            }
        }
    }
}

#[test]
fn hls_v11_m04_renditions_are_cut_at_the_same_times() {
    for (name, source) in sources(12.0) {
        if !source.video || source.audio_hz.is_none() {
            continue;
        }
        let mut sim = Sim::run(&source);
        let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
        let dated = |list: &List| -> Vec<(u64, i64)> {
            (list.media_sequence..)
                .zip(&list.segments)
                .filter_map(|(msn, found)| Some((msn, found.date?)))
                .collect()
        };
        let audio_dates = dated(&audio);
        for (msn, date) in dated(&video) {
            let Some((_, other)) = audio_dates.iter().find(|(other, _)| *other == msn) else { continue };
            let behind = other - date;
            assert!(
                (0..=24).contains(&behind),
                "{name}: audio of segment {msn} starts {behind} ms after video"
            );
        }
        assert_eq!(video.discontinuity_sequence, audio.discontinuity_sequence);
    }
}

#[test]
fn hls_l11_m10_a_segment_is_its_parts() {
    let mut sim = Sim::run(&Source::default());
    let list = sim.list(Name::VIDEO);
    let segment = list.segments.iter().rev().find(|found| found.uri.is_some()).expect("a closed segment");
    let whole = sim.file(Name::VIDEO, segment.uri.as_ref().expect("closed")).expect("downloadable");
    let parts: Vec<u8> = segment
        .parts
        .iter()
        .flat_map(|part| sim.file(Name::VIDEO, &part.uri).expect("downloadable")[0].to_bytes())
        .collect();
    let whole: Vec<u8> = whole.iter().flat_map(|slices| slices.to_bytes()).collect();
    assert!(whole == parts && whole.len() > 100_000);
}

#[test]
fn hls_r5_a_source_that_can_is_asked_for_one_keyframe_per_segment() {
    let source = Source { seconds: 20.0, ..Source::default() };
    let mut sim = Sim::new(Expected { keyframes_on_request: true, ..expected(&source) });
    sim.feed(&source);
    assert!((8..=10).contains(&sim.keyframe_requests), "{}", sim.keyframe_requests);
    assert_eq!(sim.list(Name::VIDEO).target_duration, 2);
}

#[test]
fn hls_r5_a_browser_that_answers_keyframe_requests_is_cut_every_two_seconds() {
    // One keyframe, then only what is asked for, 120 ms later; frame times wander; keyframes that other
    // viewers ask for come in between.
    let source = Source { keyframe: |n| n == 0, seconds: 40.0, ..Source::default() };
    let mut sim = Sim::new(Expected { keyframes_on_request: true, ..expected(&source) });
    let (mut asked, mut due, mut pictures) = (0, None, 0_i64);
    for (kind, mut frame) in source.frames(sim.origin) {
        if kind == Kind::Video {
            pictures += 1;
            let wander = (pictures * 7919 % 13 - 6) * 90;
            frame.dts = frame.dts.offset(wander);
            frame.pts = frame.dts;
            if sim.keyframe_requests > asked {
                asked = sim.keyframe_requests;
                due = Some(pictures + 4);
            }
            let unasked = pictures % 217 == 0;
            frame.keyframe = pictures == 1 || due == Some(pictures) || unasked;
        }
        sim.feed_frames(vec![(kind, frame)]);
    }
    let list = sim.lists(Name::VIDEO).last().expect("a playlist");
    assert_eq!(list.target_duration, 2);
    assert!(sim.presentation.all_independent(), "every segment begins with a keyframe");
    let lengths: Vec<f64> = list.segments.iter().filter_map(|segment| segment.duration).collect();
    assert!(lengths.iter().all(|length| (0.9..2.4).contains(length)), "{lengths:?}");
}

#[test]
fn a_frame_that_lasts_longer_than_a_part_is_cut_short_in_it() {
    // A shared screen: 30 fps, then one picture per second.
    let source = Source { seconds: 20.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    sim.clipped = true;
    let frames = source.frames(sim.origin).into_iter().filter(|(kind, frame)| {
        let ms = frame.dts.as_micros() / 1000;
        *kind == Kind::Audio || ms < 8000 || ms % 1000 == 0
    });
    sim.feed_frames(frames.collect());
    let list = sim.list(Name::VIDEO);
    let (first, last) = (&list.segments[0], list.segments.iter().rev().find(|found| found.uri.is_some()));
    let last = last.expect("a closed one");
    let between: f64 =
        list.segments.iter().take_while(|found| *found != last).map(|found| found.length()).sum();
    let dates = (last.date.expect("dated") - first.date.expect("dated")) as f64 / 1000.0;
    assert!((between - dates).abs() < 0.1, "playlists keep time: {between} listed, {dates} by date");
}

fn times_of(fragment: &[u8]) -> (u64, u64) {
    let moof = Moof::decode(&mut &fragment[..]).expect("a moof");
    let traf = &moof.traf[0];
    assert!(traf.tfhd.default_base_is_moof, "M07");
    let start = traf.tfdt.as_ref().expect("M07: tfdt").base_media_decode_time;
    (start, traf.trun[0].samples.iter().map(|sample| u64::from(sample.duration.expect("explicit"))).sum())
}

fn keyframes_in(fragment: &[u8]) -> Vec<bool> {
    let moof = Moof::decode(&mut &fragment[..]).expect("a moof");
    moof.traf[0].trun[0].samples.iter().map(|sample| sample.flags == Some(0x0200_0000)).collect()
}
