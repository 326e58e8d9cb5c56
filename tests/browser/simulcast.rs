//! Three Layers from a browser: the viewer's choice, and what its line carries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::link::{Link, Terms};
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, process, run_script};

use crate::{SCRIPT_TIMEOUT, number, seconds};

async fn choose(codec: &str) {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "codec": codec,
        "screenshots": process::setting("SWIFTWATER_TEST_SCREENSHOTS"),
    });
    let seen = run_script("simulcast.mjs", input, SCRIPT_TIMEOUT).await;
    eprintln!("{seen:#}");
    for height in ["180", "360", "720"] {
        let readable = seen["stamped"][height].as_f64().unwrap_or_default();
        assert!(readable > 0.9, "at {height}: {seen:#}");
    }
    // A Layer that begins with its cached group of pictures shows up to a second again: 15 pictures.
    let steps: Vec<f64> =
        seen["stepsBack"].as_array().expect("steps").iter().filter_map(Value::as_f64).collect();
    assert!(steps.len() <= 4 && steps.iter().all(|step| *step <= 15.0), "{seen:#}");
    assert_eq!(seen["remembered"], 360, "{seen:#}");
    assert_eq!(seen["hiddenFrames"], 0, "nobody looks: {seen:#}");
    assert_eq!(seen["mode"], "playing", "that no frame came is no stall: {seen:#}");
    assert_eq!(seen["restarts"], 1, "one connection since the page was loaded again: {seen:#}");
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_h264_simulcast_chooses_its_layer() {
    choose("H264").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_vp8_simulcast_chooses_its_layer() {
    choose("VP8").await;
}

/// What the line carries before and after the step, and in it: bits per second.
const WIDE: u64 = 3_000_000;
const THIN: u64 = 600_000;
/// Longest time without a new picture that is no freeze.
const FREEZE_MS: f64 = 1000.0;

/// The picture of a viewer whose line becomes thin, and wide again, gets smaller and larger again.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_follows_a_line_that_gets_thin_and_wide_again() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let terms = Terms { capacity_bps: Some(WIDE), round_trip: Duration::from_millis(40), ..Terms::default() };
    let link = Link::to(stage.rtc_address(), terms).await;
    // For figures each stretch takes as long as it is told.
    let stretch = seconds(10);
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "codec": "H264", "seconds": 3 * stretch + 5,
        "port": link.address().port(),
    });
    let mut scripts = tokio::task::JoinSet::new();
    scripts.spawn(run_script("step.mjs", input, SCRIPT_TIMEOUT + Duration::from_secs(3 * stretch)));
    let mut look = tokio::time::interval(Duration::from_millis(50));
    // The picture runs.
    while link.carried().bytes < 200_000 {
        look.tick().await;
        assert!(scripts.try_join_next().is_none(), "the script ended before it saw anything");
    }
    let mut clock = tokio::time::interval(Duration::from_secs(stretch));
    clock.tick().await;
    let mut steps = Vec::new();
    for capacity in [THIN, WIDE] {
        clock.tick().await;
        link.set(|terms| terms.capacity_bps = Some(capacity));
        steps.push(now_ms());
    }
    let seen = scripts.join_next().await.expect("one script").expect("it runs");
    let shown = Shown::of(&seen);
    let [down, up] = steps[..] else { unreachable!("two steps") };
    let before = shown.largest(down - 3000.0, down);
    let thin = shown.largest(up - 3000.0, up);
    let settled_down = shown.first(down, |height| height < before).map(|at| at - down);
    let settled_up = shown.first(up, |height| height >= before).map(|at| at - up);
    eprintln!(
        "{before}p, then {thin}p after {settled_down:?} ms, {before}p again after {settled_up:?} ms; longest gap {} ms at {} ms after \
         the step down; {:?}; {:?}",
        shown.longest_gap().0,
        shown.longest_gap().1 - down,
        link.carried(),
        seen["stats"],
    );
    assert_eq!(before, 720.0, "{:?}", seen["stats"]);
    assert!(thin < before, "smaller on the thin line: {thin}");
    assert!(settled_up.is_some(), "it gets larger again");
    assert!(shown.longest_gap().0 < FREEZE_MS, "{:?}", shown.longest_gap());
    assert!(number(&seen, "stamped") > 0.9 * number(&seen, "presented"));
    stage.stop().await;
}

/// Milliseconds of the wall clock, as pages tell it.
#[expect(clippy::disallowed_methods, reason = "what is shown in a page is told by the wall clock")]
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// The pictures that a viewer saw: when, and how high.
struct Shown(Vec<(f64, f64)>);

impl Shown {
    fn of(seen: &Value) -> Self {
        let frames = seen["frames"].as_array().expect("frames");
        Self(frames.iter().filter_map(|it| Some((it[0].as_f64()?, it[1].as_f64()?))).collect())
    }

    fn largest(&self, from: f64, to: f64) -> f64 {
        self.0.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, height)| *height).fold(0.0, f64::max)
    }

    fn first(&self, from: f64, fits: impl Fn(f64) -> bool) -> Option<f64> {
        self.0.iter().find(|(at, height)| *at >= from && fits(*height)).map(|(at, _)| *at)
    }

    /// The longest time between two pictures, and when it began.
    fn longest_gap(&self) -> (f64, f64) {
        let gaps = self.0.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[0].0));
        gaps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
    }
}
