//! What repair leaves over of a publisher on a bad line.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{Kind, Rid, RtpPacket};

use super::world::{Loss, World, drain};
use super::{VP8_INTERFRAME, VP8_KEYFRAME, vp8};
use crate::core::up_track::UpCounters;

/// 20 s at 30 frames per second, in four packets each: 120 packets per second.
const FRAMES: u32 = 600;
const PARTS: u64 = 4;
const FRAME: Duration = Duration::from_micros(33_333);

/// A generator with a seed (splitmix64), as a line that loses each packet by itself, or in rows of that mean length.
fn line(mut seed: u64, percent: u64, row: u64) -> Loss {
    let mut chance = move |share: f64| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) % 1_000_000) as f64) < share * 1_000_000.0
    };
    let lost = percent as f64 / 100.0;
    let leave = 1.0 / row as f64;
    let enter = leave * lost / (1.0 - lost);
    let mut bad = false;
    Box::new(move |_| {
        if row == 1 {
            return chance(lost);
        }
        bad ^= chance(if bad { leave } else { enter });
        bad
    })
}

struct Seen {
    /// Of the frames, in percent.
    incomplete: f64,
    /// After a frame's way: when it was complete, the given percentiles in milliseconds.
    delays: [u128; 3],
    counters: UpCounters,
    round_trip: Option<f64>,
}

fn run(percent: u64, row: u64, round_trip: u64) -> Seen {
    let mut world = World::new(vp8, false);
    world.latency = Duration::from_millis(round_trip / 2);
    world.connect();
    let seed = percent * 1000 + round_trip * 7 + row;
    let video = world.video.unwrap();
    // By itself str0m answers requests up to 15 % of what it sends.
    let mut api = world.client.direct_api();
    api.stream_tx_by_mid(video, None).unwrap().set_rtx_cache(1024, Duration::from_secs(3), None);
    let mut reader = world.track(Kind::Video).read::<RtpPacket>(&Rid::single());
    let (start, mut arrived) = (world.now, BTreeMap::<u64, (u64, Duration)>::new());
    let mut first = None;
    for frame in 0..FRAMES + 60 {
        // The very first packet begins the count.
        if frame == 1 {
            // Down go a few reports and requests: a row of losses among them would be an outage of a second.
            (world.lose, world.lose_down) = (line(seed, percent, row), line(seed + 1, percent, 1));
        }
        for part in (0..PARTS).filter(|_| frame < FRAMES) {
            let mut payload = if frame % 60 == 0 { VP8_KEYFRAME } else { VP8_INTERFRAME }.to_vec();
            // Only the first packet begins the partition (RFC 7741 section 4.2).
            payload[0] = if part == 0 { 0x10 } else { 0 };
            payload.resize(600, 7);
            let seq = 1000 + u64::from(frame) * PARTS + part;
            world.send(video, seq, frame * 3000, part + 1 == PARTS, &payload);
        }
        world.run_until(start + FRAME * (frame + 1));
        let packets: Vec<RtpPacket> = drain!(reader);
        for packet in packets {
            let first = *first.get_or_insert(packet.seq);
            let (parts, whole) = arrived.entry((packet.seq - first) / PARTS).or_default();
            *parts += 1;
            *whole = (*whole).max(packet.arrival - start);
        }
    }
    let whole = |frame: u64| arrived.get(&frame).filter(|(parts, _)| *parts == PARTS).map(|(_, at)| *at);
    let frames = u64::from(FRAMES);
    let mut delays: Vec<u128> = (0..frames)
        .filter_map(|frame| Some((whole(frame)?, frame)))
        .map(|(at, frame)| at.saturating_sub(FRAME * frame as u32 + world.latency).as_millis())
        .collect();
    delays.sort_unstable();
    Seen {
        incomplete: 100.0 * (frames - delays.len() as u64) as f64 / frames as f64,
        delays: [50, 95, 99].map(|percent| delays[delays.len() * percent / 100]),
        counters: world.peer.totals(),
        round_trip: world.peer.stats(world.now).rtt_ms,
    }
}

#[test]
fn what_is_lost_on_the_way_up_is_repaired() {
    println!(
        "loss %  row  round trip | incomplete %  p50 ms  p95 ms  p99 ms | asked  repaired  lost  late | measured ms"
    );
    for (percent, row) in [(0, 1), (2, 1), (5, 1), (10, 1), (5, 4), (10, 4)] {
        for round_trip in [20, 60, 100, 200] {
            let Seen { incomplete, delays: [p50, p95, p99], counters, round_trip: measured } =
                run(percent, row, round_trip);
            println!(
                "{percent:6} {row:4} {round_trip:11} | {incomplete:12.2} {p50:7} {p95:7} {p99:7} | {:5} {:9} {:5} {:5} | {:.0}",
                counters.nacks,
                counters.repaired,
                counters.lost,
                counters.late,
                measured.unwrap_or_default(),
            );
            let bound = if percent <= 5 { 0.5 } else { 2.0 };
            assert!(incomplete <= bound, "{percent} % in rows of {row}, {round_trip} ms: {incomplete:.2} %");
            if percent > 0 {
                let measured = measured.expect("something was asked for") as u64;
                assert!(
                    (round_trip..round_trip * 3 / 2 + 30).contains(&measured),
                    "{round_trip}: {measured}"
                );
            }
        }
    }
}
