//! What the servers of this process log, kept for tests that read it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines kept, of all servers of the process. A test that reads more than this late has waited too long.
const LINES_MAX: usize = 20_000;

/// Everything that we and those who see secrets say; of the others what operators see.
const FILTER: &str = "warn,server=trace,ingest=trace,signaling=trace,control=trace,chat=trace,media=debug,\
    sfu=debug,hls_packager=debug,transcode=debug,axum=trace,axum_server=trace,hyper=trace,tungstenite=debug,\
    rtc=warn,rtc_dtls=error,symphonia=warn";

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static BEGUN: Once = Once::new();

/// Begins to keep the log. Every call after the first does nothing.
pub fn capture() {
    BEGUN.call_once(|| {
        let filter = EnvFilter::new(FILTER);
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Sink);
        log.try_init().expect("nobody else logs in tests");
    });
}

/// The kept lines that hold all of `words`.
pub fn lines(words: &[&str]) -> Vec<String> {
    kept().iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
}

fn kept() -> MutexGuard<'static, VecDeque<String>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes formatted lines.
struct Sink;

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = kept();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
