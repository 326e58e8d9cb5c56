//! Viewers of a source with three Layers: from one to another and back, whatever the network does meanwhile.

use std::time::{Duration, Instant};

use media::Rid;
use sfu::core::Command;
use sfu::{AudioOnly, LayerChoice, Layers, PeerEvent, PeerId};

use crate::browser::Abilities;
use crate::line::Line;
use crate::source::{LAYER_SHIFT, Source, THREE_LAYERS};
use crate::world::World;
use crate::{SECOND, check_wire, counts, ms};

/// A browser: it makes keyframes when asked, and no others.
pub(crate) fn browser() -> Source {
    Source {
        gop: 100_000,
        keyframes_on_request: true,
        layers: THREE_LAYERS,
        answer: ms(60),
        ..Source::default()
    }
}

/// OBS: it does not hear.
fn obs(gop: u32) -> Source {
    Source { gop, layers: THREE_LAYERS, ..Source::default() }
}

fn choose(world: &mut World, viewer: usize, choice: LayerChoice) -> Instant {
    let id = PeerId::from_raw(viewer as u64 + 1);
    world.core.handle_command(world.now, Command::SetLayer(id, choice));
    world.now
}

fn rid(layer: usize) -> Rid {
    Rid::parse(THREE_LAYERS[layer].rid).unwrap()
}

fn told(world: &World, viewer: usize) -> Vec<&Layers> {
    let events = world.viewers[viewer].events.iter();
    events
        .filter_map(|event| if let PeerEvent::Layers(layers) = event { Some(layers) } else { None })
        .collect()
}

/// A frame as the decoder got it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) frame: u32,
    pub(crate) layer: u32,
    pub(crate) at: Instant,
}

/// What a viewer was shown from `since` on.
pub(crate) fn shown(world: &World, viewer: usize, since: Instant) -> Vec<Shown> {
    let decoded = world.viewers[viewer].browser().decoded().iter();
    let of = |(number, at): &(u32, Instant)| Shown {
        frame: number & ((1 << LAYER_SHIFT) - 1),
        layer: number >> LAYER_SHIFT,
        at: *at,
    };
    decoded.map(of).filter(|shown| shown.at >= since).collect()
}

/// The longest time that the picture stood still.
pub(crate) fn longest_freeze(shown: &[Shown]) -> Duration {
    shown.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or(Duration::MAX)
}

/// Captures that were never shown, and those that were shown twice.
pub(crate) fn seams(shown: &[Shown]) -> (Vec<u32>, usize) {
    let (mut missing, mut double) = (Vec::new(), 0);
    for pair in shown.windows(2) {
        missing.extend(pair[0].frame + 1..pair[1].frame);
        double += usize::from(pair[1].frame <= pair[0].frame);
    }
    (missing, double)
}

/// When a Layer was shown for the first time after `since`.
fn shown_after(shown: &[Shown], layer: usize, since: Instant) -> Duration {
    let first = shown.iter().find(|shown| shown.layer as usize == layer && shown.at >= since);
    first.map_or(Duration::MAX, |shown| shown.at - since)
}

/// A source that has been sending for a while, and a viewer that has come and seen a little.
fn begin(seed: u64, source: Source, line: Line) -> (World, usize) {
    let mut world = World::new(seed, source);
    world.run(ms(700));
    let viewer = world.join_browser(line, Abilities::default());
    world.run(2 * SECOND);
    (world, viewer)
}

