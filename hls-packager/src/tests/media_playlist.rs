//! What happens to playlists when sources change, pause, return and end.

use std::time::Duration;

use media::{Frame, Kind, StreamId};

use super::reader::List;
use super::sim::{NOON_UNIX_MICROS, Sim, expected};
use super::source::{Source, audio_config};
use crate::Config;
use crate::name::Name;
use crate::variant::multivariant;

const BOTH: [Name; 2] = [Name::VIDEO, Name::Audio];

fn discontinuities(list: &List) -> Vec<u64> {
    let numbered = (list.media_sequence..).zip(&list.segments);
    numbered.filter(|(_, segment)| segment.discontinuity).map(|(msn, _)| msn).collect()
}

#[test]
fn hls_m05_m08_r6_a_reconnect_continues_the_playlist_with_a_discontinuity() {
    let before = Source { seconds: 9.0, ..Source::default() };
    let after = Source { from: 16.0, epoch: 1, seconds: 12.0, sps: super::SPS_SMALL, ..Source::default() };
    let mut sim = Sim::new(expected(&before));
    sim.feed(&before);
    let msn = sim.list(Name::VIDEO).media_sequence + sim.list(Name::VIDEO).segments.len() as u64;
    sim.feed(&after);
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    assert_eq!(discontinuities(&video), [msn], "MSN goes on");
    assert_eq!(discontinuities(&video), discontinuities(&audio), "M04, M05: at the same segment");
    for list in [&video, &audio] {
        let at = list.segments.iter().position(|segment| segment.discontinuity).expect("one");
        assert_eq!(list.segments[at].map.as_deref(), Some("init1.mp4"), "a new init");
        let gap = list.segments[at].date.expect("dated") - list.segments[at - 1].date.expect("dated");
        assert!((7900..=8200).contains(&gap), "the clock shows the pause: {gap}");
    }
    super::judge::judge("a reconnect", &sim);
    assert!(sim.file(Name::VIDEO, "init0.mp4").is_some() && sim.file(Name::VIDEO, "init1.mp4").is_some());
}

#[test]
fn hls_m04_discontinuity_sequence_counts_what_was_removed() {
    let before = Source { seconds: 9.0, ..Source::default() };
    let after = Source { from: 12.0, epoch: 1, seconds: 40.0, ..Source::default() };
    let mut sim = Sim::new(expected(&before));
    sim.feed(&before);
    sim.feed(&after);
    for name in BOTH {
        let list = sim.list(name);
        assert_eq!((list.discontinuity_sequence, discontinuities(&list).len()), (1, 0), "{name:?}");
        assert_eq!(list.segments[0].map.as_deref(), Some("init1.mp4"));
        assert!(sim.file(name, "init1.mp4").is_some());
    }
}

#[test]
fn hls_m05_a_change_of_size_at_a_keyframe_is_a_discontinuity() {
    // A WebRTC source ramps: the size changes 0.5 s into a segment.
    let small = Source { seconds: 6.5, sps: super::SPS_SMALL, audio_hz: None, ..Source::default() };
    let large = Source { from: 6.5, seconds: 10.0, audio_hz: None, ..Source::default() };
    let audio = Source { video: false, seconds: 16.5, ..Source::default() };
    let mut sim = Sim::new(expected(&Source::default()));
    let mut frames = small.frames(sim.origin);
    frames.extend(large.frames(sim.origin));
    frames.extend(audio.frames(sim.origin));
    frames.sort_by_key(|(_, frame)| frame.arrival);
    sim.feed_frames(frames);
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    assert_eq!(discontinuities(&video).len(), 1);
    assert_eq!(discontinuities(&video), discontinuities(&audio));
    assert!(sim.presentation.all_independent());
    assert_eq!(sim.presentation.dropped(), 0);
}

#[test]
fn hls_m05_new_audio_parameters_wait_for_the_next_keyframe() {
    let mut sim = Sim::new(expected(&Source::default()));
    let mono = audio_config(24_000);
    let frames = Source { seconds: 16.0, ..Source::default() }.frames(sim.origin).into_iter();
    let frames = frames.map(|(kind, frame)| match kind {
        Kind::Audio if frame.pts.as_micros() > 7_000_000 => (kind, Frame { config: mono.clone(), ..frame }),
        _ => (kind, frame),
    });
    sim.feed_frames(frames.collect());
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    assert_eq!(discontinuities(&video).len(), 1);
    assert_eq!(discontinuities(&video), discontinuities(&audio));
    assert!(sim.presentation.dropped() > 10, "what does not fit is left out");
}

