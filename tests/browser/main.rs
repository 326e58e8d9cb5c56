//! End to end with a real browser: what a viewer sees and hears.

mod account;
mod exits;
mod fallback;
mod grants;
mod join;
mod last_broadcast;
mod lips;
mod players;
mod publish;
mod rebound;
mod recording;
mod relayed;
mod rewind;
mod simulcast;
mod steady;
mod thin_line;
mod watch;

use std::time::Duration;

use serde_json::Value;

/// A browser takes seconds to start on a busy machine; a script that takes longer than this hangs.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);

/// Held by each test while it runs: a browser that encodes AV1 takes two cores, and another beside it would see the
/// machine's limits, not the server's.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// How long to look: `SWIFTWATER_TEST_SECONDS` for figures, else what is enough for the suite.
fn seconds(enough: u64) -> u64 {
    tests::process::setting("SWIFTWATER_TEST_SECONDS").and_then(|it| it.parse().ok()).unwrap_or(enough)
}

/// A number out of what a script reported.
fn number(seen: &Value, name: &str) -> f64 {
    seen[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {seen:#}"))
}

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    assert!(!numbers.is_empty(), "no numbers");
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
