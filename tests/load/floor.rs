//! What the same datagrams cost a program that does nothing but send them (`sfu/examples/egress_floor.rs`): to as many
//! sockets, of the same kind, in a process like the one that the viewers are in.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::spectator::Sinks;

use crate::append;
use crate::arguments::Arguments;
use crate::audience::check_descriptors;
use crate::figures::number;
use crate::server::Cpu;

pub(crate) const USAGE: &str = "load floor --program FILE --trace FILE [--viewers N] [--threads N] [--groups N] \
    [--seconds N] [--label TEXT] [--header no] [--json FILE]";

/// Until the sender is in step.
const WARM_UP: Duration = Duration::from_secs(2);

const HEADER: &str = "\
| floor of | sockets | delivered/s | CPU µs/packet (user + system) | packets/call | packets/message | lost |
|---|---|---|---|---|---|---|";

pub(crate) async fn run(arguments: &Arguments) {
    let sockets: usize = arguments.number("viewers", 100);
    check_descriptors(sockets);
    let sinks = Sinks::open(sockets);
    let mut sender = Sender::start(arguments, &sinks);
    let pid = sender.child.id();
    tokio::time::sleep(WARM_UP).await;
    let (at, packets, before) = (now(), sinks.packets(), Cpu::of(pid));
    tokio::time::sleep(Duration::from_secs(arguments.number("seconds", 10))).await;
    let (window, packets, after) = (at.elapsed(), sinks.packets() - packets, Cpu::of(pid));
    let told = sender.stop();
    // What is on its way still arrives.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let lost = told["datagrams"].as_u64().unwrap_or(0).saturating_sub(sinks.packets());
    let per_packet = |seconds: f64| seconds * 1e6 / packets.max(1) as f64;
    let label = arguments.maybe("label").unwrap_or("load");
    let ratio =
        |of: &str| told["datagrams"].as_f64().unwrap_or(f64::NAN) / told[of].as_f64().unwrap_or(f64::NAN);
    let figures = json!({
        "kind": "floor",
        "label": label,
        "viewers": sockets,
        "packets_per_second": packets as f64 / window.as_secs_f64(),
        "cpu_us_per_packet": per_packet(after.total() - before.total()),
        "user_us_per_packet": per_packet(after.user - before.user),
        "system_us_per_packet": per_packet(after.system - before.system),
        "datagrams_per_send_call": ratio("calls"),
        "datagrams_per_message": ratio("messages"),
        "lost": lost,
    });
    let of = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
    let mut out = std::io::stdout();
    if arguments.maybe("header") != Some("no") {
        let _ = writeln!(out, "{HEADER}");
    }
    let _ = writeln!(
        out,
        "| {label} | {sockets} | {} | {} ({} + {}) | {} | {} | {lost} |",
        number(of("packets_per_second"), 0),
        number(of("cpu_us_per_packet"), 2),
        number(of("user_us_per_packet"), 2),
        number(of("system_us_per_packet"), 2),
        number(of("datagrams_per_send_call"), 1),
        number(of("datagrams_per_message"), 1),
    );
    if let Some(file) = arguments.maybe("json") {
        append(file, &figures);
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The program that sends, until its input ends.
struct Sender {
    child: Child,
}

impl Sender {
    fn start(arguments: &Arguments, sinks: &Sinks) -> Self {
        let (threads, groups) = (arguments.number("threads", 1_usize), arguments.number("groups", 1_usize));
        let mut child = Command::new(arguments.text("program"))
            .args(["--trace", &arguments.text("trace")])
            .args(["--threads", &threads.to_string(), "--groups", &groups.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sender starts");
        let addresses: String = sinks.addresses().map(|address| format!("{address}\n")).collect();
        let input = child.stdin.as_mut().expect("piped");
        input
            .write_all(addresses.as_bytes())
            .and_then(|()| input.write_all(b"\n"))
            .expect("the sender reads");
        Self { child }
    }

    /// Ends it, and returns what it counted.
    fn stop(&mut self) -> Value {
        drop(self.child.stdin.take());
        let output = std::io::read_to_string(self.child.stdout.as_mut().expect("piped")).expect("text");
        let _ended = self.child.wait();
        serde_json::from_str(&output).expect("what it counted")
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
