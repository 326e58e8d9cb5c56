//! Sound against picture by ear and eye, and who joins against who has watched for long. For figures:
//! `SWIFTWATER_TEST_SECONDS=60 cargo test -p tests --test browser lips -- --nocapture`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::link::{Link, Terms};
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, median, number, seconds};

/// What is seen and heard apart from 100 ms on (ITU-R BT.1359), less what a page can measure on a busy machine.
const APART_MS_MAX: f64 = 80.0;

/// How much longer than it wants a browser holds sound back, by its own figures, before a beep says something about the browser:
/// about 20 where nothing else runs, up to 128 after it joined on a busy machine.
const HELD_MS_MAX: f64 = 50.0;

/// On a busy machine a browser that joins plays sound up to 200 ms late and lets go of that in three seconds, while what is sent to
/// it is within 1 ms of its picture. What is sent in them is judged without a page, in `exits.rs`.
const SETTLED_SECONDS: f64 = 3.0;

/// Of 30 pictures per second.
const FLUENT_FPS_MIN: f64 = 28.0;

/// Of as many, where one page shows the stream twice: what delays one picture delays the other, so that they can be compared
/// as long as most of them are shown.
const TWICE_FPS_MIN: f64 = 20.0;

/// Reports lost for less than a look at 5 s, and for less than one at 30 s.
const REPORTS_LOST_FOR: Duration = Duration::from_secs(8);

async fn look(stage: &Stage, channel: &str, key: Option<&str>, hls: bool, line: Option<&Link>) -> Value {
    let input = json!({
        "origin": stage.url(""), "channel": channel, "key": key, "codec": "H264", "seconds": seconds(6), "hls": hls,
        "port": line.map(|line| line.address().port()),
    });
    let seen = run_script("lips.mjs", input, SCRIPT_TIMEOUT).await;
    eprintln!("{seen:#}");
    seen
}

/// The same picture and sound without a server of ours. Printed, not judged: it says what the browser does by itself.
async fn show_control(stage: &Stage) {
    let input = json!({ "origin": stage.url(""), "control": true, "codec": "H264", "seconds": seconds(6) });
    let seen = run_script("lips.mjs", input, SCRIPT_TIMEOUT).await;
    eprintln!("{seen:#}");
    assert!(seen["control"]["offsets"].is_array(), "{seen:#}");
}

/// A page that cannot show all pictures shows the rest late, and hears the beeps when it can: such a run says something
/// about the machine and is printed, not judged.
fn is_fluent(view: &Value) -> bool {
    number(view, "presentedPerSecond") >= FLUENT_FPS_MIN
}

/// Of what was seen and heard at one exit: the picture in order, and the sound with it.
pub(crate) fn assert_together(seen: &Value, exit: &str) {
    let view = &seen[exit];
    let offsets = view["offsets"].as_array().expect("offsets");
    assert_eq!(view["backwards"], 0, "{seen:#}");
    let from = if exit == "webrtc" { SETTLED_SECONDS } else { 0.0 };
    let settled: Vec<&Value> = offsets.iter().filter(|it| number(it, "second") >= from).collect();
    assert!(!settled.is_empty(), "neither picture nor beep: {seen:#}");
    let apart: Vec<f64> = settled.iter().filter(|it| !is_held(it)).map(|it| number(it, "ms")).collect();
    let of_most = 2 * apart.len() > settled.len();
    assert!(!of_most || !is_fluent(view) || median(apart).abs() < APART_MS_MAX, "{seen:#}");
}

/// A beep that the browser had, and played later than it wanted.
fn is_held(beep: &Value) -> bool {
    beep["heldMs"].as_f64().is_some_and(|held| held > HELD_MS_MAX)
}

/// The page decodes twice here: whether that is fluent is another question than before.
fn assert_as_near(seen: &Value) {
    let join = &seen["join"];
    let fluent = ["old", "fresh"].iter().all(|eye| number(&join[eye], "presentedPerSecond") >= TWICE_FPS_MIN);
    assert!(!fluent || number(join, "apartMs").abs() < APART_MS_MAX, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_heard_with_its_picture_at_both_exits() {
    let _alone = crate::alone().await;
    let stage = Stage::start_with(|config| config.demo = true).await;
    let seen = look(&stage, server::demo::CHANNEL, None, false, None).await;
    assert_together(&seen, "webrtc");
    assert_as_near(&seen);
    assert_together(&look(&stage, server::demo::CHANNEL, None, true, None).await, "hls");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_sound_is_heard_with_its_picture() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let seen = look(&stage, CHANNEL, Some(KEY), false, None).await;
    assert_together(&seen, "webrtc");
    assert_as_near(&seen);
    show_control(&stage).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_sound_is_heard_with_its_picture_by_hls() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    assert_together(&look(&stage, CHANNEL, Some(KEY), true, None).await, "hls");
    stage.stop().await;
}

/// A browser whose sender reports get lost at first: sound and picture are put together by their arrival, then by the reports,
/// without a step that is seen or heard.
async fn assert_together_by_late_reports(hls: bool) {
    let stage = Stage::start().await;
    let terms = Terms { reports_lost_for: REPORTS_LOST_FOR, ..Terms::default() };
    let line = Link::to(stage.rtc_address(), terms).await;
    let seen = look(&stage, CHANNEL, Some(KEY), hls, Some(&line)).await;
    let carried = line.carried();
    eprintln!("{carried:?}");
    assert!(carried.reports_lost > 2, "{carried:?}");
    assert_together(&seen, if hls { "hls" } else { "webrtc" });
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_reports_come_late_is_heard_with_its_picture() {
    let _alone = crate::alone().await;
    assert_together_by_late_reports(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_reports_come_late_is_heard_with_its_picture_by_hls() {
    let _alone = crate::alone().await;
    assert_together_by_late_reports(true).await;
}
