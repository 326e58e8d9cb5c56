//! Live viewers go back further than memory reaches.

use super::house::{House, REWIND};
use crate::directives::{Directives, Skip};
use crate::file_name::FileName;
use crate::name::Name;
use crate::rendition::Resource;
use crate::tests::reader::List;
use crate::tests::rules;
use crate::tests::source::Source;

fn list(house: &mut House, skip: Skip) -> List {
    let directives = Directives { skip, ..Directives::default() };
    let rendered = house.presentation.playlist(Name::VIDEO, &directives).expect("a playlist");
    List::read(std::str::from_utf8(&rendered.plain).expect("UTF-8"))
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
