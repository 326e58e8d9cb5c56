//! What viewers of an overloaded shard see and hear.

use std::time::Instant;

use sfu::core::overload::{Load, Overload, Stage};
use sfu::{LayerCap, OverloadLevel};

use super::*;

/// The stages that a shard goes through under more and more load.
fn stages() -> Vec<Stage> {
    let mut overload = Overload::new(90);
    let mut now: Instant = World::new(0, Source::default()).now;
    let mut stages = Vec::new();
    while stages.last() != Some(&Stage::MAX) {
        now += SECOND;
        stages.extend(overload.note(now, Load { busy: SECOND, ..Load::default() }, || true));
    }
    stages
}

fn caps(world: &World, viewer: usize) -> Vec<LayerCap> {
    let capped = |event: &PeerEvent| match event {
        PeerEvent::Capped(cap) => Some(*cap),
        _ => None,
    };
    world.viewers[viewer].events.iter().filter_map(capped).collect()
}

fn sound_of(world: &World, viewer: usize) -> usize {
    world.viewers[viewer].got.iter().filter(|got| !got.video).count()
}

#[test]
fn sound_is_never_shed_and_the_newest_lose_their_picture_first() {
    let mut world = World::new(30, Source::default());
    world.run(ms(100));
    for _ in 0..4 {
        world.join_plain(Line::default());
        world.run(ms(50));
    }
    world.run(2 * SECOND);
    let mut audio_only = Vec::new();
    for stage in stages() {
        world.core.shed(world.now, stage);
        let pictures: Vec<usize> = (0..4).map(|viewer| world.viewers[viewer].video_frames().len()).collect();
        let sound: Vec<usize> = (0..4).map(|viewer| sound_of(&world, viewer)).collect();
        world.run(SECOND);
        for (viewer, before) in sound.into_iter().enumerate() {
            let heard = sound_of(&world, viewer) - before;
            assert!(heard >= 48, "{stage:?}: viewer {viewer} heard {heard} of 50 packets");
        }
        if stage.level() == OverloadLevel::AudioOnly {
            // What is on its way when the stage begins still arrives.
            let dark = |viewer: &usize| world.viewers[*viewer].video_frames().len() <= pictures[*viewer] + 2;
            audio_only.push((0..4).filter(dark).collect::<Vec<usize>>());
        }
    }
    assert_eq!(audio_only, [vec![3], vec![2, 3], vec![1, 2, 3], vec![0, 1, 2, 3]]);
    assert_eq!(world.core.counters().viewers_audio_only, 4);
    for viewer in 0..4 {
        assert_eq!(
            caps(&world, viewer),
            [LayerCap::Smallest, LayerCap::AudioOnly],
            "each change is told once"
        );
    }

    // Back: with a keyframe, not with a burst, and not with a gap in the numbers.
    let bursts = world.core.counters().catch_ups;
    let before: Vec<usize> = (0..4).map(|viewer| world.viewers[viewer].got.len()).collect();
    world.core.shed(world.now, Stage::default());
    world.run(5 * SECOND);
    check_wire(&world);
    for (viewer, before) in before.into_iter().enumerate() {
        let again = world.viewers[viewer].got[before..].iter().find(|got| got.video);
        assert_eq!(again.expect("a picture").frame % 60, 0, "viewer {viewer} begins with a keyframe");
        assert_eq!(caps(&world, viewer).last(), Some(&LayerCap::None));
    }
    assert_eq!(world.core.counters().viewers_audio_only, 0);
    assert_eq!(world.core.counters().catch_up_abandoned, 0);
    assert_eq!(world.core.counters().nacked, 0);
    assert_eq!(world.core.counters().catch_ups - bursts, 4, "of one frame each");
}

#[test]
fn who_comes_in_spite_of_the_overload_is_the_newest() {
    let mut world = World::new(31, Source::default());
    world.run(ms(100));
    let old = world.join_plain(Line::default());
    world.run(SECOND);
    let half = stages()
        .into_iter()
        .find(|stage| (stage.cap(0, 2), stage.cap(1, 2)) == (LayerCap::AudioOnly, LayerCap::Smallest));
    world.core.shed(world.now, half.expect("a stage that takes one of two"));
    world.run(ms(100));
    assert_eq!(caps(&world, old).last(), Some(&LayerCap::AudioOnly), "alone, it is the newest");
    let new = world.join_plain(Line::default());
    world.run(3 * SECOND);
    assert_eq!(caps(&world, new), [LayerCap::AudioOnly]);
    assert_eq!(caps(&world, old).last(), Some(&LayerCap::Smallest));
    let id = PeerId::from_raw(new as u64 + 1);
    world.core.handle_command(world.now, Command::Close(id));
    world.run(ms(100));
    assert_eq!(world.core.counters().viewers_audio_only, 1, "the one that is left gives");
}

#[test]
fn a_picture_that_the_viewer_paused_does_not_come_back_with_the_calm() {
    let mut world = World::new(32, Source::default());
    world.run(ms(100));
    let viewer = world.join_plain(Line::default());
    world.run(SECOND);
    let id = PeerId::from_raw(viewer as u64 + 1);
    world.core.shed(world.now, Stage::MAX);
    world.core.handle_command(world.now, Command::Pause(id, media::Kind::Video));
    world.core.shed(world.now, Stage::default());
    world.run(ms(100));
    let frames = world.viewers[viewer].video_frames().len();
    world.run(3 * SECOND);
    assert_eq!(world.viewers[viewer].video_frames().len(), frames);
    world.core.shed(world.now, Stage::MAX);
    world.core.handle_command(world.now, Command::Resume(id, media::Kind::Video));
    world.run(3 * SECOND);
    assert_eq!(world.viewers[viewer].video_frames().len(), frames, "nor with its wish while it is shed");
    world.core.shed(world.now, Stage::default());
    world.run(3 * SECOND);
    assert!(world.viewers[viewer].video_frames().len() > frames + 20);
}
