//! Lines that do not take what is sent: the estimate, what is dropped and what is not, and what probes cost.

use std::time::{Duration, Instant};

use crate::line::Line;
use crate::source::Source;
use crate::world::World;
use crate::{SECOND, check_wire, ms};

/// 2.5 Mbit/s, a keyframe of four times a frame every 2 s.
fn source() -> Source {
    Source::default()
}

/// Runs, and looks at the estimate of a viewer every 20 ms: kbit/s since the beginning of the run.
fn watch(world: &mut World, viewer: usize, time: Duration) -> Vec<(Instant, u64)> {
    let end = world.now + time;
    let mut seen = Vec::new();
    while world.now < end {
        world.run(ms(20));
        let estimate = world.core.estimate_bps(world.viewers[viewer].id).unwrap_or(0);
        seen.push((world.now, estimate / 1000));
    }
    seen
}

/// How long it took until the estimate was inside for good, or for the given time.
fn settled(seen: &[(Instant, u64)], range: std::ops::Range<u64>, stays: Duration) -> Option<Duration> {
    let begin = seen.first()?.0;
    let inside = |at: usize| {
        let until = seen[at].0 + stays;
        seen[at..].iter().take_while(|(when, _)| *when < until).all(|(_, kbps)| range.contains(kbps))
    };
    (0..seen.len()).find(|at| inside(*at)).map(|at| seen[at].0 - begin)
}

#[test]
fn the_estimate_follows_the_line_down_and_up() {
    for seed in 100..104 {
        let mut world = World::new(seed, source());
        world.run(ms(700));
        let viewer = world.join_plain(Line::thin(3_000_000, 300));
        let before = watch(&mut world, viewer, 8 * SECOND);
        let high = before.last().unwrap().1;
        world.viewers[viewer].line = Line::thin(600_000, 300);
        let start = world.now;
        let down = watch(&mut world, viewer, 20 * SECOND);
        let (wait, dropped) = world.viewers[viewer].line_state.waits(start + 3 * SECOND, 95);
        let down_in = settled(&down, 350..640, 3 * SECOND);
        world.viewers[viewer].line = Line::thin(3_000_000, 300);
        let up = watch(&mut world, viewer, 15 * SECOND);
        let up_in = settled(&up, 2_000..9_999, 2 * SECOND);
        println!(
            "step, seed {seed}: {high} kbit/s, down in {down_in:?}, queue p95 {wait:?}, dropped {dropped:.4}, up in {up_in:?}"
        );
        println!("{:?}", world.core.counters());
        check_wire(&world);
        let sound = world.viewers[viewer].got.iter().filter(|got| !got.video).count();
        println!("sound {sound} of {}", 43 * 50);
    }
}
