//! What one step of the audience cost.

use std::collections::BTreeMap;

use serde_json::json;
use tests::spectator::Tally;

use crate::figures::{joined, number};
use crate::watch::Snapshot;

/// Latency of frames: name and metric.
const LATENCIES: [(&str, &str); 3] = [
    ("audio", "swiftwater_sfu_forward_latency_audio_seconds"),
    ("video", "swiftwater_sfu_forward_latency_video_seconds"),
    ("keyframe", "swiftwater_sfu_forward_latency_keyframe_seconds"),
];

/// Shares of what is distributed.
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The head of a table of [`Step::row`]s.
pub(crate) const HEADER: &str = "\
| load | viewers | delivered/s | Mbit/s | lost, after repair | CPU µs/packet (user + system) | packets/call | \
packets/message | allocations/packet | join p50/p95/p99 ms | audio p50/p95/p99 ms | video p50/p95/p99 ms | \
keyframe p50/p95/p99 ms | RSS KiB/viewer | client CPU % |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// One step, measured.
pub(crate) struct Step {
    viewers: u64,
    seconds: f64,
    /// Media packets that came to viewers.
    packets: f64,
    megabits: f64,
    user: f64,
    system: f64,
    client: f64,
    threads: BTreeMap<String, f64>,
    /// Growth of the server's counters.
    sent: f64,
    send_calls: f64,
    messages: f64,
    system_calls: f64,
    resent: f64,
    feedback: f64,
    allocations: f64,
    connected_gcm: f64,
    connected_cm: f64,
    missing: i64,
    dropped: u64,
    sender_reports: u64,
    full_received: u64,
    full_decrypted: u64,
    full_repeated: u64,
    full_missing: i64,
    joins: Vec<f64>,
    /// Milliseconds.
    latencies: BTreeMap<&'static str, [f64; 3]>,
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
            QUANTILES.map(|it| after.counters.quantile(&before.counters, metric, it).unwrap_or(f64::NAN))
        };
        Self {
            viewers: tally.connected(),
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            packets: (after.packets - before.packets).max(1) as f64,
            megabits: (after.bytes - before.bytes) as f64 * 8e-6,
            user: after.cpu.user - before.cpu.user,
            system: after.cpu.system - before.cpu.system,
            client: after.client.total() - before.client.total(),
            threads: threads.collect(),
            sent: sfu("datagrams_sent"),
            send_calls: sfu("send_calls"),
            messages: sfu("messages_sent"),
            system_calls: sfu("send_calls") + sfu("receive_calls") + sfu("loop_turns"),
            resent: sfu("packets_resent"),
            feedback: sfu("datagrams_received"),
            allocations: grown("swiftwater_allocations_total"),
            connected_gcm: after.counters.get("swiftwater_sfu_connected_gcm_total"),
            connected_cm: after.counters.get("swiftwater_sfu_connected_cm_sha1_total"),
            missing: after.missing - before.missing,
            dropped: after.dropped - before.dropped,
            sender_reports: after.sender_reports - before.sender_reports,
            full_received: tally.full_received(),
            full_decrypted: tally.full_decrypted(),
            full_repeated: tally.full_repeated(),
            full_missing: tally.full_missing(),
            joins: tally.take_joins(),
            latencies: LATENCIES.iter().map(|(name, metric)| (*name, latency(metric))).collect(),
            rss_kib_per_viewer: (after.cpu.rss_kib - empty_rss) / tally.connected().max(1) as f64,
        }
    }

    /// Whether those who decrypt could decrypt everything and miss nothing.
    pub(crate) fn is_whole(&self) -> bool {
        let nobody = self.full_received == 0 && self.full_decrypted == 0;
        nobody || self.full_missing == 0 && self.full_decrypted >= self.full_received
    }

    fn per_packet(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.packets
    }

    /// Milliseconds below which those shares of the joins took.
    fn joins(&self) -> [f64; 3] {
        QUANTILES.map(|share| {
            let at = ((self.joins.len() as f64 * share) as usize).min(self.joins.len().saturating_sub(1));
            self.joins.get(at).copied().unwrap_or(f64::NAN)
        })
    }

    /// Percent of what was sent to full viewers that they never got.
    fn lost_after_repair(&self) -> f64 {
        self.full_missing as f64 * 100.0 / (self.full_decrypted as f64 + self.full_missing as f64).max(1.0)
    }

    /// A row under [`HEADER`].
    pub(crate) fn row(&self, label: &str) -> String {
        let all = self.packets + self.dropped as f64;
        let mut row = format!(
            "| {label} | {} | {:.0} | {:.1} | {} of {all:.0}, {:.3} % | {:.2} ({:.2} + {:.2}) | {} | {} | {} | {} |",
            self.viewers,
            self.packets / self.seconds,
            self.megabits / self.seconds,
            self.missing,
            self.lost_after_repair(),
            self.per_packet(self.user + self.system),
            self.per_packet(self.user),
            self.per_packet(self.system),
            number(self.sent / self.send_calls, 1),
            number(self.sent / self.messages, 1),
            number(self.allocations / self.packets, 4),
            joined(&self.joins(), 0),
        );
        for quantiles in LATENCIES.iter().filter_map(|(name, _)| self.latencies.get(name)) {
            row += &format!(" {} |", joined(quantiles, 2));
        }
        row + &format!(" {:.0} | {:.0} |", self.rss_kib_per_viewer, self.client / self.seconds * 100.0)
    }

    /// Everything, for scripts. `group`: of loads that are to be compared.
    pub(crate) fn json(&self, label: &str, group: Option<&str>) -> serde_json::Value {
        let threads: BTreeMap<&str, f64> =
            self.threads.iter().map(|(name, seconds)| (name.as_str(), self.per_packet(*seconds))).collect();
        json!({
            "kind": "load",
            "label": label,
            "group": group,
            "viewers": self.viewers,
            "seconds": self.seconds,
            "packets_per_second": self.packets / self.seconds,
            "mbit_per_second": self.megabits / self.seconds,
            "cpu_us_per_packet": self.per_packet(self.user + self.system),
            "user_us_per_packet": self.per_packet(self.user),
            "system_us_per_packet": self.per_packet(self.system),
            "cpu_us_per_packet_by_thread": threads,
            "datagrams_per_send_call": self.sent / self.send_calls,
            "datagrams_per_message": self.sent / self.messages,
            "system_calls_per_datagram": self.system_calls / self.sent,
            "resent": self.resent,
            "datagrams_received_per_second": self.feedback / self.seconds,
            "allocations_per_packet": self.allocations / self.packets,
            "allocations_per_second": self.allocations / self.seconds,
            "connected_gcm": self.connected_gcm,
            "connected_cm_sha1": self.connected_cm,
            "sender_reports_per_viewer_and_second":
                self.sender_reports as f64 / self.seconds / self.viewers as f64,
            "missing_by_header": self.missing,
            "dropped_on_purpose": self.dropped,
            "full_received": self.full_received,
            "full_decrypted": self.full_decrypted,
            "full_repeated": self.full_repeated,
            "full_missing": self.full_missing,
            "lost_after_repair_percent": self.lost_after_repair(),
            "join_ms": self.joins(),
            "latency_ms": self.latencies,
            "rss_kib_per_viewer": self.rss_kib_per_viewer,
            "client_cpu_percent": self.client / self.seconds * 100.0,
        })
    }
}
