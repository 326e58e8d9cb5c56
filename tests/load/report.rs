//! What one step of the audience cost.

use std::collections::BTreeMap;

use serde_json::json;
use tests::spectator::Tally;

use crate::Snapshot;

/// Latency of frames: name and metric.
const LATENCIES: [(&str, &str); 3] = [
    ("audio", "swiftwater_sfu_forward_latency_audio_seconds"),
    ("video", "swiftwater_sfu_forward_latency_video_seconds"),
    ("keyframe", "swiftwater_sfu_forward_latency_keyframe_seconds"),
];

/// One step, measured.
pub(crate) struct Step {
    viewers: u64,
    seconds: f64,
    /// Media packets that came to viewers.
    packets: f64,
    megabits: f64,
    user: f64,
    system: f64,
    threads: BTreeMap<String, f64>,
    /// Growth of the server's counters.
    sent: f64,
    send_calls: f64,
    gso_runs: f64,
    system_calls: f64,
    resent: f64,
    feedback: f64,
    allocations: f64,
    connected_gcm: f64,
    connected_cm: f64,
    missing: i64,
    sender_reports: u64,
    full_received: u64,
    full_decrypted: u64,
    full_missing: i64,
    joins: Vec<f64>,
    /// Milliseconds, p50 and p99.
    latencies: BTreeMap<&'static str, [f64; 2]>,
    rss_kib_per_viewer: f64,
}

impl Step {
    /// `empty_rss`: what the server took before the first viewer.
    pub(crate) fn new(before: &Snapshot, after: &Snapshot, tally: &Tally, empty_rss: f64) -> Self {
        let grown = |name: &str| after.counters.get(name) - before.counters.get(name);
        let sfu = |name: &str| grown(&format!("swiftwater_sfu_{name}_total"));
        let threads = after.cpu.threads.iter().map(|(name, seconds)| {
            (name.clone(), seconds - before.cpu.threads.get(name).copied().unwrap_or(0.0))
        });
        let latency = |metric: &str| {
            [0.5, 0.99].map(|it| after.counters.quantile(&before.counters, metric, it).unwrap_or(f64::NAN))
        };
        Self {
            viewers: tally.connected(),
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            packets: (after.packets - before.packets).max(1) as f64,
            megabits: (after.bytes - before.bytes) as f64 * 8e-6,
            user: after.cpu.user - before.cpu.user,
            system: after.cpu.system - before.cpu.system,
            threads: threads.collect(),
            sent: sfu("datagrams_sent").max(1.0),
            send_calls: sfu("send_calls").max(1.0),
            gso_runs: sfu("gso_runs"),
            system_calls: sfu("send_calls") + sfu("receive_calls") + sfu("loop_turns"),
            resent: sfu("packets_resent"),
            feedback: sfu("datagrams_received"),
            allocations: grown("swiftwater_allocations_total"),
            connected_gcm: after.counters.get("swiftwater_sfu_connected_gcm_total"),
            connected_cm: after.counters.get("swiftwater_sfu_connected_cm_sha1_total"),
            missing: after.missing - before.missing,
            sender_reports: after.sender_reports - before.sender_reports,
            full_received: tally.full_received(),
            full_decrypted: tally.full_decrypted(),
            full_missing: tally.full_missing(),
            joins: tally.take_joins(),
            latencies: LATENCIES.iter().map(|(name, metric)| (*name, latency(metric))).collect(),
            rss_kib_per_viewer: (after.cpu.rss_kib - empty_rss) / tally.connected().max(1) as f64,
        }
    }

    /// Whether those who decrypt could decrypt everything and miss nothing.
    pub(crate) fn is_whole(&self) -> bool {
        self.full_missing == 0 && self.full_received == self.full_decrypted && self.full_received > 0
    }

    fn per_packet(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.packets
    }

    fn allocations_per_second(&self) -> f64 {
        self.allocations / self.seconds
    }

    fn packets_per_second(&self) -> f64 {
        self.packets / self.seconds
    }

    /// Milliseconds below which that share of the joins took.
    fn join(&self, share: f64) -> f64 {
        let at = ((self.joins.len() as f64 * share) as usize).min(self.joins.len().saturating_sub(1));
        self.joins.get(at).copied().unwrap_or(f64::NAN)
    }

    /// What a packet more costs, between two steps.
    fn slope(&self, first: &Self, of: impl Fn(&Self) -> f64) -> f64 {
        (of(self) - of(first)) / (self.packets_per_second() - first.packets_per_second())
    }

    /// A row of the table of `tests/load/run`.
    pub(crate) fn row(&self, label: &str, first: Option<&Self>) -> String {
        let (cpu, user, system) = (self.user + self.system, self.user, self.system);
        let mut row = format!(
            "| {label} | {} | {:.0} | {:.2} ({:.2} + {:.2}) | {:.3} | {:.1} | {:.4} |",
            self.viewers,
            self.packets_per_second(),
            self.per_packet(cpu),
            self.per_packet(user),
            self.per_packet(system),
            self.system_calls / self.sent,
            self.sent / self.send_calls,
            self.allocations / self.packets,
        );
        match first {
            Some(first) => {
                let cpu = self.slope(first, |step| (step.user + step.system) / step.seconds * 1e6);
                row += &format!(" {cpu:.2} | {:.4} |", self.slope(first, Self::allocations_per_second));
            }
            None => row += " | |",
        }
        row += &format!(" {:.0} / {:.0} |", self.join(0.5), self.join(0.95));
        for [median, worst] in LATENCIES.iter().filter_map(|(name, _)| self.latencies.get(name)) {
            row += &format!(" {median:.2} / {worst:.2} |");
        }
        row + &format!(
            " {:.0} | {} of {} | {} |",
            self.rss_kib_per_viewer, self.full_decrypted, self.full_received, self.missing
        )
    }

    /// Everything, for scripts.
    pub(crate) fn json(&self, label: &str) -> serde_json::Value {
        let threads: BTreeMap<&str, f64> =
            self.threads.iter().map(|(name, seconds)| (name.as_str(), self.per_packet(*seconds))).collect();
        json!({
            "label": label,
            "viewers": self.viewers,
            "seconds": self.seconds,
            "packets_per_second": self.packets_per_second(),
            "mbit_per_second": self.megabits / self.seconds,
            "cpu_us_per_packet": self.per_packet(self.user + self.system),
            "user_us_per_packet": self.per_packet(self.user),
            "system_us_per_packet": self.per_packet(self.system),
            "cpu_us_per_packet_by_thread": threads,
            "datagrams_per_send_call": self.sent / self.send_calls,
            "datagrams_per_gso_run": self.sent / self.gso_runs.max(1.0),
            "send_calls_per_datagram": self.send_calls / self.sent,
            "system_calls_per_datagram": self.system_calls / self.sent,
            "resent": self.resent,
            "datagrams_received_per_second": self.feedback / self.seconds,
            "allocations_per_packet": self.allocations / self.packets,
            "allocations_per_second": self.allocations_per_second(),
            "connected_gcm": self.connected_gcm,
            "connected_cm_sha1": self.connected_cm,
            "sender_reports_per_viewer_and_second": self.sender_reports as f64 / self.seconds / self.viewers as f64,
            "missing_by_header": self.missing,
            "full_received": self.full_received,
            "full_decrypted": self.full_decrypted,
            "full_missing": self.full_missing,
            "join_ms_p50_p95_p99": [self.join(0.5), self.join(0.95), self.join(0.99)],
            "latency_ms_p50_p99": self.latencies,
            "rss_kib_per_viewer": self.rss_kib_per_viewer,
        })
    }
}
