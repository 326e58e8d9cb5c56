//! Lines that do not take what is sent: the estimate, what is dropped and what is not, and what probes cost.

use std::time::{Duration, Instant};

use crate::line::Line;
use crate::source::Source;
use crate::world::World;
use crate::{SECOND, check_wire, gaps, ms};

/// Estimates of a viewer every 20 ms, in kbit/s.
struct Watched(Vec<(Instant, u64)>);

impl Watched {
    fn run(world: &mut World, viewer: usize, time: Duration) -> Self {
        let end = world.now + time;
        let mut seen = Vec::new();
        while world.now < end {
            world.run(ms(20));
            let estimate = world.core.estimate_bps(world.viewers[viewer].id).unwrap_or(0);
            seen.push((world.now, estimate / 1000));
        }
        Self(seen)
    }

    /// How long it took until the estimate was inside, and stayed so long.
    fn settled(&self, range: std::ops::Range<u64>, stays: Duration) -> Option<Duration> {
        let seen = &self.0;
        let inside = |at: usize| {
            let until = seen[at].0 + stays;
            seen[at..].iter().take_while(|(when, _)| *when < until).all(|(_, kbps)| range.contains(kbps))
        };
        (0..seen.len()).find(|at| inside(*at)).map(|at| seen[at].0 - seen[0].0)
    }

    /// Lowest, median and highest.
    fn spread(&self) -> [u64; 3] {
        let mut all: Vec<u64> = self.0.iter().map(|(_, kbps)| *kbps).collect();
        all.sort_unstable();
        [all[0], all[all.len() / 2], all[all.len() - 1]]
    }
}

fn sound(world: &World, viewer: usize) -> usize {
    world.viewers[viewer].got.iter().filter(|got| !got.video).count()
}

/// One Layer of 2.5 Mbit/s: on the thin line sound must go on, whatever becomes of the picture.
#[test]
fn the_estimate_follows_the_line_down_and_up() {
    for seed in 100..106 {
        let mut world = World::new(seed, Source::default());
        // At another place of the group of pictures each time.
        world.run(ms(700 + (seed - 100) * 310));
        let viewer = world.join_plain(Line::thin(3_000_000, 300));
        let high = Watched::run(&mut world, viewer, 8 * SECOND).spread();
        world.viewers[viewer].line = Line::thin(600_000, 300);
        let (start, heard) = (world.now, sound(&world, viewer));
        let down = Watched::run(&mut world, viewer, 20 * SECOND);
        let heard = sound(&world, viewer) - heard;
        let (wait, dropped) = world.viewers[viewer].line_state.waits(start + ms(1500), 95);
        world.viewers[viewer].line = Line::thin(3_000_000, 300);
        let up = Watched::run(&mut world, viewer, 10 * SECOND);
        let frames = world.viewers[viewer].video_frames().len();
        let (down, up) = (down.settled(350..660, 3 * SECOND), up.settled(2_000..9_999, SECOND));
        println!(
            "3 Mbit/s, 600 kbit/s, 3 Mbit/s, seed {seed}: at first {high:?} kbit/s, down in {down:?}, from 1.5 s on queue p95 \
             {wait:?} and {dropped:.4} dropped, sound {heard} of 1000, up in {up:?}, {frames} frames"
        );
        check_wire(&world);
        assert!(down.is_some_and(|took| took <= ms(1500)), "{down:?}");
        assert!(up.is_some_and(|took| took <= 6 * SECOND), "{up:?}");
        assert!(wait <= ms(150), "{wait:?}");
        assert!(dropped <= 0.01, "{dropped}");
        assert!(heard >= 985, "{heard}");
    }
}

