//! How soon a viewer sees a picture, wherever it comes into a group of pictures, and on a thin line. For the whole table:
//! `SWIFTWATER_TEST_SECONDS=20 cargo test -p tests --test browser join -- --nocapture`.

use std::time::Duration;

use media::Kind;
use serde_json::{Value, json};
use tests::link::{Link, Terms};
use tests::source::StampedClip;
use tests::stage::{CHANNEL, KEY};
use tests::{Stage, run_script};

use crate::{SCRIPT_TIMEOUT, median, number, seconds};

/// Frames per second of the clip.
const FPS: u32 = 25;

#[derive(Clone, Copy, Debug)]
enum Way {
    Rtmp,
    Whip,
}

/// A stage with the clip on the air by `way`, a keyframe every `gop` seconds.
async fn on_air(way: Way, gop: u32) -> (Stage, StampedClip) {
    let stage = Stage::start().await;
    let clip = match way {
        Way::Rtmp => StampedClip::rtmp(&stage.rtmp_url(), gop * FPS),
        Way::Whip => StampedClip::whip(&stage.url("/whip"), KEY, gop * FPS),
    };
    stage.live(&[Kind::Video, Kind::Audio]).await;
    (stage, clip)
}

/// Milliseconds from the WHEP POST to the first picture, sorted.
fn joins(seen: &Value) -> Vec<f64> {
    let joins = seen["joinMs"].as_array().expect("joins");
    let mut joins: Vec<f64> = joins.iter().filter_map(Value::as_f64).collect();
    joins.sort_by(f64::total_cmp);
    joins
}

/// The one in 20 that took longest but one.
fn p95(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() * 95).div_ceil(100) - 1]
}

/// A line of one and a half times the bitrate cannot carry a burst in time: the viewer begins with the cached keyframe,
/// and goes on with the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_hardly_enough_shows_a_picture_too() {
    let _alone = crate::alone().await;
    let figures = tests::process::setting("SWIFTWATER_TEST_SECONDS").is_some();
    let (ways, gops): (&[Way], &[u32]) =
        if figures { (&[Way::Rtmp, Way::Whip], &[1, 4, 10]) } else { (&[Way::Rtmp], &[4]) };
    for way in ways {
        for gop in gops {
            let (stage, _clip) = on_air(*way, *gop).await;
            let bitrate = bitrate(&stage).await;
            let terms = Terms {
                capacity_bps: Some(bitrate * 3 / 2),
                round_trip: Duration::from_millis(40),
                ..Terms::default()
            };
            let link = Link::to(stage.rtc_address(), terms).await;
            let input = json!({
                "origin": stage.url(""), "channel": CHANNEL, "seconds": seconds(12), "joins": if figures { 20 } else { 3 },
                "port": link.address().port(), "frames": true,
            });
            let seen = run_script("whep.mjs", input, SCRIPT_TIMEOUT).await;
            let (joins, look_ms) = (joins(&seen), seconds(12) as f64 * 1000.0);
            let core = stage.server().sfu().stats().core;
            let frames: Vec<f64> =
                seen["frames"].as_array().expect("frames").iter().filter_map(|it| it[0].as_f64()).collect();
            // The eye sees changes: what it looked at before the first one was the picture of the beginning.
            let seen_ms = frames.last().zip(frames.first()).map_or(0.0, |(last, first)| last - first);
            let stood_ms = (look_ms - seen_ms).max(0.0);
            let still_ms = frames.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            eprintln!(
                "{way:?}, GOP {gop} s, {bitrate} bit/s on {}: median {:.0} ms, p95 {:.0} ms of {}; bursts {}, refused {}, too slow {}, \
                 abandoned {}, sound alone {}; then for {} s: the first picture \
                 stood for {stood_ms:.0} ms, later the longest still {still_ms:.0} ms, latency {} ms; {:?}",
                bitrate * 3 / 2,
                median(joins.clone()),
                p95(&joins),
                joins.len(),
                core.catch_ups,
                core.catch_up_refused,
                core.catch_up_too_slow,
                core.catch_up_abandoned,
                core.audio_only,
                seconds(12),
                seen["latencyMedianMs"],
                link.carried(),
            );
            assert!(median(joins.clone()) < 1500.0, "{joins:?}");
            // The keyframe of the group under way, then nothing until the next.
            let moving_s = seconds(12).saturating_sub(u64::from(*gop)) as f64;
            assert!(number(&seen, "stamped") >= moving_s * 15.0, "{seen:#}");
            stage.stop().await;
        }
    }
}

/// Payload bits per second of picture and sound, once the encoder has settled.
async fn bitrate(stage: &Stage) -> u64 {
    let stream = stage.live(&[Kind::Video, Kind::Audio]).await;
    let info = |kind| Some(stream.source(kind)?.layers().first()?.info());
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        look.tick().await;
        let (Some(video), Some(audio)) = (info(Kind::Video), info(Kind::Audio)) else { continue };
        // The rate is that of two seconds, and an encoder begins with a keyframe.
        if let (Some(video_bps), Some(audio_bps)) = (video.bitrate_bps, audio.bitrate_bps)
            && video.frames > u64::from(6 * FPS)
        {
            return video_bps + audio_bps;
        }
    }
}
