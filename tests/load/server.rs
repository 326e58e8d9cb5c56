//! What the server costs, from outside: the kernel's account of its process, and its own counters.

use std::collections::HashMap;
use std::fs;

/// CPU seconds and memory of a process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) rss_kib: u64,
}

/// Ticks per second of /proc/PID/stat on every Linux that Debian runs on.
const TICKS_PER_SECOND: f64 = 100.0;

impl Cpu {
    /// Of process `pid`. The total is exact to the nanosecond where the kernel keeps schedstat; the split
    /// into user and system is by ticks.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
        // The name in parentheses may hold spaces; fields are counted after it.
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("stat has a name").1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap_or(0.0) / TICKS_PER_SECOND;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .and_then(|line| line.split_whitespace().nth(1));
        Self { user: ticks(11), system: ticks(12), rss_kib: rss.and_then(|it| it.parse().ok()).unwrap_or(0) }
    }
}

/// The server's own counters, from `/metrics`.
#[derive(Default)]
pub(crate) struct Counters(HashMap<String, f64>);

impl Counters {
    pub(crate) async fn fetch(client: &reqwest::Client, url: &str) -> Self {
        let text = client.get(url).send().await.expect("metrics answer").text().await.expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(k, v)| Some((k.to_owned(), v.parse().ok()?)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    pub(crate) fn starting_with(&self, prefix: &str) -> HashMap<&str, f64> {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), *value))
            .collect()
    }
}
