//! What repair leaves over: viewers that behave like browsers, on lines of every quality.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sfu::egress::seal::Profile;

use crate::browser::Abilities;
use crate::line::Line;
use crate::source::{Source, THREE_LAYERS};
use crate::world::World;
use crate::{SECOND, check_wire, ms};

/// Set it to a number of seeds for 200 viewers per seed and more time.
const FULL: &str = "SWIFTWATER_TEST_FULL_GRID";

fn full() -> Option<u64> {
    let seeds = std::env::var_os(FULL)?;
    Some(seeds.to_str().and_then(|seeds| seeds.parse().ok()).expect("a number of seeds"))
}

/// How long a viewer may take to begin, handshake included; frames count from then on.
const BEGIN: Duration = Duration::from_millis(2000);
/// What is written at the end may still be under repair.
const END: Duration = Duration::from_millis(3000);

/// Kind of a line: loss in tenths of a percent, mean row of losses, round trip in ms.
type Kind = (u64, u64, u64);

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (loss, burst) in [(0, 1), (20, 1), (20, 4), (50, 1), (50, 4), (100, 1), (100, 4)] {
        kinds.extend([20, 60, 100, 200].map(|round_trip| (loss, burst, round_trip)));
    }
    kinds
}

fn line((loss, burst, round_trip): Kind) -> Line {
    Line {
        latency: ms(round_trip) / 2,
        loss_percent: loss as f64 / 10.0,
        loss_burst: burst as f64,
        reorder_percent: 1.0,
        duplicate_percent: 1.0,
        ..Line::default()
    }
}

/// All four kinds of viewers in turn.
fn abilities(at: usize) -> Abilities {
    let profile = if at & 1 == 0 { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1_80 };
    Abilities { profile, rtx: at & 2 == 0 }
}

#[derive(Default)]
struct Row {
    frames: u64,
    undecodable: u64,
    delays: Vec<Duration>,
    keyframes_asked: u64,
    /// How long after joining the last of its viewers saw a picture.
    began: Duration,
}

impl Row {
    /// Adds what a viewer saw.
    fn add(&mut self, world: &World, viewer: usize) {
        let viewer = &world.viewers[viewer];
        let mut decoded = HashMap::new();
        for (frame, at) in viewer.browser().decoded() {
            decoded.entry(*frame).or_insert(*at);
        }
        let began = decoded.values().min().copied().unwrap_or(world.now);
        self.began = self.began.max(began - viewer.joined);
        for (frame, written) in world.written.iter().enumerate() {
            if *written < viewer.joined + BEGIN || *written + END > world.now {
                continue;
            }
            self.frames += 1;
            match decoded.get(&(frame as u32)) {
                Some(at) => self.delays.push(*at - *written - viewer.line.latency),
                None => self.undecodable += 1,
            }
        }
        self.keyframes_asked += viewer.browser().keyframes_asked();
    }

    fn undecodable_percent(&self) -> f64 {
        100.0 * self.undecodable as f64 / self.frames as f64
    }

    /// How long after its way a frame could be decoded: the given percentiles.
    fn delays<const N: usize>(&mut self, percents: [usize; N]) -> [u128; N] {
        self.delays.sort_unstable();
        percents
            .map(|percent| self.delays.get(self.delays.len() * percent / 100).map_or(0, Duration::as_millis))
    }
}

#[test]
fn what_is_lost_on_the_way_down_is_repaired() {
    let full = full();
    let (seeds, viewers, time) = full.map_or((1, 56, 9 * SECOND), |seeds| (seeds, 196, 20 * SECOND));
    let kinds = kinds();
    let mut rows: BTreeMap<Kind, Row> = BTreeMap::new();
    for seed in 0..seeds {
        let mut world = World::new(100 + seed, Source::default());
        world.run(ms(500));
        for at in 0..viewers {
            world.join_browser(line(kinds[at % kinds.len()]), abilities(at / kinds.len() + at));
            world.run(ms(5));
        }
        world.run(time);
        check_wire(&world);
        for at in 0..viewers {
            rows.entry(kinds[at % kinds.len()]).or_default().add(&world, at);
        }
        let counters = world.core.counters();
        println!(
            "{} packets, {} in bursts, {} again; {} asked for, {} unknown, {} throttled; {} keyframes asked for",
            counters.packets_forwarded,
            counters.packets_catch_up,
            counters.packets_resent,
            counters.nacked,
            counters.nack_unknown,
            counters.nack_throttled,
            counters.keyframes_asked
        );
    }
    println!(
        "loss %  row  round trip | frames  undecodable %  p50 ms  p95 ms  p99 ms  keyframes asked for  last began ms"
    );
    for (kind, row) in &mut rows {
        let (loss, burst, round_trip) = *kind;
        let [p50, p95, p99] = row.delays([50, 95, 99]);
        println!(
            "{:6.1} {burst:4} {round_trip:11} | {:6} {:14.3} {p50:7} {p95:7} {p99:7} {:11} {:19}",
            loss as f64 / 10.0,
            row.frames,
            row.undecodable_percent(),
            row.keyframes_asked,
            row.began.as_millis(),
        );
    }
    // A row of the short run has 250 frames, and what is given up before one keyframe can be two of them: there the same
    // kind of loss is judged over all its round trips.
    let mut judged: BTreeMap<Kind, Row> = BTreeMap::new();
    for ((loss, burst, round_trip), row) in rows {
        assert!(row.began <= BEGIN, "{loss} {burst} {round_trip}: began after {:?}", row.began);
        let sum = judged.entry((loss, burst, full.map_or(0, |_| round_trip))).or_default();
        sum.frames += row.frames;
        sum.undecodable += row.undecodable;
    }
    for (kind, row) in &judged {
        let bound = if kind.0 <= 50 { 0.5 } else { 2.0 };
        assert!(row.undecodable_percent() <= bound, "{kind:?}: {:.3} %", row.undecodable_percent());
    }
}

