//! Replays the corpora of fuzz targets in plain tests. Each crate that has targets includes this file by path.

use std::fs;
use std::path::Path;
use std::time::Instant;

/// Gives every file in the corpus of `target` to its `entry`.
#[expect(clippy::disallowed_methods, reason = "virtual time needs a beginning")]
pub(crate) fn replay(target: &str, entry: fn(Instant, &[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        println!("{}", file.display());
        entry(Instant::now(), &fs::read(&file).expect("readable"));
    }
}
