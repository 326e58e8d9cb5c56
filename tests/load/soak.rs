//! Viewers that come and go for a long time, and whether the server is afterwards what it was before.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::spectator::{Manner, Spectator, Tally, http_client};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::append;
use crate::arguments::Arguments;
use crate::audience::check_descriptors;
use crate::flatness::{Allowance, trend};
use crate::server::{Counters, Cpu};

pub(crate) const USAGE: &str = "load soak --whep URL[,URL...] --server-pid N --metrics URL [--seconds N] \
    [--per-second N] [--stay SECONDS] [--every SECONDS] [--json FILE]";

/// One viewer in so many goes without a word; the others say that they leave. The server finds out by itself
/// within 30 s.
const SILENT_EVERY: u64 = 4;

/// Visits that may be refused, of a hundred: a machine that does something else for a moment sends viewers away. With
/// more of them the audience was not the one that was asked for.
const REFUSED_MAX_PERCENT: u64 = 2;

/// What is sampled: name, and how far it may grow in the time that counts. Memory: the allocator's arenas and the
/// caches of a Stream breathe. The others: the audience is a few larger or smaller from one sample to the next.
/// The heap is what the process itself holds, without the allocator: what is lost per visit is seen there first.
const WATCHED: [(&str, Allowance); 5] = [
    ("RSS KiB", Allowance { share: 0.05, more: 4096.0 }),
    ("heap KiB", Allowance { share: 0.02, more: 512.0 }),
    ("descriptors", Allowance { share: 0.05, more: 8.0 }),
    ("threads", Allowance { share: 0.0, more: 2.0 }),
    ("tasks", Allowance { share: 0.05, more: 16.0 }),
];

pub(crate) async fn run(arguments: &Arguments) {
    let (client, tally) = (http_client(), Arc::new(Tally::default()));
    let (pid, metrics) = (arguments.number("server-pid", 0_u32), arguments.text("metrics"));
    let whep: Vec<String> = arguments.list("whep");
    let rate = arguments.number("per-second", 20_u32).max(1);
    let stay = Duration::from_secs(arguments.number("stay", 10));
    let (seconds, every) = (arguments.number("seconds", 600_u64), arguments.number("every", 10_u64).max(1));
    check_descriptors(2 * rate as usize * (stay.as_secs() as usize + 1));

    let start = now();
    let mut visits = JoinSet::new();
    let mut arrivals = interval(Duration::from_secs(1) / rate);
    arrivals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(Duration::from_secs(every));
    let (mut come, mut gone, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut samples: Vec<(f64, [f64; WATCHED.len()])> = Vec::new();
    say(
        "| s | come | gone | refused | viewers at the server | RSS KiB | heap KiB | descriptors | threads | tasks |",
    );
    say("|---|---|---|---|---|---|---|---|---|---|");
    while start.elapsed() < Duration::from_secs(seconds) {
        tokio::select! {
            _ = arrivals.tick() => {
                let whep = whep[come as usize % whep.len()].clone();
                visits.spawn(visit(come, client.clone(), whep, stay, Arc::clone(&tally)));
                come += 1;
            }
            Some(ended) = visits.join_next() => {
                match ended.expect("a viewer comes and goes") {
                    Ok(()) => gone += 1,
                    Err(refusal) => {
                        refused += 1;
                        if refused == 1 {
                            say(&format!("the first refusal: {refusal}"));
                        }
                    }
                }
            }
            _ = looks.tick() => {
                let counters = Counters::fetch(&client, &metrics).await;
                let sample = sample(pid, &counters);
                let at = start.elapsed().as_secs_f64();
                let [rss, heap, descriptors, threads, tasks] = sample;
                let viewers = counters.get("swiftwater_sfu_viewers");
                say(&format!(
                    "| {at:.0} | {come} | {gone} | {refused} | {viewers:.0} | {rss:.0} | {heap:.0} | {descriptors:.0} | {threads:.0} | {tasks:.0} |"
                ));
                samples.push((at, sample));
            }
        }
    }
    visits.abort_all();
    let full = 100 * refused <= REFUSED_MAX_PERCENT * come;
    say(&format!("refused: {refused} of {come}{}", if full { "" } else { ", TOO MANY" }));
    let flat = verdict(&samples, arguments.maybe("json"));
    std::process::exit(if flat && full { 0 } else { 1 });
}

/// One viewer comes, watches, and goes, or is told why it may not.
async fn visit(
    number: u64,
    client: reqwest::Client,
    whep: String,
    stay: Duration,
    tally: Arc<Tally>,
) -> Result<(), String> {
    let mut viewer = Spectator::join(&client, &whep, Manner::default(), tally).await?;
    viewer.connect().await;
    let _watched = timeout(stay, viewer.watch()).await;
    if !number.is_multiple_of(SILENT_EVERY) {
        viewer.leave(&client).await;
    }
    Ok(())
}

fn sample(pid: u32, counters: &Counters) -> [f64; WATCHED.len()] {
    let entries =
        |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count) as f64;
    let heap = counters.get("swiftwater_heap_bytes") / 1024.0;
    assert!(heap > 0.0, "the server counts its heap: it is built with the feature count-allocations");
    [Cpu::of(pid).rss_kib, heap, entries("fd"), entries("task"), counters.get("swiftwater_tasks")]
}

/// Says of each number whether it is flat. True: all are.
fn verdict(samples: &[(f64, [f64; WATCHED.len()])], json: Option<&str>) -> bool {
    let mut all = true;
    for (at, (name, allowance)) in WATCHED.into_iter().enumerate() {
        let of: Vec<(f64, f64)> = samples.iter().map(|(seconds, sample)| (*seconds, sample[at])).collect();
        let Some(trend) = trend(&of, allowance) else {
            say(&format!("{name}: too few samples to say; run longer, or look more often"));
            return false;
        };
        let word = if trend.flat { "flat" } else { "GROWS" };
        say(&format!(
            "{name}: {word}, median {:.0}, {:+.1} in the time that counts, {:+.1} per hour",
            trend.median, trend.growth, trend.per_hour
        ));
        if let Some(file) = json {
            append(
                file,
                &json!({
                    "kind": "soak",
                    "label": name,
                    "seconds": samples.last().map_or(0.0, |(at, _)| *at),
                    "median": trend.median,
                    "growth": trend.growth,
                    "per_hour": trend.per_hour,
                    "flat": trend.flat,
                }),
            );
        }
        all &= trend.flat;
    }
    all
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}
