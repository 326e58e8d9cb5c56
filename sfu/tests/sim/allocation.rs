//! Three Layers over a line that becomes thin and wide again: which one is sent, how soon, and at what cost.

use std::time::Duration;

use crate::browser::Abilities;
use crate::layers::{Shown, browser, longest_freeze, seams, shown};
use crate::line::Line;
use crate::world::World;
use crate::{SECOND, check_wire, ms};

const WIDE: u64 = 3_000_000;
const THIN: u64 = 600_000;
const SEEDS: std::ops::Range<u64> = 200..210;

/// What a viewer saw between two changes of its line.
struct Phase {
    /// Until it was shown the Layer that it kept.
    settled: Duration,
    switches: usize,
    layer: u32,
    queue_p95: Duration,
    dropped: f64,
    frames: usize,
    missing: usize,
    freeze: Duration,
}

fn phase(world: &mut World, viewer: usize, bps: u64, loss_percent: f64, time: Duration) -> Phase {
    let start = world.now;
    world.viewers[viewer].line = Line { loss_percent, ..Line::thin(bps, 300) };
    world.run(time);
    let pictures = shown(world, viewer, start);
    let changes: Vec<&Shown> =
        pictures.windows(2).filter(|pair| pair[0].layer != pair[1].layer).map(|pair| &pair[1]).collect();
    let (queue_p95, dropped) = world.viewers[viewer].line_state.waits(start, 95);
    Phase {
        settled: changes.last().map_or(Duration::ZERO, |last| last.at - start),
        switches: changes.len(),
        layer: pictures.last().map_or(u32::MAX, |last| last.layer),
        queue_p95,
        dropped,
        frames: pictures.len(),
        missing: seams(&pictures).0.len(),
        freeze: longest_freeze(&pictures),
    }
}

/// The runs of one kind, one line of the table.
#[derive(Default)]
struct Row(Vec<Phase>);

impl Row {
    /// The figure of the run in the middle, and of the worst one.
    fn figures(&self, of: impl Fn(&Phase) -> u128) -> (u128, u128) {
        let mut figures: Vec<u128> = self.0.iter().map(of).collect();
        figures.sort_unstable();
        (figures[figures.len() / 2], figures[figures.len() - 1])
    }

    fn print(&self, name: &str, loss: f64) {
        let settled = self.figures(|phase| phase.settled.as_millis());
        let switches = self.figures(|phase| phase.switches as u128);
        let queue = self.figures(|phase| phase.queue_p95.as_millis());
        let dropped = self.figures(|phase| (phase.dropped * 1000.0) as u128);
        let missing = self.figures(|phase| (1000 * phase.missing / phase.frames) as u128);
        let freeze = self.figures(|phase| phase.freeze.as_millis());
        println!(
            "{name:>4} | {loss} % | settled {settled:?} ms | switches {switches:?} | queue p95 {queue:?} ms | dropped \
             {dropped:?} of 1000 packets | not shown {missing:?} of 1000 frames | still for {freeze:?} ms"
        );
    }

    fn check(&self, name: &str, layer: u32, settled: Duration, freeze: Duration) {
        for (at, phase) in self.0.iter().enumerate() {
            let seed = SEEDS.start + at as u64;
            assert_eq!(phase.layer, layer, "{name}, seed {seed}");
            assert!(phase.switches <= 2, "{name}, seed {seed}: {} switches", phase.switches);
            assert!(phase.settled <= settled, "{name}, seed {seed}: after {:?}", phase.settled);
            assert!(phase.freeze <= freeze, "{name}, seed {seed}: still for {:?}", phase.freeze);
        }
    }
}

#[test]
fn the_layer_follows_the_line_down_and_up() {
    println!("of 10 seeds: the middle one, the worst one");
    for loss in [0.0, 2.0] {
        let (mut down, mut up) = (Row::default(), Row::default());
        for seed in SEEDS {
            let mut world = World::new(seed, browser());
            world.run(ms(700));
            let viewer = world.join_browser(Line::thin(WIDE, 300), Abilities::default());
            let shift = ms(world.random.next() % 1000);
            world.run(shift);
            let begin = phase(&mut world, viewer, WIDE, loss, 8 * SECOND);
            assert_eq!((begin.layer, begin.switches), (2, 0), "seed {seed}: it fits");
            down.0.push(phase(&mut world, viewer, THIN, loss, 15 * SECOND));
            up.0.push(phase(&mut world, viewer, WIDE, loss, 15 * SECOND));
            check_wire(&world);
        }
        down.print("down", loss);
        up.print("up", loss);
        down.check("down", 0, ms(2500), ms(2000));
        up.check("up", 2, ms(9000), ms(300));
    }
}
