//! Three Layers from a browser: the viewer's choice, and what its line carries.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use serde_json::{Value, json};
use tests::link::{Link, Terms};
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, process, run_script};
use tokio::task::JoinSet;

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
/// Between two pictures of the source, of which there are 15 in a second.
const PICTURE_MS: f64 = 1000.0 / 15.0;
/// How long a line of that width may take at most to show in the size of the picture.
const WITHIN: Duration = Duration::from_secs(60);

/// The picture of a viewer whose line becomes thin, and wide again, gets smaller and larger again.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_follows_a_line_that_gets_thin_and_wide_again() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let terms = Terms { capacity_bps: Some(WIDE), round_trip: Duration::from_millis(40), ..Terms::default() };
    let link = Arc::new(Link::to(stage.rtc_address(), terms).await);
    let mut valve = JoinSet::new();
    // For figures each stretch takes as long as it is told.
    let stretch = Duration::from_secs(seconds(10));
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "key": KEY, "codec": "H264", "port": link.address().port(),
        "valve": turned_at(&link, &mut valve).await, "thin": THIN, "wide": WIDE,
        "stretch": stretch.as_secs(), "within": WITHIN.as_secs(),
    });
    let seen = run_script("step.mjs", input, SCRIPT_TIMEOUT + 3 * (stretch + WITHIN)).await;
    let shown = Shown::of(&seen);
    let [down, up] = [0, 1].map(|step| seen["steps"][step].as_f64().expect("two steps"));
    let (freeze, gap) = (shown.longest(Gap::freeze), shown.longest(|gap| gap.ms));
    let before = shown.largest(down - 3000.0, down);
    let thin = shown.largest(up - 3000.0, up);
    let settled_down = shown.first(down, |height| height < before).map(|at| at - down);
    let settled_up = shown.first(up, |height| height >= before).map(|at| at - up);
    eprintln!(
        "{before}p, then {thin}p after {settled_down:?} ms, {before}p again after {settled_up:?} ms; longest freeze {} ms in a gap of \
         {} ms, longest gap {} ms in which the source drew nothing for {} ms, {} and {} ms after the step down; {:?}; {:?}",
        freeze.freeze(),
        freeze.ms,
        gap.ms,
        gap.source_ms,
        freeze.at - down,
        gap.at - down,
        link.carried(),
        seen["stats"],
    );
    assert_eq!(before, 720.0, "{:?}", seen["stats"]);
    assert!(thin < before, "smaller on the thin line: {thin}");
    assert!(settled_up.is_some(), "it gets larger again");
    assert!(freeze.freeze() < FREEZE_MS, "{freeze:?}");
    assert!(number(&seen, "stamped") > 0.9 * number(&seen, "presented"));
    stage.stop().await;
}

/// Where a script says what `link` carries from now on: `POST /<bits per second>`, as long as `task` lives.
async fn turned_at(link: &Arc<Link>, task: &mut JoinSet<()>) -> String {
    let link = Arc::clone(link);
    let turn = async move |Path(bps): Path<u64>| link.set(|terms| terms.capacity_bps = Some(bps));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    task.spawn(async {
        let _ = axum::serve(listener, Router::new().route("/{bps}", post(turn))).await;
    });
    url
}

/// A picture that a viewer saw.
struct Picture {
    at: f64,
    height: f64,
    /// Its number and its time at the source, in milliseconds; `None` where it cannot be read.
    stamp: Option<(f64, f64)>,
}

/// The time between two pictures that a viewer saw one after the other.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    at: f64,
    ms: f64,
    /// For how long of it the source drew nothing, though it was time: a page on a busy machine stands still. A picture that
    /// was drawn and not shown takes nothing off.
    source_ms: f64,
}

impl Gap {
    fn between(one: &Picture, next: &Picture) -> Self {
        let late =
            one.stamp.zip(next.stamp).map(|(one, next)| next.1 - one.1 - (next.0 - one.0) * PICTURE_MS);
        Self { at: one.at, ms: next.at - one.at, source_ms: late.unwrap_or_default().max(0.0) }
    }

    /// What is left of it for everything after the source.
    fn freeze(&self) -> f64 {
        self.ms - self.source_ms
    }
}

struct Shown(Vec<Picture>);

impl Shown {
    fn of(seen: &Value) -> Self {
        let picture = |it: &Value| {
            let stamp = it[2].as_f64().zip(it[3].as_f64());
            Some(Picture { at: it[0].as_f64()?, height: it[1].as_f64()?, stamp })
        };
        Self(seen["frames"].as_array().expect("frames").iter().filter_map(picture).collect())
    }

    fn largest(&self, from: f64, to: f64) -> f64 {
        self.0.iter().filter(|it| (from..to).contains(&it.at)).map(|it| it.height).fold(0.0, f64::max)
    }

    fn first(&self, from: f64, fits: impl Fn(f64) -> bool) -> Option<f64> {
        self.0.iter().find(|it| it.at >= from && fits(it.height)).map(|it| it.at)
    }

    fn longest(&self, by: impl Fn(&Gap) -> f64) -> Gap {
        let gaps = self.0.windows(2).map(|pair| Gap::between(&pair[0], &pair[1]));
        gaps.max_by(|a, b| by(a).total_cmp(&by(b))).unwrap_or_default()
    }
}

#[test]
fn a_gap_is_less_of_a_freeze_only_by_what_the_source_did_not_draw() {
    let picture = |at: f64, stamp| Picture { at, height: 720.0, stamp };
    let freeze = |next| Gap::between(&picture(0.0, Some((30.0, 5000.0))), &next).freeze();
    // The next picture of a source that stood still for 1.1 s, that of one that drew on, and one that nobody can read.
    assert_eq!(freeze(picture(1200.0, Some((31.0, 6100.0 + PICTURE_MS)))).round(), 100.0);
    assert_eq!(freeze(picture(1200.0, Some((48.0, 6200.0)))).round(), 1200.0);
    assert_eq!(freeze(picture(1200.0, None)), 1200.0);
}
