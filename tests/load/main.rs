//! The load generator: real ICE, DTLS and SRTP viewers by WHEP, in a process of their own.
//!
//! ```text
//! load watch --whep URL[,URL…] --viewers 100,300 --seconds 10 --server-pid 4711 --metrics URL
//! load floor --program egress_floor --trace FILE --viewers 300        the same datagrams, and nothing but sending
//! load soak  --whep URL --server-pid 4711 --metrics URL --seconds 3600
//! load tables FILE                                                     figures as the tables of docs/performance.md
//! ```
//! Most viewers connect for real, keep ICE alive and count what arrives; one in `--full-every` hands every
//! packet to its WebRTC stack (str0m), which decrypts, reports loss and feeds back. CPU is that of the
//! server process, read from the kernel. `tests/load/run`, `tests/load/soak` and `tests/load/figures` start everything.

mod arguments;
mod audience;
mod figures;
mod flatness;
mod floor;
mod report;
mod server;
mod soak;
mod tables;
mod watch;

use std::io::Write;

use arguments::Arguments;

fn main() {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match what.as_str() {
        "watch" => runtime.block_on(watch::run(&Arguments::read(words, watch::USAGE))),
        "floor" => runtime.block_on(floor::run(&Arguments::read(words, floor::USAGE))),
        "soak" => runtime.block_on(soak::run(&Arguments::read(words, soak::USAGE))),
        "tables" => tables::print(words),
        _ => {
            let _ = writeln!(std::io::stderr(), "{}\n{}\n{}", watch::USAGE, floor::USAGE, soak::USAGE);
            std::process::exit(2);
        }
    }
}

/// Appends figures to a file, one object per line.
fn append(file: &str, figures: &serde_json::Value) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("a file");
    writeln!(file, "{figures}").expect("room on the disk");
}
