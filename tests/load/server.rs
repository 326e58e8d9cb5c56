//! What the server costs, from outside: the kernel's account of its process, and its own counters.

use std::collections::{BTreeMap, HashMap};
use std::fs;

/// CPU seconds and memory of a process.
#[derive(Clone, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// By name of thread, user and system together.
    pub(crate) threads: BTreeMap<String, f64>,
    pub(crate) rss_kib: f64,
}

/// Ticks per second of /proc/PID/stat on every Linux that Debian runs on.
const TICKS_PER_SECOND: f64 = 100.0;

impl Cpu {
    /// Seconds of all threads.
    pub(crate) fn total(&self) -> f64 {
        self.threads.values().sum()
    }

    /// Of process `pid`. The kernel scales user and system so that their sum is what the scheduler measured;
    /// how it splits them is sampled by tick.
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
        let rss_kib = rss.and_then(|it| it.parse().ok()).unwrap_or(0.0);
        Self { user: ticks(11), system: ticks(12), threads: threads(pid), rss_kib }
    }
}

/// CPU seconds by name of thread, without the number at its end.
fn threads(pid: u32) -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
        let name = read("comm");
        let name = name.trim().trim_end_matches(|it: char| it.is_ascii_digit() || it == '-');
        *by_name.entry(name.to_owned()).or_default() += nanos * 1e-9;
    }
    by_name
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

    /// Milliseconds below which that share (0 to 1) of a histogram lies that was recorded since `before`;
    /// between two bounds by proportion, as Prometheus does it.
    pub(crate) fn quantile(&self, before: &Self, histogram: &str, share: f64) -> Option<f64> {
        let prefix = format!("{histogram}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter_map(|(name, count)| {
                let bound = name.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                Some((bound.parse().ok()?, count - before.get(name)))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let rank = buckets.last().map(|(_, all)| all * share).filter(|rank| *rank > 0.0)?;
        let at = buckets.partition_point(|(_, count)| *count < rank);
        let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
        let (upper, upto) = buckets[at];
        // Nothing is known about what lies above the last bound but that it does.
        let upper = if upper.is_finite() { upper } else { lower };
        Some((lower + (upper - lower) * (rank - below) / (upto - below)) * 1e3)
    }
}
