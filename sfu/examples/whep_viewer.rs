//! The SFU with real viewers over loopback: what a delivered packet costs.
//!
//! `cargo run --release -p sfu --example whep_viewer -- [viewers] [seconds] [shards]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an instrument that prints what it measured"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sfu::sdp::SubscribeOffer;
use sfu::stats::Histogram;
use sfu::{Config, Sfu, Stats};
use support::{Seen, Source, Viewer};
use tokio::task::JoinSet;

/// Time for connecting and for the burst that each viewer starts with.
const WARM_UP: Duration = Duration::from_secs(3);
const CONNECTING_MAX: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("a number"));
    let viewers = args.next().unwrap_or(50);
    let seconds = args.next().unwrap_or(6);
    let shards = args.next().unwrap_or(1);
    let bind = vec![Ipv4Addr::LOCALHOST.into()];
    let sfu = Sfu::start(Config { port: 0, bind, shards, ..Config::default() }).expect("a free port");
    let mut source = Source::new();
    let stream = Arc::clone(&source.stream);
    // On a thread of its own, so that busy viewers do not delay it.
    std::thread::spawn(move || {
        loop {
            let next = source.turn();
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });

    let begin = Instant::now();
    let mut watching = JoinSet::new();
    for _ in 0..viewers {
        let (mut viewer, offer) = Viewer::new().await;
        let offer = SubscribeOffer::parse(&offer).expect("an offer of str0m");
        let subscription = sfu.subscribe(Arc::clone(&stream), offer).await.expect("room");
        viewer.accept(&subscription.answer);
        watching.spawn(async move {
            let connected = viewer.until(CONNECTING_MAX, |seen| seen.connected).await;
            let took = begin.elapsed();
            viewer.until(Duration::from_secs(3600), |seen| seen.closed).await;
            (connected, took, viewer.seen, subscription)
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (cpu, stats, at) = (shard_cpu(), sfu.stats(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let window = at.elapsed();
    let used = shard_cpu() - cpu;
    // Numbers are at most 250 ms old at both ends.
    let after = sfu.stats();
    sfu.stop();
    let all = watching.join_all().await;

    let seen = all.iter().map(|(_, _, seen, _)| *seen).collect::<Vec<Seen>>();
    let connected = all.iter().filter(|(connected, ..)| *connected).count();
    let slowest = all.iter().map(|(_, took, ..)| *took).max().unwrap_or_default();
    println!("{connected} of {viewers} viewers connected, the last after {slowest:.2?}");
    let decrypted: u64 = seen.iter().map(|seen| seen.video + seen.audio).sum();
    let gaps: u64 = seen.iter().map(|seen| seen.gaps).sum();
    println!("{decrypted} packets decrypted by them, {gaps} holes in their numbers");
    report(&stats, &after, used, window);
}

fn report(before: &Stats, after: &Stats, cpu: Duration, window: Duration) {
    let (from, to) = (&before.socket, &after.socket);
    let datagrams = (to.datagrams_sent - from.datagrams_sent) as f64;
    let calls = (to.send_calls - from.send_calls) as f64;
    println!("{:.0} datagrams/s sent in {:.1} s", datagrams / window.as_secs_f64(), window.as_secs_f64());
    println!("{:.2} µs CPU per datagram (all shard threads)", cpu.as_secs_f64() * 1e6 / datagrams);
    println!("{:.1} datagrams per sendmmsg", datagrams / calls);
    let system_calls = calls
        + (to.receive_calls - from.receive_calls) as f64
        + (after.loop_turns - before.loop_turns) as f64;
    println!("{:.3} system calls per datagram (send, receive, wait)", system_calls / datagrams);
    println!("{:.1} datagrams per GSO run", datagrams / (to.gso_runs - from.gso_runs).max(1) as f64);
    let latency = &after.forward_latency;
    for (kind, latency) in
        [("audio", &latency.audio), ("video", &latency.video), ("keyframe", &latency.keyframe)]
    {
        report_latency(kind, latency);
    }
    println!("{after:#?}");
}

fn report_latency(kind: &str, latency: &Histogram) {
    println!(
        "{kind}: frame arrival to last packet sent: p50 <= {:?} µs, p99 <= {:?} µs, mean {} µs of {} frames",
        latency.quantile_micros(0.5).unwrap_or(u64::MAX),
        latency.quantile_micros(0.99).unwrap_or(u64::MAX),
        latency.sum_micros / latency.count.max(1),
        latency.count
    );
}

/// What the shard threads used of the processors so far.
fn shard_cpu() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let nanos = tasks.flatten().filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        name.starts_with("sfu-").then(|| spent.split(' ').next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(nanos.sum())
}