#[test]
fn a_viewer_goes_from_layer_to_layer_without_a_seam() {
    for seed in 100..110 {
        for loss_percent in [0.0, 2.0] {
            let (mut world, viewer) = begin(seed, browser(), Line { loss_percent, ..Line::default() });
            let since = world.now;
            let steps = [0, 1, 2, 0, 2, 1, 0];
            for layer in steps {
                let at = choose(&mut world, viewer, LayerChoice::Layer(rid(layer)));
                let wait = ms(900 + world.random.next() % 300);
                world.run(wait);
                let took = shown_after(&shown(&world, viewer, since), layer, at);
                assert!(took <= ms(300), "seed {seed}: layer {layer} after {took:?}");
            }
            check_wire(&world);
            let shown = shown(&world, viewer, since);
            let ((missing, double), freeze) = (seams(&shown), longest_freeze(&shown));
            let counters = *world.core.counters();
            assert_eq!(counters.layer_choices, steps.len() as u64, "seed {seed}");
            assert!(double <= steps.len(), "seed {seed}: {double} frames twice");
            if loss_percent == 0.0 {
                assert_eq!((missing, counters.nacked), (vec![], 0), "seed {seed}");
                assert!(freeze <= ms(70), "seed {seed}: still for {freeze:?}");
            } else {
                assert!(missing.len() <= 4, "seed {seed}: {missing:?} were never shown");
                assert!(freeze <= ms(300), "seed {seed}: still for {freeze:?}");
            }
        }
    }
}

#[test]
fn what_was_lost_before_a_switch_still_comes() {
    // A NACK takes longer than a switch: what it asks for is of the Layer before.
    let (mut missing, mut frames, mut unknown, mut nacked) = (0, 0, 0, 0);
    for seed in 120..125 {
        let line = Line { latency: ms(80), loss_percent: 5.0, ..Line::default() };
        let (mut world, viewer) = begin(seed, browser(), line);
        let since = world.now;
        for round in 0..20 {
            choose(&mut world, viewer, LayerChoice::Layer(rid(if round % 2 == 0 { 0 } else { 2 })));
            world.run(ms(700));
        }
        check_wire(&world);
        let shown = shown(&world, viewer, since);
        (missing, frames) = (missing + seams(&shown).0.len(), frames + shown.len());
        let counters = *world.core.counters();
        (nacked, unknown) = (nacked + counters.nacked, unknown + counters.nack_unknown);
        assert_eq!(counters.layer_choices, 20, "seed {seed}");
    }
    println!("{frames} frames shown, {missing} missing; of {nacked} NACKs {unknown} unknown");
    assert!(unknown * 100 < nacked, "{unknown} of {nacked}");
    assert!(missing * 100 < frames, "{missing} of {frames}");
}

#[test]
fn a_layer_that_the_encoder_drops_is_replaced_by_the_next_lower_one_and_taken_again() {
    for seed in 130..140 {
        let (mut world, viewer) = begin(seed, browser(), Line::default());
        let since = world.now;
        let shift = ms(1000 + world.random.next() % 100);
        world.run(shift);
        let dropped = world.now;
        world.turn(2, false);
        world.run(4 * SECOND);
        let back = world.now;
        world.turn(2, true);
        world.run(4 * SECOND);
        check_wire(&world);
        let shown = shown(&world, viewer, since);
        let took = shown_after(&shown, 1, dropped);
        assert!(took <= ms(800), "seed {seed}: the next lower one after {took:?}");
        let took = shown_after(&shown, 2, back);
        assert!(took <= ms(1500), "seed {seed}: back after {took:?}");
        let freeze = longest_freeze(&shown);
        assert!(freeze <= ms(800), "seed {seed}: still for {freeze:?}");
        assert_eq!(world.core.counters().layer_losses, 1, "seed {seed}");
        let told = told(&world, viewer);
        let last = told.last().unwrap();
        assert!(last.layers.iter().all(|layer| layer.active) && last.current == Some(rid(2)), "{last:?}");
        assert!(told.iter().any(|it| it.current == Some(rid(1)) && !it.layers[2].active));
    }
}

