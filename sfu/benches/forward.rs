//! What a packet to a viewer costs in the core alone: no network, no kernel, no other thread.
//!
//! ```text
//! cargo bench -p sfu --bench forward                      # the table
//! cargo bench -p sfu --bench forward -- 300 gcm 1         # one row: viewers, profile, Streams
//! ```
//! Instructions are counted by `valgrind --tool=callgrind` where it is installed: it works in virtual machines, which
//! mostly have no counters of their own. Under `cargo test` this runs for a moment and asserts what must be zero.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an instrument that prints what it timed"
)]

#[path = "forward/world.rs"]
mod world;

use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

use sfu::egress::seal::Profile;
use world::{MEASURED_FUNCTION, MEASURING, World};

/// Media before the measurement: bursts are over, buffers have grown, everybody has reported.
const WARM_UP: Duration = Duration::from_secs(4);
/// Virtual: two groups of pictures, two sender reports of everybody, a look at the Layers per second.
const MEASURED: Duration = Duration::from_secs(4);
/// What callgrind, some fifty times slower, may run at most.
const COUNTED_VIEWERS_MAX: usize = 100;
/// Tells a run under callgrind from the others.
const COUNTED: &str = "--counted";

/// A row of the table.
#[derive(Clone, Copy)]
struct Row {
    viewers: usize,
    profile: Profile,
    streams: usize,
}

/// What it came to.
struct Figures {
    packets: u64,
    runs: u64,
    nanos: f64,
    allocations: u64,
    /// By kind of call, those that allocate.
    allocating: Vec<String>,
    kib_per_viewer: f64,
}

impl Row {
    fn measure(self) -> Figures {
        let mut world = World::connected(self.viewers, self.streams, self.profile);
        let joined = world.costs;
        world.run(WARM_UP);
        let before = world.costs;
        MEASURING.store(true, Ordering::Relaxed);
        world.run(MEASURED);
        MEASURING.store(false, Ordering::Relaxed);
        let costs = world.costs - before;
        let all = costs.all();
        let time: Duration = all.iter().map(|(_, cost)| cost.time).sum();
        // Packets of the source are kept once, whoever watches.
        let held = joined.datagrams.bytes_held + before.slices.bytes_held + before.timers.bytes_held;
        let allocating = all.iter().filter(|(_, cost)| cost.allocations > 0);
        Figures {
            packets: costs.sent,
            runs: costs.runs,
            nanos: time.as_nanos() as f64 / costs.sent as f64,
            allocations: all.iter().map(|(_, cost)| cost.allocations).sum(),
            allocating: allocating.map(|(name, cost)| format!("{name} {}", cost.allocations)).collect(),
            kib_per_viewer: held as f64 / 1024.0 / self.viewers as f64,
        }
    }

    fn words(self) -> [String; 3] {
        let profile = match self.profile {
            Profile::AeadAes128Gcm => "gcm",
            Profile::Aes128CmSha1_80 => "cm",
        };
        [self.viewers.to_string(), profile.to_owned(), self.streams.to_string()]
    }

    fn read(words: &[String]) -> Option<Self> {
        let [viewers, profile, streams] = words else { return None };
        let profile = match profile.as_str() {
            "gcm" => Profile::AeadAes128Gcm,
            "cm" => Profile::Aes128CmSha1_80,
            _ => return None,
        };
        let (viewers, streams): (usize, usize) = (viewers.parse().ok()?, streams.parse().ok()?);
        (viewers > 0 && streams > 0).then_some(Self { viewers, profile, streams })
    }

    fn print(self) -> Figures {
        let figures = self.measure();
        let [viewers, profile, streams] = self.words();
        let per_packet = figures.allocations as f64 / figures.packets as f64;
        println!(
            "| {viewers} | {streams} | {profile} | {:.0} | {:.0} | {:.1} | {per_packet:.6} {} | {} | {:.1} |",
            figures.packets as f64 / MEASURED.as_secs_f64(),
            figures.nanos,
            figures.packets as f64 / figures.runs as f64,
            figures.allocating.join(", "),
            self.instructions().map_or("–".to_owned(), |count| format!("{count:.0}")),
            figures.kib_per_viewer,
        );
        figures
    }

    /// Instructions per packet, if callgrind is there to count them.
    fn instructions(self) -> Option<f64> {
        if self.viewers > COUNTED_VIEWERS_MAX {
            return None;
        }
        let this = std::env::current_exe().ok()?;
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
            .arg(format!("--toggle-collect={MEASURED_FUNCTION}"))
            .arg(this)
            .arg(COUNTED)
            .args(self.words())
            .output()
            .ok()?;
        let packets: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        let told = String::from_utf8_lossy(&output.stderr);
        let collected = told.lines().find_map(|line| line.split("Collected :").nth(1))?;
        Some(collected.trim().parse::<f64>().ok()? / packets)
    }
}

fn main() -> ExitCode {
    str0m::crypto::from_feature_flags().install_process_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = arguments.iter().any(|word| word == "--bench");
    let words: Vec<String> = arguments.iter().filter(|word| !word.starts_with("--")).cloned().collect();
    if arguments.iter().any(|word| word == COUNTED) {
        let Some(row) = Row::read(&words) else { return ExitCode::FAILURE };
        println!("{}", row.measure().packets);
        return ExitCode::SUCCESS;
    }
    if !is_bench {
        return check();
    }
    println!(
        "| viewers | Streams | profile | packets/s | ns/packet | packets/message | allocations/packet | instructions/packet | KiB held/viewer |"
    );
    println!("|{}", "---|".repeat(9));
    let one = Row::read(&words);
    let rows = [1, 10].into_iter().flat_map(|streams| {
        Profile::ALL.into_iter().flat_map(move |profile| {
            [10, 100, 1000].into_iter().map(move |viewers| Row { viewers, profile, streams })
        })
    });
    for row in one.into_iter().chain(rows.filter(|_| one.is_none())) {
        row.print();
    }
    ExitCode::SUCCESS
}

/// What a test run may ask for: nothing is allocated per packet, whatever else the machine does.
fn check() -> ExitCode {
    for profile in Profile::ALL {
        let figures = Row { viewers: 4, profile, streams: 2 }.measure();
        println!("{profile:?}: {} packets, {} allocations", figures.packets, figures.allocations);
        if figures.packets == 0 || figures.allocations > 0 {
            println!("FAILED: the packet path allocates: {}", figures.allocating.join(", "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
