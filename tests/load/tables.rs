//! Figures that `--json` wrote, as the tables of docs/performance.md.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::Value;

use crate::figures::{joined, number};

/// Prints the tables of these files.
pub(crate) fn print(files: impl Iterator<Item = String>) {
    let text: String = files.map(|file| std::fs::read_to_string(&file).expect("a file of figures")).collect();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a figure")).collect();
    let _ = write!(std::io::stdout(), "{}", render(&rows));
}

fn render(rows: &[Value]) -> String {
    let of = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).collect::<Vec<_>>();
    let (loads, floors) = (middles(of("load")), middles(of("floor")));
    let mut out = String::new();
    if !loads.is_empty() {
        out += &costs(&loads, &floors);
        out += &latencies(&loads);
        out += &groups(&loads, &floors);
    }
    let soaks = of("soak");
    if !soaks.is_empty() {
        out += "| soak | seconds | median | growth | per hour | verdict |\n|---|---|---|---|---|---|\n";
    }
    for row in soaks {
        let verdict = if row["flat"] == true { "flat" } else { "grows" };
        out += &format!(
            "| {} | {} | {} | {} | {} | {verdict} |\n",
            text(row, "label"),
            figure(row, "seconds", 0),
            figure(row, "median", 0),
            figure(row, "growth", 1),
            figure(row, "per_hour", 1)
        );
    }
    out
}

/// Of each load that was run several times the run in the middle, by what it cost; in the order in which they were run first.
fn middles(rows: Vec<&Value>) -> Vec<&Value> {
    let mut runs: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    let key = |row: &Value| format!("{} {}", row["label"], row["viewers"]);
    rows.iter().for_each(|row| runs.entry(key(row)).or_default().push(row));
    let mut middles = Vec::new();
    for row in rows {
        if let Some(mut runs) = runs.remove(&key(row)) {
            runs.sort_by(|a, b| shards(a).total_cmp(&shards(b)));
            middles.push(runs[(runs.len() - 1) / 2]);
        }
    }
    middles
}

/// What packets and viewers cost.
fn costs(loads: &[&Value], floors: &[&Value]) -> String {
    let mut out = "\
| load | viewers | delivered/s | Mbit/s | lost | after repair % | CPU µs/packet (user + system) | shards only | floor | \
times the floor | packets/call | packets/message | allocations/packet | RSS KiB/viewer | client CPU % |\n"
        .to_owned()
        + "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for row in loads {
        let floor = floor_of(row, floors);
        let times = shards(row) / floor.unwrap_or(f64::NAN);
        out += &format!(
            "| {} | {} | {} | {} | {} | {} | {} ({} + {}) | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            text(row, "label"),
            figure(row, "viewers", 0),
            figure(row, "packets_per_second", 0),
            figure(row, "mbit_per_second", 0),
            figure(row, "missing_by_header", 0),
            figure(row, "lost_after_repair_percent", 3),
            figure(row, "cpu_us_per_packet", 2),
            figure(row, "user_us_per_packet", 2),
            figure(row, "system_us_per_packet", 2),
            number(shards(row), 2),
            number(floor.unwrap_or(f64::NAN), 2),
            number(times, 2),
            figure(row, "datagrams_per_send_call", 1),
            figure(row, "datagrams_per_message", 1),
            figure(row, "allocations_per_packet", 4),
            figure(row, "rss_kib_per_viewer", 0),
            figure(row, "client_cpu_percent", 0),
        );
    }
    out + "\n"
}

/// How long viewers and frames wait.
fn latencies(loads: &[&Value]) -> String {
    let mut out = "\
| load | viewers | join p50 / p95 / p99 ms | audio p50 / p95 / p99 ms | video p50 / p95 / p99 ms | keyframe p50 / p95 / p99 ms |\n"
        .to_owned()
        + "|---|---|---|---|---|---|\n";
    for row in loads {
        let latency = |kind: &str| joined(&numbers(&row["latency_ms"][kind]), 2);
        out += &format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            text(row, "label"),
            figure(row, "viewers", 0),
            joined(&numbers(&row["join_ms"]), 0),
            latency("audio"),
            latency("video"),
            latency("keyframe"),
        );
    }
    out + "\n"
}

