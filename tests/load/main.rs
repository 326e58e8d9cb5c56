//! The load generator: real ICE, DTLS and SRTP viewers by WHEP, in a process of their own.
//!
//! ```text
//! load --whep http://127.0.0.1:8080/whep/live --viewers 100 --seconds 10 --server-pid 4711
//! ```
//!
//! Most viewers connect for real, keep ICE alive and count what arrives; one in `--full-every` hands every
//! packet to its WebRTC stack (str0m), which decrypts, reports loss and feeds back. CPU is that of the
//! server process, read from the kernel; `tests/load/run` starts everything and prints the table.

mod server;
mod viewer;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use viewer::{Tally, Viewer};

/// Handshakes at once: a real audience does not arrive in one millisecond.
const JOINING_MAX: usize = 8;

struct Arguments {
    whep: String,
    metrics: Option<String>,
    viewers: usize,
    seconds: u64,
    full_every: usize,
    server_pid: Option<u32>,
}

fn main() {
    let arguments = Arguments::read();
    str0m::crypto::from_feature_flags().install_process_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(arguments));
}

async fn run(arguments: Arguments) {
    let tally = Arc::new(Tally::default());
    let client = reqwest::Client::new();
    let joining = Arc::new(tokio::sync::Semaphore::new(JOINING_MAX));
    let mut viewers = tokio::task::JoinSet::new();
    for number in 0..arguments.viewers {
        let full = number % arguments.full_every == 0;
        let (client, tally, whep) = (client.clone(), Arc::clone(&tally), arguments.whep.clone());
        let permit = Arc::clone(&joining).acquire_owned().await.expect("open");
        viewers.spawn(async move {
            let mut viewer = Viewer::join(&client, &whep, full, tally).await;
            viewer.connect().await;
            drop(permit);
            viewer.watch().await;
        });
    }
    let _all = joining.acquire_many(JOINING_MAX as u32).await.expect("open");
    // A warm-up, so that catch-up bursts and the first feedback are over.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = Snapshot::take(&arguments, &tally, &client).await;
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let after = Snapshot::take(&arguments, &tally, &client).await;
    print(&arguments, &before, &after, &tally);
    viewers.abort_all();
}

struct Snapshot {
    cpu: server::Cpu,
    counters: server::Counters,
    packets: u64,
    bytes: u64,
}

impl Snapshot {
    async fn take(arguments: &Arguments, tally: &Tally, client: &reqwest::Client) -> Self {
        let counters = match &arguments.metrics {
            Some(url) => server::Counters::fetch(client, url).await,
            None => server::Counters::default(),
        };
        let cpu = arguments.server_pid.map(server::Cpu::of).unwrap_or_default();
        Self { cpu, counters, packets: tally.packets(), bytes: tally.bytes() }
    }
}

fn print(arguments: &Arguments, before: &Snapshot, after: &Snapshot, tally: &Tally) {
    let packets = (after.packets - before.packets).max(1) as f64;
    let micros = |now: f64, then: f64| (now - then) * 1e6 / packets;
    let per_packet = |name: &str| (after.counters.get(name) - before.counters.get(name)) / packets;
    let result = serde_json::json!({
        "viewers": arguments.viewers,
        "connected": tally.connected(),
        "packets_per_second": packets / arguments.seconds as f64,
        "mbit_per_second": (after.bytes - before.bytes) as f64 * 8e-6 / arguments.seconds as f64,
        "cpu_us_per_packet": micros(after.cpu.user + after.cpu.system, before.cpu.user + before.cpu.system),
        "user_us_per_packet": micros(after.cpu.user, before.cpu.user),
        "system_us_per_packet": micros(after.cpu.system, before.cpu.system),
        "syscalls_per_packet": per_packet("swiftwater_sfu_send_calls_total"),
        "allocations_per_packet": per_packet("swiftwater_allocations_total"),
        "allocations_per_second":
            (after.counters.get("swiftwater_allocations_total") - before.counters.get("swiftwater_allocations_total"))
                / arguments.seconds as f64,
        "server_rss_kib": after.cpu.rss_kib,
        "full_viewers_decrypted": tally.decrypted(),
        "full_viewers_lost": tally.lost(),
        "join_ms": tally.join_percentiles(),
        "profiles": after.counters.starting_with("swiftwater_sfu_srtp"),
    });
    let _ = writeln!(std::io::stdout(), "{result:#}");
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            whep: String::new(),
            metrics: None,
            viewers: 10,
            seconds: 10,
            full_every: 20,
            server_pid: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| usage(&word));
            let number = || value.parse::<u64>().unwrap_or_else(|_| usage(&word));
            match word.as_str() {
                "--whep" => arguments.whep = value,
                "--metrics" => arguments.metrics = Some(value),
                "--viewers" => arguments.viewers = number() as usize,
                "--seconds" => arguments.seconds = number().max(1),
                "--full-every" => arguments.full_every = number().max(1) as usize,
                "--server-pid" => arguments.server_pid = Some(number() as u32),
                _ => usage(&word),
            }
        }
        if arguments.whep.is_empty() { usage("--whep") } else { arguments }
    }
}

fn usage(word: &str) -> ! {
    let text = "usage: load --whep URL [--viewers N] [--seconds N] [--full-every N] [--server-pid N] [--metrics URL]";
    let _ = writeln!(std::io::stderr(), "{word}: {text}");
    std::process::exit(2)
}