/// Layers, losses, repair with and without RTX, lines that change: whatever is sent, an index stands for one packet.
#[test]
fn no_index_is_sealed_twice_with_different_bytes() {
    let kinds = kinds();
    let (mut resent, mut probes, mut switches) = (0, 0, 0);
    for seed in 0..full().map_or(2, |_| 20) {
        let mut world = World::new(300 + seed, Source { layers: THREE_LAYERS, ..Source::default() });
        world.run(ms(500));
        for at in 0..8 {
            world.join_browser(line(kinds[(7 * at + 5 * seed as usize) % kinds.len()]), abilities(at));
            world.run(ms(5));
        }
        world.run(2 * SECOND);
        for viewer in &mut world.viewers {
            (viewer.line.capacity_bps, viewer.line.queue_bytes) = (Some(700_000), 20_000);
        }
        world.run(2 * SECOND);
        for viewer in &mut world.viewers {
            viewer.line.capacity_bps = None;
        }
        world.run(2 * SECOND);
        check_wire(&world);
        let counters = world.core.counters();
        assert_eq!(counters.nonce_refused, 0, "seed {seed}");
        resent += counters.packets_resent;
        probes += counters.packets_probe;
        switches += counters.layer_downs + counters.layer_ups;
    }
    println!("{resent} packets again, {probes} probe packets, {switches} switches");
    assert!(resent > 100 && probes > 10 && switches > 8, "{resent} {probes} {switches}");
}

/// A receiver asks for what is missing behind the first packet that it got, never for what came before. A line that carries
/// nothing at first stands for the loss of the first packets, and for keys that come late: what was sent before them is of no use.
#[test]
fn who_misses_the_beginning_gets_it_unasked() {
    println!("nothing arrives for  CM-SHA1  RTX | bursts repeated  began ms after that  undecodable later");
    for at in 0..4 {
        for (lost, expected) in [(ms(0), 0), (ms(1), 1), (ms(100), 1), (ms(300), 1), (ms(1300), 1)] {
            let mut world = World::new(40, Source { gop: 300, ..Source::default() });
            world.run(ms(3500));
            let viewer = world.join_browser(Line::default(), abilities(at));
            while world.wire.is_empty() && lost > Duration::ZERO {
                world.viewers[viewer].line.loss_percent = 100.0;
                world.run(ms(1));
            }
            world.run(lost.saturating_sub(ms(1)));
            world.viewers[viewer].line.loss_percent = 0.0;
            let clean = world.now;
            world.run(5 * SECOND);
            check_wire(&world);
            let decoded = world.viewers[viewer].browser().decoded();
            let began = decoded.first().map_or(world.now, |(_, at)| *at) - clean;
            let first = decoded.first().map_or(0, |(frame, _)| *frame);
            let last = decoded.last().map_or(0, |(frame, _)| *frame);
            let gone = (first..=last).filter(|frame| !decoded.iter().any(|(seen, _)| seen == frame)).count();
            let repeated = world.core.counters().beginnings_repeated;
            let Abilities { profile, rtx } = abilities(at);
            println!(
                "{:15} ms  {:7}  {rtx:5} | {repeated:15} {:20} {gone:18}",
                lost.as_millis(),
                profile != Profile::AeadAes128Gcm,
                began.as_millis()
            );
            assert_eq!(repeated, expected, "{lost:?}");
            assert!(began <= ms(if lost.is_zero() { 400 } else { 200 }), "{lost:?}: began after {began:?}");
            assert_eq!(gone, 0, "{lost:?}: frames behind the first");
        }
    }
}