/// How far the loads of a group are apart: those that differ in nothing that should matter.
fn groups(loads: &[&Value], floors: &[&Value]) -> String {
    let names: BTreeSet<&str> = loads.iter().filter_map(|row| row["group"].as_str()).collect();
    let mut out = String::new();
    for name in names {
        let of: Vec<&Value> = loads.iter().copied().filter(|row| row["group"] == name).collect();
        let costs = of.iter().map(|row| row["cpu_us_per_packet"].as_f64().unwrap_or(f64::NAN));
        let alone = of.iter().map(|row| shards(row));
        let times = of.iter().map(|row| shards(row) / floor_of(row, floors).unwrap_or(f64::NAN));
        let parts = [
            ("CPU µs/packet", range(costs)),
            ("shards only, µs/packet", range(alone)),
            ("shards, times the floor", range(times)),
        ];
        for (what, range) in parts.into_iter().filter_map(|(what, range)| Some((what, range?))) {
            let (low, high) = range;
            let apart = (high / low - 1.0) * 100.0;
            out += &format!("- {name}: {what} {low:.2} to {high:.2} (the higher is {apart:.0} % more)\n");
        }
    }
    if out.is_empty() { out } else { out + "\n" }
}

/// Least and greatest of several.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    (values.len() > 1).then_some((low, high))
}

/// CPU of the shards per packet; of the whole process where there are none.
fn shards(row: &Value) -> f64 {
    let of_shards = row["cpu_us_per_packet_by_thread"]["sfu"].as_f64();
    of_shards.or_else(|| row["cpu_us_per_packet"].as_f64()).unwrap_or(f64::NAN)
}

/// CPU per packet of the floor that was measured under the same label.
fn floor_of(row: &Value, floors: &[&Value]) -> Option<f64> {
    let same = |floor: &&&Value| floor["label"] == row["label"] && floor["viewers"] == row["viewers"];
    floors.iter().find(same)?["cpu_us_per_packet"].as_f64()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("–")
}

fn figure(row: &Value, name: &str, digits: usize) -> String {
    number(row[name].as_f64().unwrap_or(f64::NAN), digits)
}

fn numbers(row: &Value) -> Vec<f64> {
    row.as_array().into_iter().flatten().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn loads_stand_beside_their_floors() {
        let load = |label: &str, shards: f64| {
            json!({"kind": "load", "group": "equal", "label": label, "viewers": 300, "cpu_us_per_packet": shards + 0.2,
                "cpu_us_per_packet_by_thread": {"sfu": shards}, "latency_ms": {"audio": [1.0, 2.0, null]}})
        };
        let floor = |label: &str, cost: f64| json!({"kind": "floor", "label": label, "viewers": 300, "cpu_us_per_packet": cost});
        let rows =
            [load("one", 3.0), floor("one", 2.0), load("two", 4.5), floor("two", 2.5), load("three", 8.6)];
        let text = render(&rows);
        for part in [
            "| 3.20 (– + –) | 3.00 | 2.00 | 1.50 |",
            "| 4.50 | 2.50 | 1.80 |",
            "| 8.80 (– + –) | 8.60 | – | – |",
            "| 1.00 / 2.00 / – |",
            "- equal: CPU µs/packet 3.20 to 8.80 (the higher is 175 % more)",
            "- equal: shards only, µs/packet 3.00 to 8.60 (the higher is 187 % more)",
            "- equal: shards, times the floor 1.50 to 1.80 (the higher is 20 % more)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    #[test]
    fn of_several_runs_the_one_in_the_middle_is_shown() {
        let load = |label: &str, cost: f64| json!({"kind": "load", "label": label, "viewers": 300, "cpu_us_per_packet": cost});
        let text = render(&[
            load("two", 5.0),
            load("one", 1.5),
            load("two", 3.0),
            load("two", 4.0),
            load("one", 1.25),
        ]);
        let shown: Vec<&str> = text.lines().filter(|line| line.contains("300 | – | – |")).collect();
        assert!(shown[0].contains("| two |") && shown[0].contains("| 4.00 |"), "{text}");
        assert!(shown[1].contains("| one |") && shown[1].contains("| 1.25 |"), "{text}");
        assert_eq!(shown.len(), 2, "{text}");
    }
}
