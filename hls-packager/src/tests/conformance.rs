//! The conformance list itself: every id has a test of its name, or a written reason in `docs/hls.md`.

use std::collections::BTreeSet;
use std::path::Path;

/// Letters of the list and how many ids each has.
const LIST: [(char, usize); 5] = [('p', 8), ('m', 20), ('l', 21), ('d', 15), ('v', 14)];

fn all() -> BTreeSet<String> {
    LIST.iter().flat_map(|(letter, count)| (1..=*count).map(move |n| format!("{letter}{n:02}"))).collect()
}

/// The ids in names of tests: `hls_m03_m12_…`, and `hls_d03_to_d08_…` for a run of them.
fn tested(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tested(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for name in text.lines().filter_map(|line| line.split_once("fn hls_")).map(|(_, name)| name) {
            let words: Vec<&str> = name.split(['_', '(']).collect();
            for (at, word) in words.iter().enumerate() {
                found.insert((*word).to_owned());
                if let [from, "to", to, ..] = words[at..]
                    && let (Ok(first), Ok(last)) = (from[1..].parse::<usize>(), to[1..].parse::<usize>())
                {
                    found.extend((first..=last).map(|n| format!("{}{n:02}", &from[..1])));
                }
            }
        }
    }
}

#[test]
fn every_id_of_the_list_is_a_test_or_a_written_reason() {
    let mut found = BTreeSet::new();
    tested(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let docs = include_str!("../../../docs/hls.md");
    let (_, reasons) = docs.split_once("### Without a test").expect("a list of reasons");
    let reasons = reasons.split("\n## ").next().unwrap_or_default();
    let rows = reasons.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let reasoned: BTreeSet<String> =
        rows.flat_map(|(ids, _)| ids.split(' ').map(str::to_lowercase).collect::<Vec<_>>()).collect();
    let missing: Vec<_> =
        all().into_iter().filter(|id| !found.contains(id) && !reasoned.contains(id)).collect();
    assert_eq!(missing, [""; 0], "neither tested nor explained");
    let both: Vec<_> = reasoned.iter().filter(|id| found.contains(*id)).collect();
    assert!(both.is_empty(), "explained, though there is a test: {both:?}");
}
