//! An audience that grows in steps, and what each step costs.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::spectator::{Arrival, Tally, http_client};

use crate::append;
use crate::arguments::Arguments;
use crate::audience::{Audience, Plan, check_descriptors};
use crate::report::{HEADER, Step};
use crate::server::{Counters, Cpu};

pub(crate) const USAGE: &str = "load watch --whep URL[,URL...] [--viewers N,N...] [--seconds N] [--full-every N] \
    [--loss PERCENT] [--plain yes] [--server-pid N] [--metrics URL] [--label TEXT] [--group TEXT] [--header no] \
    [--json FILE] \
    [--trace FILE]";

/// Between the last join and the measurement: catch-up bursts and the first feedback are over.
const WARM_UP: Duration = Duration::from_secs(3);

pub(crate) async fn run(arguments: &Arguments) {
    let (tally, client) = (Arc::new(Tally::default()), http_client());
    let plan = Plan {
        whep: arguments.list("whep"),
        full_every: arguments.number("full-every", 20),
        loss_percent: arguments.number("loss", 0.0),
        plain: arguments.is("plain"),
    };
    let steps_wanted: Vec<usize> = match arguments.maybe("viewers") {
        Some(_) => arguments.list("viewers"),
        None => vec![10],
    };
    check_descriptors(steps_wanted.iter().copied().max().unwrap_or(0));
    let (pid, metrics) = (arguments.maybe("server-pid"), arguments.maybe("metrics"));
    let pid: Option<u32> = pid.map(|_| arguments.number("server-pid", 0));
    let seconds = Duration::from_secs(arguments.number("seconds", 10_u64).max(1));
    let label = arguments.maybe("label").unwrap_or("load").to_owned();
    let empty_rss = pid.map_or(0.0, |pid| Cpu::of(pid).rss_kib);
    let lossless = plan.loss_percent <= 0.0;
    let mut audience = Audience::new(plan, client.clone(), Arc::clone(&tally));
    let mut broken = 0;
    if arguments.maybe("header") != Some("no") {
        say(HEADER);
    }
    for viewers in steps_wanted {
        audience.grow(viewers).await;
        tokio::time::sleep(WARM_UP).await;
        let before = Snapshot::take(pid, metrics, &tally, &client).await;
        tally.start_trace();
        tokio::time::sleep(seconds).await;
        let trace = tally.take_trace();
        let after = Snapshot::take(pid, metrics, &tally, &client).await;
        let step = Step::new(&before, &after, &tally, empty_rss);
        say(&step.row(&label));
        if let Some(file) = arguments.maybe("json") {
            append(file, &step.json(&label, arguments.maybe("group")));
        }
        if let Some(file) = arguments.maybe("trace") {
            write_trace(file, &trace);
        }
        broken += u32::from(lossless && !step.is_whole());
    }
    if broken > 0 {
        let _ =
            writeln!(std::io::stderr(), "{broken} steps lost packets of full viewers or could not decrypt");
        std::process::exit(1);
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Microseconds since the first packet, bytes, and what it is of, one packet per line.
fn write_trace(file: &str, trace: &[Arrival]) {
    let mut text = String::new();
    for arrival in trace {
        let since = arrival.at.duration_since(trace[0].at);
        let of = if arrival.video { "video" } else { "audio" };
        text += &format!("{} {} {of}\n", since.as_micros(), arrival.bytes);
    }
    std::fs::write(file, text).expect("room on the disk");
}

/// Everything that is counted, at one moment.
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) cpu: Cpu,
    /// Of this process.
    pub(crate) client: Cpu,
    pub(crate) counters: Counters,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) missing: i64,
    pub(crate) dropped: u64,
    pub(crate) sender_reports: u64,
}

impl Snapshot {
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    async fn take(pid: Option<u32>, metrics: Option<&str>, tally: &Tally, client: &reqwest::Client) -> Self {
        let counters = match metrics {
            Some(url) => Counters::fetch(client, url).await,
            None => Counters::default(),
        };
        Self {
            at: Instant::now(),
            cpu: pid.map(Cpu::of).unwrap_or_default(),
            client: Cpu::of(std::process::id()),
            counters,
            packets: tally.packets(),
            bytes: tally.bytes(),
            missing: tally.missing(),
            dropped: tally.dropped(),
            sender_reports: tally.sender_reports(),
        }
    }
}
