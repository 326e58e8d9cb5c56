//! What the SFU counted, copied out by each shard and summed for whoever asks.

use std::time::Duration;

use serde::Serialize;

use crate::capacity::Refused;
use crate::core::Counters;
use crate::core::overload::OverloadLevel;
use crate::egress::batch::FrameKind;

/// Upper bounds of the buckets of [`Histogram`], in microseconds.
pub const BUCKETS_MICROS: [u64; 17] = [
    100, 200, 300, 500, 1000, 1500, 2000, 3000, 5000, 8000, 12_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000,
];

/// How long something took, in fixed buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Per bucket of [`BUCKETS_MICROS`], not cumulative; the last one is everything above.
    pub buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// All of them.
    pub count: u64,
    /// Their sum.
    pub sum_micros: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, part)| *sum += part);
        self.count += other.count;
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// The upper bound of the bucket in which that share (0 to 1) of all lies; `None` above the last one.
    pub fn quantile_micros(&self, share: f64) -> Option<u64> {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MICROS) {
            seen += bucket;
            if seen >= rank {
                return Some(bound);
            }
        }
        None
    }
}

/// From the arrival of a frame's last byte at this node to the return of the system call that sent its last
/// packet to a viewer. Live frames only: a catch-up burst is late on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForwardLatency {
    /// Audio packets.
    #[serde(rename = "forward_latency_audio")]
    pub audio: Histogram,
    /// Pictures that are no keyframes.
    #[serde(rename = "forward_latency_video")]
    pub video: Histogram,
    /// Keyframes: to many viewers they take many slices, and audio goes between.
    #[serde(rename = "forward_latency_keyframe")]
    pub keyframe: Histogram,
}

impl ForwardLatency {
    pub(crate) fn record(&mut self, kind: FrameKind, took: Duration) {
        match kind {
            FrameKind::Audio => self.audio.record(took),
            FrameKind::Delta => self.video.record(took),
            FrameKind::Keyframe => self.keyframe.record(took),
        }
    }

    /// Frames measured so far, of all kinds.
    pub fn count(&self) -> u64 {
        self.audio.count + self.video.count + self.keyframe.count
    }

    fn add(&mut self, other: &Self) {
        self.audio.add(&other.audio);
        self.video.add(&other.video);
        self.keyframe.add(&other.keyframe);
    }
}

/// What the sockets of a shard did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SocketStats {
    /// System calls that received.
    pub receive_calls: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes received, without IP and UDP headers.
    pub bytes_received: u64,
    /// Received datagrams that were longer than any WebRTC datagram may be: dropped.
    pub oversized: u64,
    /// System calls that sent.
    pub send_calls: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes sent, without IP and UDP headers.
    pub bytes_sent: u64,
    /// Messages to the kernel: a datagram, or several by UDP_SEGMENT.
    pub messages_sent: u64,
    /// Messages that carried several datagrams by UDP_SEGMENT.
    pub gso_runs: u64,
    /// Destinations for which UDP_SEGMENT was turned off, because the kernel refused it.
    pub gso_refused: u64,
    /// Times that a socket took no more.
    pub would_block: u64,
    /// Datagrams dropped because a socket took nothing for 200 ms.
    pub dropped_late: u64,
    /// Datagrams that the kernel refused for another reason.
    pub send_errors: u64,
}

impl SocketStats {
    fn add(&mut self, other: &Self) {
        self.receive_calls += other.receive_calls;
        self.datagrams_received += other.datagrams_received;
        self.bytes_received += other.bytes_received;
        self.oversized += other.oversized;
        self.send_calls += other.send_calls;
        self.datagrams_sent += other.datagrams_sent;
        self.bytes_sent += other.bytes_sent;
        self.messages_sent += other.messages_sent;
        self.gso_runs += other.gso_runs;
        self.gso_refused += other.gso_refused;
        self.would_block += other.would_block;
        self.dropped_late += other.dropped_late;
        self.send_errors += other.send_errors;
    }
}

/// What TCP connections did (ICE-TCP). Prefixed, because all counters of this crate stand under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpStats {
    /// Gauge: open now.
    pub tcp_connections: u64,
    /// Accepted so far.
    pub tcp_accepted: u64,
    /// Closed at once: over a limit, of no Peer, or without the password.
    pub tcp_refused: u64,
    /// Closed because they said nothing in time.
    pub tcp_silent: u64,
    /// Closed because of a length that no frame can have.
    pub tcp_bad_frames: u64,
    /// Frames received.
    pub tcp_packets_received: u64,
    /// Packets sent, or waiting in a connection to be sent.
    pub tcp_packets_sent: u64,
    /// Packets dropped because their connection was full or gone.
    pub tcp_packets_dropped: u64,
}

