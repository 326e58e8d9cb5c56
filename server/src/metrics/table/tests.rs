use std::collections::BTreeSet;

use super::*;

/// The manual: one line of a table per row.
const MANUAL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));

#[test]
fn names_follow_the_rules_and_stand_once() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        let ending = match row.kind {
            Kind::Counter => row.metric.ends_with("_total"),
            Kind::Histogram => row.metric.ends_with("_seconds"),
            Kind::Gauge => !row.metric.ends_with("_total"),
        };
        assert!(ending && row.metric.starts_with("swiftwater_"), "{}", row.metric);
        assert!(row.help.ends_with('.'), "{}: a sentence", row.metric);
        assert_eq!(row.label.is_some(), row.family.is_some(), "{}", row.metric);
        assert!(seen.insert(row.selector()), "{} stands twice", row.selector());
    }
}

#[test]
fn a_family_stands_together() {
    let mut families: Vec<&str> = rows().map(|row| row.metric).collect();
    families.dedup();
    let mut sorted = families.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(families.len(), sorted.len());
}

#[test]
fn the_manual_says_what_the_table_says() {
    let rows: BTreeSet<String> = rows()
        .filter(|row| row.metric != "swiftwater_allocations_total")
        .map(|row| format!("| `{}` | {} | {}", row.selector(), row.kind.as_str(), row.help))
        .collect();
    let manual: BTreeSet<String> = MANUAL
        .lines()
        .filter(|line| line.starts_with("| `swiftwater_"))
        .map(|line| line.rsplitn(2, " | ").last().unwrap_or(line).to_owned())
        .collect();
    let missing: Vec<&String> = rows.difference(&manual).collect();
    let unknown: Vec<&String> = manual.difference(&rows).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/metrics.md misses {missing:#?}; and has {unknown:#?}"
    );
}
