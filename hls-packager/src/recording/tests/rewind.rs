//! Live viewers go back further than memory reaches, by so much time and so many bytes.

use std::collections::VecDeque;

use super::house::{House, REWIND};
use crate::directives::{Directives, Skip};
use crate::file_name::FileName;
use crate::name::Name;
use crate::rendition::Resource;
use crate::tests::reader::List;
use crate::tests::rules;
use crate::tests::source::Source;

fn list(house: &mut House, skip: Skip) -> List {
    list_of(house, Name::VIDEO, skip)
}

fn list_of(house: &mut House, name: Name, skip: Skip) -> List {
    let directives = Directives { skip, ..Directives::default() };
    let rendered = house.presentation.playlist(name, &directives).expect("a playlist");
    List::read(std::str::from_utf8(&rendered.plain).expect("UTF-8"))
}

fn lasts(list: &List) -> f64 {
    list.segments.iter().map(|segment| segment.length()).sum()
}

/// A minute of a source, slow so that it is short work.
fn minute(number: u32) -> Source {
    let from = f64::from(number) * 60.0;
    Source { seconds: 60.0, from, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() }
}

#[test]
fn a_playlist_lists_what_the_recording_has_and_memory_keeps_its_window() {
    let mut house = House::new();
    let mut last: Option<List> = None;
    let mut held = 0;
    for minute in 0..14 {
        let from = f64::from(minute) * 60.0;
        let source =
            Source { seconds: 60.0, from, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
        for (kind, frame) in house.frames(&source) {
            house.feed(kind, frame);
            // By now the list slides: every step of it is an allowed one.
            if minute == 12 && kind == media::Kind::Video {
                let now = list(&mut house, Skip::No);
                rules::check(&now, false);
                if let Some(before) = last.replace(now.clone()) {
                    rules::check_step(&before, &now);
                }
            }
        }
        let now = list(&mut house, Skip::No);
        held = held.max(house.presentation.rendition(Name::VIDEO).expect("video").bytes());
        last = (minute > 11).then_some(now);
    }
    let all = last.expect("a playlist");
    let lasts: f64 = all.segments.iter().map(|segment| segment.length()).sum();
    assert!((lasts - REWIND.as_secs_f64()).abs() < 30.0, "{lasts}");
    assert!(held < 100 * 100_000, "memory keeps about 50 s, {held}");
    let first = FileName::Segment(all.media_sequence);
    assert!(matches!(house.presentation.file(Name::VIDEO, first), Resource::Recorded));
    let before = FileName::Segment(all.media_sequence + 290);
    assert!(!matches!(house.presentation.file(Name::VIDEO, before), Resource::Missing));
    // A player that knows the list gets its end only.
    let delta = list(&mut house, Skip::Segments);
    assert!(delta.segments.len() < 20 && delta.skipped.is_some_and(|skipped| skipped > 280), "{delta:?}");
    assert_eq!(delta.media_sequence, all.media_sequence);
}

#[test]
fn without_the_recording_there_is_no_way_back() {
    let mut house = House::new();
    let source = Source { seconds: 200.0, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
    for (kind, frame) in house.frames(&source) {
        // From 100 to 120 s the recorder takes nothing, and its queue is lost.
        let at = frame.dts.as_secs_f64();
        house.feed_only(kind, frame);
        if (100.0..120.0).contains(&at) {
            house.lose();
        } else {
            house.write();
        }
    }
    let now = list(&mut house, Skip::No);
    rules::check(&now, false);
    let lasts: f64 = now.segments.iter().map(|segment| segment.length()).sum();
    assert!((60.0..100.0).contains(&lasts), "{lasts}");
}

#[test]
fn a_pause_of_the_sound_does_not_end_the_way_back() {
    let mut house = House::new();
    let source = Source { seconds: 120.0, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
    for (kind, frame) in house.frames(&source) {
        let pause = 30_000_000..38_000_000;
        if kind == media::Kind::Video || !pause.contains(&frame.pts.as_micros()) {
            house.feed(kind, frame);
        }
    }
    let sound = list_of(&mut house, Name::Audio, Skip::No);
    let gap = sound.segments.iter().position(|segment| segment.gap).expect("a gap is listed") as u64;
    assert_eq!(sound.media_sequence, 0, "back to the beginning");
    for msn in [0, gap - 1, gap + 8] {
        let file = house.presentation.file(Name::Audio, FileName::Segment(msn));
        assert!(matches!(file, Resource::Recorded), "{msn}");
    }
    assert_eq!(house.counters.snapshot().segments_lost_total, 0);
}

#[test]
fn a_segment_that_is_lost_takes_none_away_that_are_listed() {
    let mut house = House::new();
    let source = Source { seconds: 90.0, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() };
    let mut lost = false;
    for (kind, frame) in house.frames(&source) {
        let at = frame.dts.as_secs_f64();
        house.feed_only(kind, frame);
        if (76.0..80.0).contains(&at) {
            house.lose();
            lost = true;
        } else {
            house.write();
        }
        if kind != media::Kind::Video || at < 10.0 {
            continue;
        }
        // It is in memory still: everything before it is there for whoever goes back.
        let now = list(&mut house, Skip::No);
        rules::check(&now, false);
        assert_eq!(now.media_sequence, 0);
        let closed = now.segments.iter().filter(|it| it.uri.is_some()).count() as u64;
        for msn in 0..closed {
            let file = house.presentation.file(Name::VIDEO, FileName::Segment(msn));
            assert!(!matches!(file, Resource::Missing), "{msn} at {at} s");
        }
    }
    assert!(lost && house.counters.snapshot().segments_lost_total > 0);
}

#[test]
fn the_way_back_is_bounded_by_bytes_of_all_renditions_and_the_recording_keeps_everything() {
    const BYTES_MAX: u64 = 11 << 20;
    let mut house = House::bounded(u64::MAX, BYTES_MAX);
    let mut last: Option<List> = None;
    for number in 0..6 {
        for (kind, frame) in house.frames(&minute(number)) {
            house.feed(kind, frame);
            if number > 1 && kind == media::Kind::Video {
                let now = list(&mut house, Skip::No);
                rules::check(&now, false);
                if let Some(before) = last.replace(now.clone()) {
                    rules::check_step(&before, &now);
                }
            }
        }
    }
    let (video, audio) = (list(&mut house, Skip::No), list_of(&mut house, Name::Audio, Skip::No));
    assert!(
        video.media_sequence.abs_diff(audio.media_sequence) <= 1,
        "{} {}",
        video.media_sequence,
        audio.media_sequence
    );
    assert!((60.0..300.0).contains(&lasts(&video)), "bytes and not time: {}", lasts(&video));
    // A player that knows the list gets the same one.
    let delta = list(&mut house, Skip::Segments);
    assert_eq!(delta.media_sequence, video.media_sequence);
    assert_eq!(delta.skipped.map(|it| it as usize + delta.segments.len()), Some(video.segments.len()));
    let from = video.media_sequence;
    let cut = house.presentation.rendition(Name::VIDEO).expect("video").rewind_cut();
    assert_eq!(cut, from, "each of them is counted");
    // What is not listed any more is there for whoever knows of it.
    for msn in [0, from - 1, from] {
        let file = house.presentation.file(Name::VIDEO, FileName::Segment(msn));
        assert!(matches!(file, Resource::Recorded), "{msn}");
    }
    let plan = house.finish();
    for rendition in &plan.renditions {
        let sizes: Vec<u64> = rendition.segments.iter().map(|segment| segment.bytes()).collect();
        let all: Vec<Option<u64>> = (0..sizes.len() as u64).map(Some).collect();
        assert_eq!(rendition.segments.iter().map(|it| it.msn).collect::<Vec<_>>(), all, "nothing is missing");
    }
    // As many as fit behind a window of about ten segments.
    let size = |from: u64| -> u64 {
        let listed = plan.renditions.iter().flat_map(|it| &it.segments).filter(|it| it.msn >= Some(from));
        listed.map(|it| it.bytes()).sum()
    };
    let behind = |from: u64, window: u64| {
        size(from) - size(video.media_sequence + video.segments.len() as u64 - window)
    };
    assert!(behind(from, 14) <= BYTES_MAX, "{}", behind(from, 14));
    assert!(behind(from - 3, 8) > BYTES_MAX, "{}", behind(from - 3, 8));
}

#[test]
fn a_recording_that_slides_has_what_is_listed_and_what_was_listed_until_lately() {
    const BYTES_MAX: u64 = 12 << 20;
    // As the settings have it: a third of what the recording may take.
    let mut house = House::bounded(BYTES_MAX, BYTES_MAX / 3);
    // When a segment was listed for the last time, and how long the list was then.
    let mut gone: VecDeque<(u64, f64, f64)> = VecDeque::new();
    let mut before: Option<List> = None;
    for number in 0..12 {
        for (kind, frame) in house.frames(&minute(number)) {
            let at = frame.dts.as_secs_f64();
            house.feed(kind, frame);
            if number == 0 || kind != media::Kind::Video {
                continue;
            }
            let now = list(&mut house, Skip::No);
            if let Some(before) = before.replace(now.clone()) {
                let removed = before.media_sequence..now.media_sequence;
                gone.extend(removed.map(|msn| (msn, at, lasts(&before))));
            }
            // Section 6.2.2: for as long as the longest list that had it.
            while gone.front().is_some_and(|(_, since, long)| at - since > *long) {
                gone.pop_front();
            }
            let closed = now.segments.iter().filter(|it| it.uri.is_some()).count() as u64;
            let listed = now.media_sequence..now.media_sequence + closed;
            for msn in listed.chain(gone.iter().map(|it| it.0)) {
                let file = house.presentation.file(Name::VIDEO, FileName::Segment(msn));
                assert!(!matches!(file, Resource::Missing), "{msn} at {at} s");
            }
        }
    }
    let removed = house.counters.snapshot().segments_removed_total;
    assert!(removed > 50 && gone.len() > 20, "{removed} {}", gone.len());
}