#[test]
fn hls_m09_silent_audio_gets_gap_segments_and_comes_back() {
    let source = Source { seconds: 30.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let frames = source.frames(sim.origin).into_iter().filter(|(kind, frame)| {
        *kind == Kind::Video || !(7_000_000..19_000_000).contains(&frame.pts.as_micros())
    });
    sim.clipped = true;
    sim.feed_frames(frames.collect());
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    let gaps = audio.segments.iter().filter(|segment| segment.gap).count();
    assert!((4..=6).contains(&gaps), "{gaps}");
    assert!(video.segments.iter().all(|segment| !segment.gap));
    assert!(audio.segments.last().is_some_and(|last| !last.gap));
    let gap = audio.segments.iter().find(|segment| segment.gap).and_then(|gap| gap.uri.clone());
    assert!(sim.file(Name::Audio, &gap.expect("closed")).is_none(), "a gap is not downloadable");
}

#[test]
fn hls_m09_sound_that_stops_for_good_keeps_nobody_from_starting() {
    let source = Source { seconds: 60.0, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let frames = source.frames(sim.origin).into_iter();
    sim.clipped = true;
    sim.feed_frames(
        frames.filter(|(kind, frame)| *kind == Kind::Video || frame.pts.as_micros() < 7_000_000).collect(),
    );
    assert!(sim.list(Name::Audio).segments.iter().all(|segment| segment.gap || segment.uri.is_none()));
    assert!(sim.presentation.is_ready() && sim.presentation.welcomes());
    let master = multivariant(&sim.presentation, StreamId::from_raw(1)).to_string();
    assert!(master.contains("/video/index.m3u8") && !master.contains("/audio/"), "{master}");
}

#[test]
fn hls_m09_silent_video_gets_gap_segments_while_audio_goes_on() {
    let source = Source { seconds: 30.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let frames = source.frames(sim.origin).into_iter().filter(|(kind, frame)| {
        *kind == Kind::Audio || !(7_000_000..19_000_000).contains(&frame.pts.as_micros())
    });
    sim.clipped = true;
    sim.feed_frames(frames.collect());
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    assert!(video.segments.iter().filter(|segment| segment.gap).count() >= 3);
    assert!(audio.segments.iter().all(|segment| !segment.gap));
    assert!(video.segments.last().is_some_and(|last| !last.gap));
    assert!(video.media_sequence.abs_diff(audio.media_sequence) <= 1);
    assert!(!sim.presentation.all_independent());
}

#[test]
fn hls_m15_l14_a_stream_that_ended_has_endlist_and_no_hint() {
    let mut sim = Sim::run(&Source { seconds: 13.3, ..Source::default() });
    let next = sim.list(Name::VIDEO).hint.expect("a hint while live");
    sim.finish();
    for name in BOTH {
        let list = sim.list(name);
        assert!(list.ended && list.hint.is_none() && list.reports.is_empty());
        assert!(list.segments.iter().all(|segment| segment.uri.is_some() && segment.parts.is_empty()));
        let sum: f64 = list.segments.iter().filter_map(|segment| segment.duration).sum();
        assert!((13.2..13.4).contains(&sum), "nothing is lost: {sum}");
    }
    assert!(sim.file(Name::VIDEO, &next).is_some(), "what was hinted came with the end");
}

#[test]
fn hls_m03_m12_m13_removed_segments_stay_downloadable_for_a_while() {
    let config = Config::default();
    let source = Source { seconds: 90.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let mut gone_after = None;
    let mut removed_at = None;
    for (kind, frame) in source.frames(sim.origin) {
        sim.feed_frames(vec![(kind, frame)]);
        if sim.presentation.rendition(Name::VIDEO).is_none() {
            continue;
        }
        let list = sim.list(Name::VIDEO);
        if list.media_sequence > 0 && removed_at.is_none() {
            removed_at = Some(sim.now);
            assert_eq!(
                list.segments.iter().filter(|found| found.uri.is_some()).count(),
                10,
                "A-8.11: at least 6"
            );
        }
        if removed_at.is_some() && gone_after.is_none() && sim.file(Name::VIDEO, "s0.m4s").is_none() {
            gone_after = removed_at.map(|removed| sim.now - removed);
        }
    }
    let window = Duration::from_secs(u64::from(2 * config.window_segments));
    let gone_after = gone_after.expect("forgotten at last");
    assert!(gone_after >= window + Duration::from_secs(2), "M13: {gone_after:?}");
    assert!(gone_after <= window + Duration::from_secs(10), "memory is bounded: {gone_after:?}");
    // 80 kB and 30 x 6 kB per second, for the window and as long again.
    let held = sim.presentation.rendition(Name::VIDEO).expect("video").bytes();
    assert!(held < 60 * 260_000, "{held}");
}

#[test]
fn hls_l17_every_other_rendition_is_reported() {
    let mut sim = Sim::run(&Source { seconds: 13.3, ..Source::default() });
    for (name, other, uri) in
        [(Name::VIDEO, Name::Audio, "../audio/index.m3u8"), (Name::Audio, Name::VIDEO, "../video/index.m3u8")]
    {
        let list = sim.list(name);
        let reported = sim.list(other);
        let last = reported.segments.last().expect("segments");
        let msn = reported.media_sequence + reported.segments.len() as u64 - 1;
        let (at, last_msn, last_part) = &list.reports[0];
        assert_eq!((list.reports.len(), at.as_str()), (1, uri));
        // A report is as old as the playlist that carries it: by a part at most.
        let (lag, parts) = (msn - last_msn, last.parts.len() as u64);
        assert!(
            lag == 0 && last_part.is_some_and(|part| part + 2 >= parts),
            "{last_msn} {last_part:?} of {msn} {parts}"
        );
    }
    let alone = Sim::run(&Source { audio_hz: None, ..Source::default() });
    assert!(alone.lists(Name::VIDEO).all(|list| list.reports.is_empty()));
}

#[test]
fn hls_m08_dates_are_the_clock_at_presentation() {
    let noon_ms = (NOON_UNIX_MICROS / 1000 % 86_400_000) as i64;
    for (b_frames, first) in [(false, 0), (true, 33)] {
        let sim = Sim::run(&Source { b_frames, ..Source::default() });
        let list = sim.lists(Name::VIDEO).next().expect("a playlist");
        assert_eq!(list.segments[0].date, Some(noon_ms + first), "B-frames are shown a frame later");
    }
}

#[test]
fn audio_that_comes_late_joins_the_segment_that_is_open() {
    let video = Source { audio_hz: None, seconds: 30.0, ..Source::default() };
    let audio = Source { video: false, from: 13.0, seconds: 17.0, ..Source::default() };
    let mut sim = Sim::new(expected(&video));
    let mut frames = video.frames(sim.origin);
    frames.extend(audio.frames(sim.origin));
    frames.sort_by_key(|(_, frame)| frame.arrival);
    sim.feed_frames(frames);
    let (video, audio) = (sim.list(Name::VIDEO), sim.list(Name::Audio));
    assert_eq!(audio.media_sequence, 6);
    let end = |list: &List| list.media_sequence + list.segments.len() as u64;
    assert!(end(&video).abs_diff(end(&audio)) <= 1);
}

#[test]
fn what_is_expected_and_never_comes_does_not_hold_the_stream() {
    let video = Source { audio_hz: None, seconds: 10.0, ..Source::default() };
    let mut sim = Sim::new(expected(&Source::default()));
    sim.feed(&video);
    let first = sim.snapshots.first().expect("it starts").0;
    let began = video.frames(sim.origin)[0].1.arrival;
    assert!(first - began <= Config::default().audio_wait() + Duration::from_millis(100));
}

#[test]
fn a_jump_of_the_clock_does_not_make_an_endless_segment() {
    for jump in [3.0, 60.0, 2_147_483.0] {
        let before = Source { seconds: 9.0, ..Source::default() };
        let after = Source { from: 9.0 + jump, seconds: 9.0, ..Source::default() };
        let mut sim = Sim::new(expected(&before));
        sim.feed(&before);
        sim.feed(&after);
        for name in BOTH {
            assert_eq!(discontinuities(&sim.list(name)).len(), 1, "{name:?}: {jump}");
        }
    }
}

#[test]
fn after_a_hole_video_goes_on_at_a_keyframe() {
    let source = Source { seconds: 20.0, ..Source::default() };
    let mut sim = Sim::new(expected(&source));
    let frames = source.frames(sim.origin).into_iter();
    let frames = frames.filter(|(_, frame)| !(9_000_000..12_500_000).contains(&frame.pts.as_micros()));
    sim.feed_frames(frames.collect());
    let video = sim.list(Name::VIDEO);
    assert!(!discontinuities(&video).is_empty());
    assert_eq!(discontinuities(&video), discontinuities(&sim.list(Name::Audio)));
    let begun: Vec<_> =
        video.segments.iter().filter(|segment| segment.discontinuity && !segment.gap).collect();
    assert_eq!(begun.len(), 1);
    let from_noon = begun[0].date.expect("dated") - 12 * 3_600_000;
    assert_eq!(from_noon, 14_000, "the first keyframe behind the hole");
}
