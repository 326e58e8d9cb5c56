//! The load generator: real ICE, DTLS and SRTP viewers by WHEP, in a process of their own.
//!
//! ```text
//! load --whep http://127.0.0.1:8080/whep/live --metrics http://127.0.0.1:8080/metrics --server-pid 4711 \
//!      --viewers 100,300 --seconds 10 --label "RTMP, GCM"
//! ```
//!
//! Most viewers connect for real, keep ICE alive and count what arrives; one in `--full-every` hands every
//! packet to its WebRTC stack (str0m), which decrypts, reports loss and feeds back. CPU is that of the
//! server process, read from the kernel. `--viewers` are steps: the audience grows from one to the next, and
//! what grows with it is what a packet costs. `tests/load/run` starts everything and prints the table.

mod report;
mod server;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use report::Step;
use tests::spectator::{Spectator, Tally};
use tokio::task::JoinSet;

/// Handshakes at once: a real audience does not arrive in one millisecond.
const JOINING_MAX: usize = 8;
/// Between the last join and the measurement: catch-up bursts and the first feedback are over.
const WARM_UP: Duration = Duration::from_secs(3);

struct Arguments {
    whep: String,
    metrics: Option<String>,
    viewers: Vec<usize>,
    seconds: u64,
    full_every: usize,
    server_pid: Option<u32>,
    label: String,
    json: Option<String>,
}

fn main() {
    let arguments = Arguments::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(arguments));
}

async fn run(arguments: Arguments) {
    let tally = Arc::new(Tally::default());
    let client = tests::spectator::http_client();
    let empty_rss = arguments.server_pid.map_or(0.0, |pid| server::Cpu::of(pid).rss_kib);
    let mut audience = JoinSet::new();
    let mut steps: Vec<Step> = Vec::new();
    for viewers in &arguments.viewers {
        grow(&mut audience, *viewers, &arguments, &client, &tally).await;
        tokio::time::sleep(WARM_UP).await;
        let before = Snapshot::take(&arguments, &tally, &client).await;
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        let after = Snapshot::take(&arguments, &tally, &client).await;
        let step = Step::new(&before, &after, &tally, empty_rss);
        let _ = writeln!(std::io::stdout(), "{}", step.row(&arguments.label, steps.first()));
        if let Some(file) = &arguments.json {
            append(file, &step.json(&arguments.label));
        }
        steps.push(step);
    }
    audience.abort_all();
    let broken = steps.iter().filter(|step| !step.is_whole()).count();
    if broken > 0 {
        let _ =
            writeln!(std::io::stderr(), "{broken} steps lost packets of full viewers or could not decrypt");
        std::process::exit(1);
    }
}

/// Lets viewers join until there are so many.
async fn grow(
    audience: &mut JoinSet<()>,
    viewers: usize,
    arguments: &Arguments,
    client: &reqwest::Client,
    tally: &Arc<Tally>,
) {
    let joining = Arc::new(tokio::sync::Semaphore::new(JOINING_MAX));
    for number in audience.len()..viewers {
        let full = number.is_multiple_of(arguments.full_every);
        let (client, tally, whep) = (client.clone(), Arc::clone(tally), arguments.whep.clone());
        let permit = Arc::clone(&joining).acquire_owned().await.expect("open");
        audience.spawn(async move {
            let mut viewer = Spectator::join(&client, &whep, full, tally).await;
            viewer.connect().await;
            drop(permit);
            viewer.watch().await;
        });
    }
    let _all = joining.acquire_many(JOINING_MAX as u32).await.expect("open");
    if let Some(ended) = audience.try_join_next() {
        panic!("a viewer ended: {ended:?}");
    }
}

/// Everything that is counted, at one moment.
struct Snapshot {
    at: Instant,
    cpu: server::Cpu,
    counters: server::Counters,
    packets: u64,
    bytes: u64,
    missing: i64,
    sender_reports: u64,
}

impl Snapshot {
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    async fn take(arguments: &Arguments, tally: &Tally, client: &reqwest::Client) -> Self {
        let counters = match &arguments.metrics {
            Some(url) => server::Counters::fetch(client, url).await,
            None => server::Counters::default(),
        };
        Self {
            at: Instant::now(),
            cpu: arguments.server_pid.map(server::Cpu::of).unwrap_or_default(),
            counters,
            packets: tally.packets(),
            bytes: tally.bytes(),
            missing: tally.missing(),
            sender_reports: tally.sender_reports(),
        }
    }
}

fn append(file: &str, json: &serde_json::Value) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("a file");
    writeln!(file, "{json}").expect("room on the disk");
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            whep: String::new(),
            metrics: None,
            viewers: vec![10],
            seconds: 10,
            full_every: 20,
            server_pid: None,
            label: "load".to_owned(),
            json: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| usage(&word));
            let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| usage(&word));
            match word.as_str() {
                "--whep" => arguments.whep = value,
                "--metrics" => arguments.metrics = Some(value),
                "--viewers" => {
                    arguments.viewers = value.split(',').map(|text| number(text) as usize).collect()
                }
                "--seconds" => arguments.seconds = number(&value).max(1),
                "--full-every" => arguments.full_every = number(&value).max(1) as usize,
                "--server-pid" => arguments.server_pid = Some(number(&value) as u32),
                "--label" => arguments.label = value,
                "--json" => arguments.json = Some(value),
                _ => usage(&word),
            }
        }
        if arguments.whep.is_empty() { usage("--whep") } else { arguments }
    }
}

fn usage(word: &str) -> ! {
    let text = "usage: load --whep URL [--viewers N,N...] [--seconds N] [--full-every N] [--server-pid N] \
                [--metrics URL] [--label TEXT] [--json FILE]";
    let _ = writeln!(std::io::stderr(), "{word}: {text}");
    std::process::exit(2)
}