impl TcpStats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.tcp_connections += other.tcp_connections;
        self.tcp_accepted += other.tcp_accepted;
        self.tcp_refused += other.tcp_refused;
        self.tcp_silent += other.tcp_silent;
        self.tcp_bad_frames += other.tcp_bad_frames;
        self.tcp_packets_received += other.tcp_packets_received;
        self.tcp_packets_sent += other.tcp_packets_sent;
        self.tcp_packets_dropped += other.tcp_packets_dropped;
    }
}

/// How a shard is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardStats {
    /// Gauge: percent of the last second that its loop worked.
    pub busy_percent: u32,
    /// Gauge: what it leaves out.
    pub overload: OverloadLevel,
    /// Gauge: viewers that get media from it.
    pub viewers: u64,
}

/// What the SFU counted since its start, over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Sockets.
    pub socket: SocketStats,
    /// TCP connections.
    pub tcp: TcpStats,
    /// What this node adds to the latency.
    pub forward_latency: ForwardLatency,
    /// Peers and media.
    pub core: Counters,
    /// Gauge: negotiated Peers that wait for their first STUN check.
    pub peers_waiting: u64,
    /// Negotiated Peers of which no STUN check came within 30 s.
    pub peers_never_connected: u64,
    /// Datagrams handed to the shard that has their Peer.
    pub datagrams_forwarded: u64,
    /// Datagrams for another shard, dropped because its queue was full.
    pub forward_queue_full: u64,
    /// Times that a shard read the bus too slowly and skipped to a keyframe.
    pub feeds_lagged: u64,
    /// Events that the holder of a handle did not take in time (never `Closed`).
    pub events_dropped: u64,
    /// Turns of the shard loops: what a wake-up is worth.
    pub loop_turns: u64,
    /// Times that a shard began to shed more.
    pub overload_steps: u64,
    /// Viewers that an overloaded shard left to another one.
    pub viewers_redirected: u64,
    /// Questions about Peers that a shard did not answer in time.
    pub questions_unanswered: u64,
    /// Gauge: what the node sends to viewers, in bits per second.
    pub egress_bps: u64,
    /// Peers refused, by the limit that was met.
    pub refused: Refused,
    /// Of this shard; not summed.
    #[serde(skip)]
    pub(crate) shard: ShardStats,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.socket.add(&other.socket);
        self.tcp.add(&other.tcp);
        self.forward_latency.add(&other.forward_latency);
        self.core.add(&other.core);
        self.peers_waiting += other.peers_waiting;
        self.peers_never_connected += other.peers_never_connected;
        self.datagrams_forwarded += other.datagrams_forwarded;
        self.forward_queue_full += other.forward_queue_full;
        self.feeds_lagged += other.feeds_lagged;
        self.events_dropped += other.events_dropped;
        self.loop_turns += other.loop_turns;
        self.overload_steps += other.overload_steps;
        self.viewers_redirected += other.viewers_redirected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for (micros, bucket) in [(0, 0), (100, 0), (101, 1), (999_999, 16), (1_000_000, 16), (1_000_001, 17)]
        {
            let before = histogram.buckets[bucket];
            histogram.record(Duration::from_micros(micros));
            assert_eq!(histogram.buckets[bucket], before + 1, "{micros}");
        }
        assert_eq!((histogram.count, histogram.sum_micros), (6, 3_000_201));
    }

    #[test]
    fn quantiles_are_bucket_bounds() {
        let mut histogram = Histogram::default();
        (0..99).for_each(|_| histogram.record(Duration::from_micros(150)));
        histogram.record(Duration::from_secs(5));
        assert_eq!(histogram.quantile_micros(0.5), Some(200));
        assert_eq!(histogram.quantile_micros(0.99), Some(200));
        assert_eq!(histogram.quantile_micros(1.0), None);
    }

    #[test]
    fn sums_add_up() {
        let mut one = Stats::default();
        one.socket.datagrams_sent = 3;
        one.forward_latency.record(FrameKind::Audio, Duration::from_millis(1));
        let mut sum = one;
        sum.add(&one);
        assert_eq!((sum.socket.datagrams_sent, sum.forward_latency.count()), (6, 2));
    }
}
