//! How fast who joins sees a picture, and what a line does to it that is hardly wider than the stream.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::link::{Link, Terms};
use tests::source::StampedClip;
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, process, run_script};

use crate::SCRIPT_TIMEOUT;

const FPS: u32 = 25;

/// Joins per source: `SWIFTWATER_TEST_JOINS` for figures, else what is enough to see who waits for a keyframe.
fn joins() -> usize {
    process::setting("SWIFTWATER_TEST_JOINS").and_then(|it| it.parse().ok()).unwrap_or(5)
}

fn source(protocol: &str, stage: &Stage, gop_seconds: u32) -> StampedClip {
    match protocol {
        "RTMP" => StampedClip::rtmp(&stage.rtmp_url(), FPS * gop_seconds),
        _ => StampedClip::whip(&stage.url("/whip"), KEY, FPS * gop_seconds),
    }
}

async fn table(protocol: &str) {
    let _alone = crate::alone().await;
    let wanted = joins();
    eprintln!("| source | GOP s | joins | median ms | p95 ms | all |\n|---|---|---|---|---|---|");
    for gop_seconds in [1, 4, 10] {
        let stage = Stage::start().await;
        let _clip = source(protocol, &stage, gop_seconds);
        stage.live(&[Kind::Video, Kind::Audio]).await;
        let input = json!({ "origin": stage.url(""), "channel": CHANNEL, "seconds": 0, "joins": wanted });
        let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
        let mut joins: Vec<f64> =
            seen["joinMs"].as_array().expect("joins").iter().filter_map(Value::as_f64).collect();
        assert_eq!(joins.len(), wanted, "{seen:#}");
        joins.sort_by(f64::total_cmp);
        let [median, p95] = [0.5, 0.95].map(|part| joins[((wanted - 1) as f64 * part).round() as usize]);
        eprintln!("| {protocol} | {gop_seconds} | {wanted} | {median:.0} | {p95:.0} | {joins:.0?} |");
        let core = stage.server().sfu().stats().core;
        let (bursts, given_up, replays) = (core.catch_ups, core.catch_up_too_slow, core.replays);
        eprintln!("bursts {bursts}, given up {given_up}, cache sent again {replays}; slow: {}", seen["slow"]);
        // Who waits for the next keyframe of ten seconds takes five in the middle.
        assert!(median < 1000.0, "{protocol}, GOP of {gop_seconds} s: {joins:?}");
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_rtmp_sees_a_picture_at_once_whatever_the_keyframe_interval() {
    table("RTMP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_whip_sees_a_picture_at_once_whatever_the_keyframe_interval() {
    table("WHIP").await;
}

/// A browser does not ask for packets before the first one that it got: the burst begins again.
#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_first_packets_of_a_picture_sees_it_at_once_too() {
    let _alone = crate::alone().await;
    let wanted = joins();
    let stage = Stage::start().await;
    let _clip = source("RTMP", &stage, 10);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    for lost in [1, 6, 150] {
        let terms = Terms { beginning_lost: lost, round_trip: Duration::from_millis(40), ..Terms::default() };
        let link = Link::to(stage.rtc_address(), terms).await;
        let input = json!({
            "origin": stage.url(""), "channel": CHANNEL, "seconds": 0, "joins": wanted, "port": link.address().port(),
        });
        let before = stage.server().sfu().stats().core;
        let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
        let mut joins: Vec<f64> =
            seen["joinMs"].as_array().expect("joins").iter().filter_map(Value::as_f64).collect();
        joins.sort_by(f64::total_cmp);
        let core = stage.server().sfu().stats().core;
        let repeated = core.beginnings_repeated - before.beginnings_repeated;
        eprintln!("the first {lost} lost: {joins:.0?} ms; bursts repeated {repeated}");
        // One may come just before the encoder's next keyframe.
        assert!(repeated + 1 >= wanted as u64, "{core:?}");
        // Who is not helped waits for 2 s until it may have the cache again.
        let median = joins[wanted / 2];
        assert!(median < 1500.0, "the first {lost} lost: {joins:?}");
    }
    stage.stop().await;
}
