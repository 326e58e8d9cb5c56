//! What it costs to answer an audience that waits for the next part, beside nginx that serves a file of the same
//! size to as many connections.
//!
//! ```text
//! cargo bench -p hls-packager --bench waiters -- [--waiters 10000] [--full 100] [--seconds 20] [--nginx /usr/sbin/nginx]
//! ```
//! The server is a process of its own (this program again), so that its CPU time is its own. It packages one source of
//! 500 kbit/s. Waiters ask for the playlist with the next part, compressed, and for nothing else; full clients fetch the
//! parts too. Every connection is one descriptor on both sides: raise `ulimit -n` above the number of clients.
//! `--nginx none` leaves the comparison out.
#![expect(clippy::print_stdout, reason = "an instrument that prints what it measured")]

#[path = "waiters/audience.rs"]
mod audience;
#[path = "waiters/http.rs"]
mod http;
#[path = "waiters/nginx.rs"]
mod nginx;
#[path = "waiters/origin.rs"]
mod origin;
#[path = "waiters/process.rs"]
mod process;

use std::time::Duration;

use crate::audience::{Audience, Figures};
use crate::nginx::Nginx;
use crate::origin::Origin;

/// What the command line says.
#[derive(Clone, Debug)]
struct Options {
    waiters: usize,
    full: usize,
    seconds: u64,
    nginx: String,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "origin") {
        return origin::serve();
    }
    let options = Options {
        waiters: number(&arguments, "--waiters", 10_000),
        full: number(&arguments, "--full", 100),
        seconds: number(&arguments, "--seconds", 20) as u64,
        nginx: value(&arguments, "--nginx").unwrap_or("/usr/sbin/nginx").to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(compare(&options));
}

async fn compare(options: &Options) {
    let span = Duration::from_secs(options.seconds);
    let mut origin = Origin::start().await;
    let path = origin.playlist().await;
    let idle = process::measure(&[origin.pid()], tokio::time::sleep(span)).await.1;
    let audience = Audience::gather(origin.address(), &path, options.waiters, options.full).await;
    let (figures, busy) = process::measure(&[origin.pid()], audience.watch(&mut origin, span)).await;
    drop(origin);
    println!(
        "{} waiters, {} full clients, {} s; playlist {} bytes compressed",
        options.waiters, options.full, options.seconds, figures.body_bytes
    );
    println!("packaging alone: {:.1} % of a core", 100.0 * idle.as_secs_f64() / span.as_secs_f64());
    let ours = report("swiftwater", &figures, busy.saturating_sub(idle));
    println!(
        "  full clients: {} parts, {:.0} kbit/s each; part p50 {:.1} ms, p99 {:.1} ms behind its birth",
        figures.parts.len(),
        figures.part_bytes as f64 * 8.0 / 1000.0 / span.as_secs_f64() / options.full.max(1) as f64,
        quantile(&figures.parts, 0.5),
        quantile(&figures.parts, 0.99)
    );
    if options.nginx == "none" {
        return;
    }
    let nginx = Nginx::start(&options.nginx, figures.body_bytes).await;
    let audience = Audience::gather(nginx.address(), "/file", options.waiters, 0).await;
    let (figures, busy) = process::measure(&nginx.pids(), audience.herd(span)).await;
    let theirs = report("nginx, a file", &figures, busy);
    println!("ratio of CPU per response: {:.2}", ours / theirs);
}

/// Prints a line and says the CPU time per response in microseconds.
fn report(who: &str, figures: &Figures, busy: Duration) -> f64 {
    let responses = figures.playlists.len() + figures.parts.len();
    let each = busy.as_secs_f64() * 1e6 / responses.max(1) as f64;
    println!(
        "{who}: {responses} responses, {} failed, {each:.1} µs of CPU each; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        figures.failed,
        quantile(&figures.playlists, 0.5),
        quantile(&figures.playlists, 0.99),
        quantile(&figures.playlists, 1.0),
    );
    each
}

fn quantile(sorted: &[f64], at: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * at).round() as usize).copied().unwrap_or(f64::NAN)
}

fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")))
}

fn number(arguments: &[String], name: &str, otherwise: usize) -> usize {
    value(arguments, name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}
