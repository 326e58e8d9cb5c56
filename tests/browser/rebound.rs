//! A browser whose NAT forgets it: it comes from another port, and the picture follows once it has answered there.

#![expect(clippy::disallowed_methods, reason = "tests measure")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media::Kind;
use serde_json::json;
use tests::link::{Link, Terms};
use tests::source::StampedClip;
use tests::stage::CHANNEL;
use tests::{Stage, eventually, run_script};

use crate::{SCRIPT_TIMEOUT, number};

/// Frames per second of the clip, and frames from keyframe to keyframe.
const FPS: u32 = 25;
/// How long the script looks. Chromium repeats its checks every 2.5 s, and only then the server hears of the other port;
/// what was lost by then has cost the viewer its estimate, which has to grow again.
const SECONDS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_nat_gives_it_another_port_is_followed_once_it_answers() {
    let _alone = crate::alone().await;
    let stage = Stage::start().await;
    let _clip = StampedClip::rtmp(&stage.rtmp_url(), FPS);
    stage.live(&[Kind::Video, Kind::Audio]).await;
    let terms = Terms { round_trip: Duration::from_millis(40), ..Terms::default() };
    let link = Link::to(stage.rtc_address(), terms).await;
    let input = json!({
        "origin": stage.url(""), "channel": CHANNEL, "seconds": SECONDS, "port": link.address().port(), "frames": true,
    });
    let core = || stage.server().sfu().stats().core;
    let forget = async {
        // A few seconds of picture and sound.
        let before = eventually("media flows", SCRIPT_TIMEOUT, async || {
            let core = core();
            (core.viewers_connected == 1 && core.packets_forwarded > 600).then_some(core)
        })
        .await;
        link.set(|terms| terms.mapping += 1);
        let forgotten = Instant::now();
        eventually("an answer to a challenge", SCRIPT_TIMEOUT, async || {
            (core().ways_proven > before.ways_proven).then_some(())
        })
        .await;
        eprintln!("answered {:?} after it was forgotten", forgotten.elapsed());
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
    };
    let (seen, answered) = tokio::join!(run_script("whep.mjs", input, SCRIPT_TIMEOUT), forget);
    let after = core();
    let shown: Vec<f64> =
        seen["frames"].as_array().expect("frames").iter().filter_map(|it| it[0].as_f64()).collect();
    let still = shown.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    let pictures = shown.iter().filter(|at| **at > answered).count();
    eprintln!(
        "the picture stood for {still:.0} ms, and {pictures} came after the answer; ways challenged {}, proven {}, unproven {}; {:?}",
        after.ways_challenged,
        after.ways_proven,
        after.ways_unproven,
        link.carried(),
    );
    assert_eq!(after.ways_unproven, 0);
    // Two seconds of more than ten: what Chromium shows on a machine that has other things to do.
    assert!(pictures > 2 * FPS as usize, "{pictures} pictures after the answer");
    assert!(number(&seen, "stamped") > f64::from(FPS) * 5.0, "{seen:#}");
    stage.stop().await;
}
