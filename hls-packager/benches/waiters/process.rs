//! Processes and their CPU time.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that there is.
const TICK: Duration = Duration::from_millis(10);

/// Runs `work` and says how much CPU time, user and system, `pids` used meanwhile.
pub(crate) async fn measure<T>(pids: &[u32], work: impl Future<Output = T>) -> (T, Duration) {
    let used = || pids.iter().map(|pid| cpu(*pid)).sum::<Duration>();
    let before = used();
    let result = work.await;
    (result, used().saturating_sub(before))
}

fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // Behind the name, which may hold anything: state is field 3, utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).map(|field| field.parse::<u32>().expect("ticks")).sum();
    TICK * ticks
}

/// Microseconds of the wall clock: what two processes have in common.
#[expect(clippy::disallowed_methods, reason = "compared between processes")]
pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
