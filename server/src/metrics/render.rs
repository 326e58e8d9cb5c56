//! The text of `/metrics` from numbers and the table that names them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::table::{Kind, Row, rows};

/// Numbers by their path: section, structs and field, joined by dots.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    by_path: BTreeMap<String, Vec<Number>>,
}

#[derive(Debug)]
struct Number {
    /// Of those that there are several of: which one.
    instance: Option<usize>,
    value: Value,
}

impl Numbers {
    /// All fields of a struct of counters, those of nested structs too.
    pub(super) fn add(&mut self, section: &str, stats: &impl Serialize) {
        self.add_value(section, None, serde_json::to_value(stats).unwrap_or_default());
    }

    /// The same of one of several, for example a shard.
    pub(super) fn add_instance(&mut self, section: &str, instance: usize, stats: &impl Serialize) {
        self.add_value(section, Some(instance), serde_json::to_value(stats).unwrap_or_default());
    }

    fn add_value(&mut self, path: &str, instance: Option<usize>, value: Value) {
        match value {
            Value::Object(fields) if !fields.contains_key("buckets") => {
                for (field, value) in fields {
                    self.add_value(&format!("{path}.{field}"), instance, value);
                }
            }
            value => self.by_path.entry(path.to_owned()).or_default().push(Number { instance, value }),
        }
    }

    /// What the table says, in its order; then, as plain counters, what it does not know yet.
    pub(super) fn render(mut self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        let mut family = "";
        for row in rows() {
            let Some(numbers) = self.by_path.remove(row.path) else { continue };
            if family != row.metric {
                family = row.metric;
                let (help, kind) = (row.family.unwrap_or(row.help), row.kind.as_str());
                let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
            }
            numbers.iter().for_each(|number| write_number(&mut text, row, number));
        }
        for (path, numbers) in &self.by_path {
            let (section, field) = (section(path), path.rsplit('.').next().unwrap_or(path));
            let metric = format!("swiftwater_{section}_{field}_total");
            let _ = writeln!(text, "# TYPE {metric} counter");
            for Number { instance, value } in numbers {
                let labels = instance.map_or_else(String::new, |it| format!("{{{section}=\"{it}\"}}"));
                write_value(&mut text, &metric, &labels, value);
            }
        }
        text
    }

    #[cfg(test)]
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(String::as_str)
    }
}

fn write_number(text: &mut String, row: &Row, number: &Number) {
    let labels = match (row.label, number.instance) {
        (Some((name, value)), _) => format!("{{{name}=\"{value}\"}}"),
        // The section says of what there are several.
        (None, Some(instance)) => format!("{{{}=\"{instance}\"}}", section(row.path)),
        (None, None) => String::new(),
    };
    match &number.value {
        Value::Object(histogram) if row.kind == Kind::Histogram => {
            write_histogram(text, row.metric, histogram)
        }
        value => write_value(text, row.metric, &labels, value),
    }
}

fn write_value(text: &mut String, metric: &str, labels: &str, value: &Value) {
    if let Value::Number(value) = value {
        let _ = writeln!(text, "{metric}{labels} {}", value.as_f64().unwrap_or(0.0));
    }
}

/// The first part of a path.
fn section(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// Buckets are counts below the bounds of `sfu::stats`, the last one without a bound.
fn write_histogram(text: &mut String, metric: &str, histogram: &Map<String, Value>) {
    let number = |key: &str| histogram.get(key).and_then(Value::as_f64).unwrap_or(0.0);
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
mod tests;
