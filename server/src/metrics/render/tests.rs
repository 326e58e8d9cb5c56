use super::*;

#[derive(Serialize)]
struct Stats {
    core: Core,
    socket: Socket,
    forward_latency: Latency,
    brand_new: u64,
}

#[derive(Serialize)]
struct Core {
    viewers: u64,
    packets_in: u64,
    stale_packets: u64,
    late_dropped: u64,
}

#[derive(Serialize)]
struct Socket {
    oversized: u64,
}

#[derive(Serialize)]
struct Latency {
    forward_latency_audio: sfu::stats::Histogram,
}

fn text() -> String {
    let mut audio = sfu::stats::Histogram::default();
    (audio.buckets[0], audio.buckets[1], audio.count, audio.sum_micros) = (2, 3, 6, 500_000);
    let mut numbers = Numbers::default();
    numbers.add(
        "sfu",
        &Stats {
            core: Core { viewers: 3, packets_in: 9, stale_packets: 5, late_dropped: 6 },
            socket: Socket { oversized: 7 },
            forward_latency: Latency { forward_latency_audio: audio },
            brand_new: 1,
        },
    );
    for shard in 0..2 {
        numbers.add_instance("shard", shard, &serde_json::json!({ "busy": 0.25 }));
    }
    numbers.render()
}

#[test]
fn counters_gauges_families_and_histograms_are_told_apart() {
    let text = text();
    for line in [
        "# TYPE swiftwater_sfu_viewers gauge",
        "swiftwater_sfu_viewers 3",
        "# HELP swiftwater_sfu_packets_in_total Packets that shards took from the bus.",
        "swiftwater_sfu_packets_in_total 9",
        "swiftwater_sfu_packets_dropped_total{reason=\"stale\"} 5",
        "swiftwater_sfu_packets_dropped_total{reason=\"late\"} 6",
        "swiftwater_sfu_packets_dropped_total{reason=\"oversized\"} 7",
        "swiftwater_sfu_shard_busy_ratio{shard=\"1\"} 0.25",
        "# TYPE swiftwater_sfu_forward_latency_audio_seconds histogram",
        "swiftwater_sfu_forward_latency_audio_seconds_bucket{le=\"0.0002\"} 5",
        "swiftwater_sfu_forward_latency_audio_seconds_bucket{le=\"+Inf\"} 6",
        "swiftwater_sfu_forward_latency_audio_seconds_sum 0.5",
    ] {
        assert_eq!(text.lines().filter(|it| *it == line).count(), 1, "{line} in {text}");
    }
    let families = text.matches("# TYPE swiftwater_sfu_packets_dropped_total").count();
    assert_eq!(families, 1, "a family has one head");
}

#[test]
fn a_counter_without_a_row_is_shown_all_the_same() {
    assert!(
        text().contains("# TYPE swiftwater_sfu_brand_new_total counter\nswiftwater_sfu_brand_new_total 1\n")
    );
}

#[test]
fn every_counter_has_a_row() {
    let mut numbers = Numbers::default();
    numbers.add("sfu", &sfu::Stats::default());
    numbers.add("transcode", &transcode::Stats::default());
    numbers.add("rtmp", &ingest::rtmp::Stats::default().snapshot());
    numbers.add("hls", &hls_packager::Stats::default());
    numbers.add("recording", &hls_packager::RecordingStats::default());
    let missing: Vec<&str> = numbers.paths().filter(|path| !rows().any(|row| row.path == *path)).collect();
    assert!(missing.is_empty(), "without a row in metrics/table.rs: {missing:?}");
}