#[test]
fn an_encoder_that_cannot_be_asked_is_waited_for_or_its_cache_is_used() {
    for (seed, gop) in [(140, 60), (141, 300)] {
        let (mut world, viewer) = begin(seed, obs(gop), Line::default());
        // The next keyframe is far.
        world.run(ms(u64::from(gop) * 33));
        let since = world.now;
        for layer in [0, 2, 1] {
            let asked = choose(&mut world, viewer, LayerChoice::Layer(rid(layer)));
            world.run(ms(u64::from(gop) * 33));
            let took = shown_after(&shown(&world, viewer, since), layer, asked);
            assert!(took <= ms(1500), "GOP {gop}: layer {layer} after {took:?}");
        }
        check_wire(&world);
        assert_eq!(world.core.counters().nacked, 0);
        assert_eq!(seams(&shown(&world, viewer, since)).0, [0; 0], "GOP {gop}: nothing is left out");
    }
}

#[test]
fn a_switch_in_the_middle_of_a_burst_ends_it() {
    for seed in 150..160 {
        let mut world = World::new(seed, obs(300));
        world.run(8 * SECOND);
        let viewer = world.join_browser(Line::default(), Abilities::default());
        let since = world.now;
        while world.viewers[viewer].first_video().is_none() {
            world.run(ms(1));
        }
        let wait = ms(60 + world.random.next() % 200);
        world.run(wait);
        let frame = shown(&world, viewer, since).last().unwrap().frame;
        assert!(frame + 20 < world.frame, "it is in the burst: {frame} of {}", world.frame);
        let asked = choose(&mut world, viewer, LayerChoice::Layer(rid(0)));
        world.run(4 * SECOND);
        check_wire(&world);
        let shown = shown(&world, viewer, since);
        assert!(shown_after(&shown, 0, asked) <= ms(1500), "seed {seed}");
        let last = shown.last().unwrap();
        assert_eq!(last.layer, 0);
        assert!(last.frame + 5 >= world.frame);
        assert!(longest_freeze(&shown) <= ms(150), "seed {seed}: still for {:?}", longest_freeze(&shown));
    }
}

#[test]
fn sound_alone_is_a_choice_too() {
    let (mut world, viewer) = begin(160, browser(), Line::default());
    choose(&mut world, viewer, LayerChoice::AudioOnly);
    world.run(ms(300));
    let (frames, sound) = counts(&world, viewer);
    world.run(SECOND);
    assert_eq!(counts(&world, viewer).0, frames);
    assert!(counts(&world, viewer).1 > sound + 40);
    let last = told(&world, viewer).pop().unwrap();
    assert_eq!((last.current.clone(), last.audio_only), (None, Some(AudioOnly::Choice)));
    let asked = choose(&mut world, viewer, LayerChoice::Auto { max_height: None });
    world.run(2 * SECOND);
    check_wire(&world);
    let shown = shown(&world, viewer, asked);
    assert!(shown[0].at - asked <= ms(300), "{:?}", shown[0].at - asked);
    assert!(shown.last().unwrap().frame + 5 >= world.frame, "and it is as near as before");
    assert_eq!(told(&world, viewer).pop().unwrap().audio_only, None);
}

#[test]
fn nobody_reads_what_nobody_watches() {
    let mut world = World::new(170, browser());
    world.run(ms(700));
    let viewers: Vec<usize> = (0..6).map(|_| world.join_plain(Line::default())).collect();
    for viewer in &viewers {
        choose(&mut world, *viewer, LayerChoice::Layer(rid(2)));
    }
    world.run(2 * SECOND);
    assert_eq!(world.core.counters().feeds, 2, "sound, and the Layer that all of them watch");
    for (at, viewer) in viewers.iter().enumerate() {
        choose(&mut world, *viewer, LayerChoice::Layer(rid(at % 3)));
    }
    world.run(SECOND);
    assert_eq!(world.core.counters().feeds, 4);
    for viewer in &viewers {
        choose(&mut world, *viewer, LayerChoice::Layer(rid(0)));
    }
    world.run(3 * SECOND);
    assert_eq!(world.core.counters().feeds, 2);
    check_wire(&world);
}
