//! A strict reader of Prometheus text, exposition format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its labels as they stand in the text, and its value.
pub type Sample = (String, f64);

/// A metric with its samples.
#[derive(Debug, Default)]
pub struct Family {
    /// From `# TYPE`.
    pub kind: String,
    /// From `# HELP`.
    pub help: Option<String>,
    /// Samples by name: a histogram has three.
    pub samples: BTreeMap<String, Vec<Sample>>,
}

/// Reads a page.
///
/// # Panics
/// With the line, if it breaks a rule of the format: a sample outside of its family, a family with two heads, a sample
/// twice, a bad name, label or value, a histogram whose buckets do not add up.
pub fn read(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let (mut current, mut help) = (String::new(), None);
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect(line);
            help = Some((name.to_owned(), text.to_owned()));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind) && is_name(name), "{line}");
            let text = help.take().map(|(of, text)| {
                assert_eq!(of, name, "{line}");
                text
            });
            let family = Family { kind: kind.to_owned(), help: text, ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "a second head: {line}");
            name.clone_into(&mut current);
        } else {
            let (selector, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = match selector.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
                None => (selector, ""),
            };
            assert!(is_name(name) && labels_are_fine(labels), "{line}");
            assert!(seen.insert(selector.to_owned()), "twice: {line}");
            let family = families.get_mut(&current).expect(line);
            let ending = name.strip_prefix(current.as_str()).expect(line);
            let fits = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&ending),
                _ => ending.is_empty(),
            };
            assert!(fits, "outside of its family {current}: {line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            family.samples.entry(name.to_owned()).or_default().push((labels.to_owned(), value));
        }
    }
    families.iter().filter(|(_, it)| it.kind == "histogram").for_each(|(name, it)| buckets_add_up(name, it));
    families
}

fn is_name(name: &str) -> bool {
    let fits = |at: usize, c: char| c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit());
    !name.is_empty() && name.chars().enumerate().all(|(at, c)| fits(at, c))
}

/// Without commas or quotes in values, which ours never have.
fn labels_are_fine(labels: &str) -> bool {
    labels.is_empty()
        || labels.split(',').all(|label| {
            label.split_once('=').is_some_and(|(name, value)| {
                let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                is_name(name) && inner.is_some_and(|inner| !inner.contains('"'))
            })
        })
}

fn buckets_add_up(name: &str, family: &Family) {
    let buckets = &family.samples[&format!("{name}_bucket")];
    assert!(buckets.is_sorted_by_key(|(_, count)| *count as u64), "{name}: buckets grow");
    let (last, count) = (buckets.last().expect(name), family.samples[&format!("{name}_count")][0].1);
    assert_eq!((last.0.as_str(), last.1), ("le=\"+Inf\"", count), "{name}");
}
