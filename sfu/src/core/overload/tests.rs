use super::*;
use crate::core::up_track::beginning;

/// A shard whose work follows from what it leaves out: `demand` is the percent of its time that everything takes.
struct Model {
    overload: Overload,
    now: Instant,
    lowerable: bool,
    /// Each change, in milliseconds since the beginning.
    changes: Vec<(u64, Stage)>,
    began: Instant,
}

/// Of all the work, sound is so much, and the smallest Layer so much.
const SOUND_PERCENT: u32 = 6;
const SMALLEST_PERCENT: u32 = 15;

impl Model {
    fn new(limit: u8) -> Self {
        let now = beginning();
        Self { overload: Overload::new(limit), now, lowerable: true, changes: Vec::new(), began: now }
    }

    fn work(&self, demand: u32) -> u32 {
        let viewers = 100;
        let stage = self.overload.stage();
        let picture: u32 = (0..viewers)
            .map(|rank| match stage.cap(rank, viewers) {
                LayerCap::None => 100 - SOUND_PERCENT,
                LayerCap::Smallest if self.lowerable => SMALLEST_PERCENT,
                LayerCap::Smallest => 100 - SOUND_PERCENT,
                LayerCap::AudioOnly => 0,
            })
            .sum();
        demand * (SOUND_PERCENT + picture / viewers as u32) / 100
    }

    fn run(&mut self, seconds: u64, demand: u32) {
        for _ in 0..seconds * 10 {
            let busy = Duration::from_millis(self.work(demand).min(100).into());
            self.turn(Load { busy, ..Load::default() });
        }
    }

    /// A turn takes 100 ms.
    fn turn(&mut self, load: Load) {
        self.now += Duration::from_millis(100);
        let lowerable = self.lowerable;
        if let Some(stage) = self.overload.note(self.now, load, || lowerable) {
            self.changes.push(((self.now - self.began).as_millis() as u64, stage));
        }
    }

    fn level(&self) -> OverloadLevel {
        self.overload.stage().level()
    }

    fn stages(&self) -> Vec<u8> {
        self.changes.iter().map(|(_, stage)| stage.0).collect()
    }
}

#[test]
fn the_newest_give_first_and_by_quarters() {
    use LayerCap::{AudioOnly, None, Smallest};
    let table: [(u8, [LayerCap; 5]); 10] = [
        (0, [None; 5]),
        (1, [None; 5]),
        (2, [Smallest, Smallest, None, None, None]),
        (3, [Smallest, Smallest, Smallest, None, None]),
        (4, [Smallest, Smallest, Smallest, Smallest, None]),
        (5, [Smallest; 5]),
        (6, [AudioOnly, AudioOnly, Smallest, Smallest, Smallest]),
        (7, [AudioOnly, AudioOnly, AudioOnly, Smallest, Smallest]),
        (8, [AudioOnly, AudioOnly, AudioOnly, AudioOnly, Smallest]),
        (9, [AudioOnly; 5]),
    ];
    for (stage, caps) in table {
        let got: Vec<LayerCap> = (0..5).map(|rank| Stage(stage).cap(rank, 5)).collect();
        assert_eq!(got, caps, "stage {stage}");
    }
    // Each stage takes something from somebody, even from a single viewer, and gives nothing back.
    for viewers in [1, 2, 3, 7, 100] {
        for rank in 0..viewers {
            assert!((0..STAGE_MAX).all(|s| Stage(s).cap(rank, viewers) <= Stage(s + 1).cap(rank, viewers)));
        }
        assert_ne!(Stage(LOWER_LAYERS).cap(0, viewers), LayerCap::None);
    }
}

#[test]
fn load_that_grows_sheds_in_order_and_load_that_falls_gives_back_in_order() {
    let mut shard = Model::new(90);
    shard.run(60, 80);
    assert_eq!((shard.level(), shard.changes.len()), (OverloadLevel::Normal, 0), "80 % is no overload");
    // Twenty times what it can do: even the smallest Layers are too much.
    shard.run(30, 2000);
    assert_eq!(shard.stages(), [1, 2, 3, 4, 5, 6, 7, 8, 9], "one stage after the other");
    let levels: Vec<OverloadLevel> = shard.changes.iter().map(|(_, stage)| stage.level()).collect();
    assert!(levels.is_sorted());
    let took = shard.changes.last().map(|(at, _)| at - shard.changes[0].0);
    assert_eq!(took, Some(8000), "a second each");
    shard.changes.clear();
    shard.run(300, 20);
    assert_eq!(shard.stages(), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let waits: Vec<u64> = shard.changes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(waits.iter().all(|wait| *wait >= 5000), "{waits:?}");
}

#[test]
fn it_stops_shedding_as_soon_as_the_rest_fits() {
    // A little too much: a quarter of the viewers on the smallest Layer is enough.
    let mut shard = Model::new(90);
    shard.run(20, 105);
    assert_eq!(shard.stages(), [1, 2]);
    assert!(shard.work(105) < 90);
}

#[test]
fn a_load_at_the_edge_does_not_swing() {
    for demand in [95, 105, 120, 150, 200, 300, 700] {
        let mut shard = Model::new(90);
        shard.run(3600, demand);
        // Without a growing wait there would be one up and one down every 6 s: 1200 in an hour.
        let changes = shard.changes.len();
        assert!(changes <= 70, "demand {demand}: {changes} changes in an hour");
        // Towards the end, a try now and then.
        let late = shard.changes.iter().filter(|(at, _)| *at > 1_800_000).count();
        assert!(late <= 30, "demand {demand}: {late} in the second half hour");
    }
}

#[test]
fn a_short_peak_changes_nothing() {
    let mut shard = Model::new(90);
    for _ in 0..10 {
        shard.run(2, 200);
        shard.run(2, 50);
    }
    assert_eq!(shard.stages(), [0; 0]);
}

#[test]
fn without_smaller_layers_their_stages_are_skipped_both_ways() {
    let mut shard = Model::new(90);
    shard.lowerable = false;
    shard.run(30, 2000);
    assert_eq!(shard.stages(), [1, 6, 7, 8, 9]);
    shard.changes.clear();
    shard.run(300, 20);
    assert_eq!(shard.stages(), [8, 7, 6, 1, 0]);
}

#[test]
fn a_full_socket_and_a_budget_are_loads_too() {
    for load in [
        Load { blocked: Duration::from_millis(30), ..Load::default() },
        Load { over_budget: true, ..Load::default() },
    ] {
        let mut shard = Model::new(90);
        for _ in 0..40 {
            shard.turn(load);
        }
        assert_eq!(shard.level(), OverloadLevel::NoNewViewers, "{load:?}");
    }
}

#[test]
fn a_backlog_that_stands_is_shed_twice_as_fast_and_one_that_passes_is_not() {
    let late = |millis| Load { late: Duration::from_millis(millis), ..Load::default() };
    let mut shard = Model::new(90);
    (0..30).for_each(|_| shard.turn(late(80)));
    assert_eq!(shard.stages(), [2, 4]);
    let mut shard = Model::new(90);
    // A keyframe to very many: late, and gone before the next one.
    (0..100).for_each(|turn| shard.turn(late(if turn % 5 < 3 { 150 } else { 0 })));
    assert_eq!(shard.stages(), [0; 0]);
}

#[test]
fn a_limit_of_zero_never_sheds() {
    let mut shard = Model::new(0);
    shard.run(60, 2000);
    assert_eq!(shard.level(), OverloadLevel::Normal);
    assert_eq!(shard.overload.busy_percent(), 100, "but it measures");
}