#[test]
fn a_thin_line_that_takes_the_layer_is_not_congested_by_probes() {
    for (seed, queue_ms) in [(110, 60), (111, 120), (112, 300)] {
        let mut world = World::new(seed, Source { parts: 2, part_bytes: 850, ..Source::default() });
        world.run(ms(700));
        let viewer = world.join_plain(Line::thin(600_000, queue_ms));
        world.run(10 * SECOND);
        let (start, before) = (world.now, *world.core.counters());
        let spread = Watched::run(&mut world, viewer, 60 * SECOND).spread();
        let (wait, dropped) = world.viewers[viewer].line_state.waits(start, 95);
        let after = *world.core.counters();
        let probes = after.probes - before.probes;
        println!(
            "600 kbit/s with a queue of {queue_ms} ms: {spread:?} kbit/s, queue p95 {wait:?}, {dropped:.5} dropped, {probes} \
             probes of {} packets, {} overuses",
            after.packets_probe - before.packets_probe,
            after.overuses - before.overuses
        );
        assert!(probes >= 5, "{probes}");
        assert_eq!(dropped, 0.0);
        assert!(spread[0] >= 400 && spread[2] <= 660, "{spread:?}");
        assert!(wait <= ms(60), "{wait:?}");
    }
}

#[test]
fn random_loss_leaves_the_estimate_usable() {
    for (seed, loss_percent, loss_burst, least) in [
        (120, 2.0, 1.0, 2_600),
        (121, 5.0, 1.0, 2_500),
        (122, 10.0, 1.0, 2_000),
        (123, 2.0, 4.0, 2_500),
        (124, 5.0, 4.0, 2_000),
    ] {
        let mut world = World::new(seed, Source::default());
        world.run(ms(700));
        let line = Line { loss_percent, loss_burst, ..Line::thin(6_000_000, 200) };
        let viewer = world.join_plain(line);
        world.run(5 * SECOND);
        let spread = Watched::run(&mut world, viewer, 25 * SECOND).spread();
        world.run(SECOND);
        let missing = gaps(&world, viewer).len();
        let counters = world.core.counters();
        println!(
            "6 Mbit/s, {loss_percent} % lost in runs of {loss_burst}: {spread:?} kbit/s, {missing} of {} frames missing, \
             {} overuses, {} frames dropped here",
            world.frame, counters.overuses, counters.paced_frames_dropped
        );
        assert!(spread[1] >= least, "{spread:?}");
    }
}

#[test]
fn long_ways_jitter_reordering_and_duplicates_are_no_congestion() {
    for (seed, latency, jitter, reorder_percent, duplicate_percent) in
        [(130, 10, 0, 0.0, 0.0), (131, 100, 0, 0.0, 0.0), (132, 30, 8, 1.0, 1.0), (133, 60, 20, 2.0, 1.0)]
    {
        let mut world = World::new(seed, Source::default());
        world.run(ms(700));
        let line = Line {
            latency: ms(latency),
            jitter: ms(jitter),
            reorder_percent,
            duplicate_percent,
            ..Line::thin(8_000_000, 200)
        };
        let viewer = world.join_plain(line);
        world.run(3 * SECOND);
        let spread = Watched::run(&mut world, viewer, 20 * SECOND).spread();
        let counters = world.core.counters();
        println!(
            "8 Mbit/s, {latency} ms, jitter {jitter} ms, {reorder_percent} % late: {spread:?} kbit/s, {} overuses, {} probes",
            counters.overuses, counters.probes
        );
        assert!(spread[0] >= 2_600, "{spread:?}");
        assert_eq!(counters.paced_frames_dropped, 0);
    }
}

/// When a viewer had every frame that there was, within three.
fn caught_up(world: &mut World, viewer: usize, at_most: Duration) -> Option<Duration> {
    let begin = world.now;
    while world.now - begin < at_most {
        world.run(ms(10));
        let newest = world.viewers[viewer].got.iter().filter(|got| got.video).map(|got| got.frame).max();
        if newest.is_some_and(|newest| newest + 3 >= world.frame) {
            return Some(world.now - world.viewers[viewer].first_video()?);
        }
    }
    None
}

