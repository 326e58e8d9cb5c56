//! Sound and picture: their dates, and how long the picture is told to wait.

use std::time::{Duration, UNIX_EPOCH};

use sfu::PeerId;
use sfu::core::Command;

use crate::line::Line;
use crate::source::Source;
use crate::world::World;
use crate::{SECOND, ms};

/// What a browser needs for lip synchronisation, during a catch-up burst too: the first reports come with the first
/// packets, and by them everything has the date at which it was sent.
#[test]
fn sound_and_picture_have_the_same_date_from_the_first_report_on() {
    let mut world = World::new(30, Source { gop: 300, ..Source::default() });
    let (began, wall) = (world.now, UNIX_EPOCH + Duration::from_secs(1_795_327_200));
    world.run(8 * SECOND);
    let viewer = world.join_plain(Line::default());
    world.run(3 * SECOND);
    assert_eq!(world.core.counters().catch_ups, 1);
    for video in [false, true] {
        // The first packets: keyframes are paced.
        let first = world.viewers[viewer].got.iter().filter(|got| got.video == video && got.part == 0);
        let got: Vec<_> = first.collect();
        let begins = got[0].at;
        for got in got {
            let Some(date) = got.date else {
                assert!(got.at - begins < ms(50), "no report after {:?}", got.at - begins);
                continue;
            };
            let sent = wall + (got.at - began - Line::default().latency);
            let off = sent.duration_since(date).unwrap_or_else(|error| error.duration());
            // The date of a frame is that of its making, and a burst's stops short of the next frame.
            assert!(off < ms(34), "{off:?} off, {:?} after the first, video {video}", got.at - begins);
        }
    }
}

/// Stamps of sound are corrected by whole packets only; what is left is told by the reports.
#[test]
fn what_is_not_corrected_is_reported() {
    let mut world = World::new(33, Source { sound_lag: ms(11), ..Source::default() });
    let (began, wall) = (world.now, UNIX_EPOCH + Duration::from_secs(1_795_327_200));
    world.run(SECOND);
    let viewer = world.join_plain(Line::default());
    world.run(3 * SECOND);
    let sound = world.viewers[viewer].got.iter().filter(|got| !got.video);
    let dated: Vec<_> = sound.filter_map(|got| Some((got.at, got.date?))).collect();
    assert!(dated.len() > 100);
    for (at, date) in dated {
        let sent = wall + (at - began - Line::default().latency);
        let off = sent.duration_since(date).unwrap_or_else(|error| error.duration());
        assert!(off < ms(3), "{off:?} off");
    }
}

/// What comes before a browser's audio output is open makes all sound after it late. On a line that is as slow as that by
/// itself nothing waits.
#[test]
fn sound_comes_once_a_browser_can_play_it() {
    for (latency, most) in [(ms(1), ms(425)), (ms(150), ms(30))] {
        let mut world = World::new(34, Source::default());
        world.run(ms(500));
        let viewer = world.join_plain(Line { latency, ..Line::default() });
        world.run(3 * SECOND);
        let viewer = &world.viewers[viewer];
        let first = |video| viewer.got.iter().find(|got| got.video == video).expect("both come").at;
        assert!(first(false) - viewer.joined >= ms(400), "after {:?}", first(false) - viewer.joined);
        let behind = first(false).saturating_duration_since(first(true));
        assert!(behind <= most, "{behind:?} after the picture, where a packet takes {latency:?}");
    }
}

#[test]
fn the_picture_is_told_to_wait_for_its_sound() {
    for (late, wait) in [(0, 70), (80, 150)] {
        let mut world = World::new(31, Source { sound_late: ms(late), ..Source::default() });
        world.run(ms(500));
        world.join_plain(Line::default());
        world.run(3 * SECOND);
        let second = world.join_plain(Line::default());
        world.run(3 * SECOND);
        let video: Vec<_> = world.viewers[second].got.iter().filter(|got| got.video).collect();
        assert_eq!(video[0].waits, Some((ms(wait), 10 * SECOND)), "with the first packet, if it is known");
        let told = video.iter().rev().find_map(|got| got.waits);
        assert_eq!(told, Some((ms(wait), 10 * SECOND)), "sound late by {late} ms");
        assert_eq!(video.last().and_then(|got| got.waits), None, "no more once it got through");
    }
}

/// Without sound there is nothing to wait for; but a minimum of zero would make browsers show each frame at once.
#[test]
fn a_picture_without_sound_waits_for_nothing() {
    let mut world = World::new(32, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(SECOND);
    world
        .core
        .handle_command(world.now, Command::Pause(PeerId::from_raw(viewer as u64 + 1), media::Kind::Audio));
    world.run(SECOND);
    let last = world.viewers[viewer].got.iter().rev().find_map(|got| got.waits);
    assert_eq!(last, Some((ms(10), 10 * SECOND)));
}
