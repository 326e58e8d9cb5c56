//! `/metrics`: Prometheus text (exposition format 0.0.4) from the counters that each crate keeps.

use std::fmt::Write;
use std::sync::Arc;

use hls_packager::Packager;
use media::{Hub, StreamState};
use serde::Serialize;
use serde_json::{Map, Value};
use sfu::Sfu;
use transcode::Transcoder;

/// Where the numbers come from. No label has a value that a viewer or a streamer can choose.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) hub: Arc<Hub>,
    pub(crate) sfu: Sfu,
    pub(crate) packager: Arc<Packager>,
    pub(crate) transcoder: Arc<Transcoder>,
    pub(crate) rtmp: Arc<ingest::rtmp::Stats>,
    pub(crate) gateway: Arc<signaling::Gateway>,
    pub(crate) whip: Arc<ingest::whip::Whip>,
    pub(crate) whep: Arc<signaling::whep::Whep>,
}

impl Metrics {
    /// The whole text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        let streams = self.hub.streams();
        let live = streams.iter().filter(|stream| stream.state() == StreamState::Live).count();
        gauge(&mut text, "swiftwater_streams", streams.len() as f64);
        gauge(&mut text, "swiftwater_streams_live", live as f64);
        #[cfg(feature = "count-allocations")]
        let _ = writeln!(text, "swiftwater_allocations_total {}", crate::allocations::count());
        section(&mut text, "sfu", &self.sfu.stats());
        section(&mut text, "hls", &self.packager.stats());
        section(&mut text, "transcode", &self.transcoder.stats());
        section(&mut text, "rtmp", &self.rtmp.snapshot());
        section(&mut text, "gateway", &self.gateway.stats());
        section(&mut text, "whip", &self.whip.stats());
        section(&mut text, "whep", &self.whep.stats());
        text
    }
}

/// Renders a struct of counters: its field names are the metrics' names, those of nested structs too.
/// A field with `buckets` becomes a histogram.
fn section(text: &mut String, name: &str, stats: &impl Serialize) {
    if let Ok(Value::Object(fields)) = serde_json::to_value(stats) {
        render_fields(text, name, &fields);
    }
}

fn render_fields(text: &mut String, name: &str, fields: &Map<String, Value>) {
    for (field, value) in fields {
        let metric = format!("swiftwater_{name}_{field}");
        match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(0.0);
                if GAUGES.contains(&field.as_str()) {
                    gauge(text, &metric, number);
                } else {
                    let _ = writeln!(text, "# TYPE {metric}_total counter\n{metric}_total {number}");
                }
            }
            Value::Object(histogram) if histogram.contains_key("buckets") => {
                render_histogram(text, &format!("{metric}_seconds"), histogram);
            }
            Value::Object(nested) => render_fields(text, name, nested),
            _ => {}
        }
    }
}

/// Fields that go up and down.
const GAUGES: [&str; 10] = [
    "viewers",
    "publishers",
    "peers",
    "waiting",
    "connections",
    "rooms",
    "jobs",
    "streams",
    "sessions",
    "bytes_held",
];

fn gauge(text: &mut String, metric: &str, value: f64) {
    let _ = writeln!(text, "# TYPE {metric} gauge\n{metric} {value}");
}

/// Buckets are counts below the bounds of `sfu::stats`, the last one without a bound.
fn render_histogram(text: &mut String, metric: &str, histogram: &Map<String, Value>) {
    let number = |key: &str| histogram.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let _ = writeln!(text, "# TYPE {metric} histogram");
    let counts = histogram.get("buckets").and_then(Value::as_array).into_iter().flatten();
    let mut seen = 0.0;
    for (bound, count) in sfu::stats::BUCKETS_MICROS.iter().zip(counts) {
        seen += count.as_f64().unwrap_or(0.0);
        let _ = writeln!(text, "{metric}_bucket{{le=\"{}\"}} {seen}", *bound as f64 / 1e6);
    }
    let _ = writeln!(text, "{metric}_bucket{{le=\"+Inf\"}} {}", number("count"));
    let _ = writeln!(text, "{metric}_sum {}\n{metric}_count {}", number("sum_micros") / 1e6, number("count"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_and_histograms_are_told_apart() {
        #[derive(Serialize)]
        struct Stats {
            viewers: u64,
            socket: Socket,
            delay: sfu::stats::Histogram,
        }
        #[derive(Serialize)]
        struct Socket {
            packets: u64,
        }
        let mut delay = sfu::stats::Histogram::default();
        (delay.buckets[0], delay.buckets[1], delay.count, delay.sum_micros) = (2, 3, 6, 500_000);
        let mut text = String::new();
        section(&mut text, "sfu", &Stats { viewers: 3, socket: Socket { packets: 9 }, delay });
        for line in [
            "# TYPE swiftwater_sfu_viewers gauge",
            "swiftwater_sfu_packets_total 9",
            "swiftwater_sfu_delay_seconds_bucket{le=\"0.0002\"} 5",
            "swiftwater_sfu_delay_seconds_bucket{le=\"+Inf\"} 6",
            "swiftwater_sfu_delay_seconds_sum 0.5",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }
}