#[test]
fn catch_up_ends_in_time_on_a_line_of_four_times_the_bitrate() {
    for (seed, gop, age) in [(140, 60, 1500), (141, 120, 3400), (142, 60, 600)] {
        let mut world = World::new(seed, Source { gop, ..Source::default() });
        world.run(ms(age));
        let viewer = world.join_plain(Line::thin(10_000_000, 200));
        let took = caught_up(&mut world, viewer, 4 * SECOND);
        world.run(2 * SECOND);
        let (wait, dropped) = world.viewers[viewer].line_state.waits(world.viewers[viewer].joined, 95);
        println!(
            "10 Mbit/s, {age} ms of a group of {gop}: caught up in {took:?}, queue p95 {wait:?}, {dropped:.4} dropped, {:?}",
            gaps(&world, viewer).len()
        );
        assert!(took.is_some_and(|took| took <= ms(1500)), "{took:?}");
        let missing = gaps(&world, viewer);
        assert!(missing.iter().all(|frame| *frame < gop), "what a new keyframe made useless: {missing:?}");
    }
}

#[test]
fn on_a_line_of_one_and_a_half_times_the_bitrate_a_fallback_is_chosen() {
    for (seed, keyframes_on_request) in [(150, false), (151, true)] {
        let mut world = World::new(seed, Source { gop: 120, keyframes_on_request, ..Source::default() });
        // Somebody watches already: nothing is asked for because nobody did.
        world.join_plain(Line::default());
        world.run(ms(2500));
        let viewer = world.join_plain(Line::thin(3_750_000, 200));
        let asked = world.keyframe_requests;
        let took = caught_up(&mut world, viewer, 6 * SECOND);
        world.run(4 * SECOND);
        let counters = world.core.counters();
        let seen = &world.viewers[viewer];
        let first = seen.first_video().map(|at| at - seen.joined);
        let (wait, dropped) = seen.line_state.waits(seen.joined, 95);
        println!(
            "3.75 Mbit/s, 2.5 s of a group of 120, obeys {keyframes_on_request}: picture after {first:?}, live after {took:?}, \
             too slow {}, asked {}, queue p95 {wait:?}, {dropped:.4} dropped",
            counters.catch_up_too_slow,
            world.keyframe_requests - asked,
        );
        assert_eq!(counters.catch_up_too_slow, 1);
        assert!(first.is_some_and(|first| first < ms(400)), "{first:?}");
        let bound = if keyframes_on_request { ms(2000) } else { ms(2500) };
        assert!(took.is_some_and(|took| took < bound), "{took:?}");
    }
}

/// Browsers stop reading for a moment while a page begins. What comes late for that is no sign of a thin line: a burst given
/// up for it would be a picture that waits for the next keyframe.
#[test]
fn a_viewer_that_stops_reading_for_a_moment_keeps_its_burst() {
    println!("reads nothing for  after | caught up  bursts given up");
    for unread in [20, 40, 60, 150, 900] {
        for after in [0, 10, 30, 70] {
            let mut world = World::new(152, Source { gop: 120, ..Source::default() });
            world.run(ms(2500));
            let viewer = world.join_plain(Line::default());
            while world.wire.is_empty() {
                world.run(ms(1));
            }
            world.run(ms(after));
            world.viewers[viewer].line.unread_until =
                Some(world.now + world.viewers[viewer].line.latency + ms(unread));
            let took = caught_up(&mut world, viewer, 4 * SECOND);
            let given_up = world.core.counters().catch_up_too_slow;
            println!("{unread:14} ms {after:3} ms | {:?}  {given_up}", took.map(|took| took.as_millis()));
            assert_eq!(given_up, 0, "{unread} ms, {after} ms after the burst began");
            assert!(took.is_some_and(|took| took < ms(1000 + unread)), "{took:?}");
        }
    }
}
