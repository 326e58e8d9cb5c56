//! hls-parser in strict mode judges every playlist that the sources of the other tests make.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::sim::Sim;

/// Judges every snapshot of `sim`. The judge is a package of `tests/browser`: where it is not installed, the
/// playlists were judged by `rules.rs` alone, and `tests/e2e/hls.rs` judges others.
pub(super) fn judge(what: &str, sim: &Sim) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let dir = tests.join("browser");
    if !dir.join("node_modules/hls-parser").exists() {
        eprintln!("{what}: hls-parser is not installed");
        return;
    }
    let mut judge = Command::new("node")
        .arg(tests.join("hls/validate.mjs"))
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed where hls-parser is");
    let mut stdin = judge.stdin.take().expect("piped");
    let texts: String = sim.texts.iter().map(String::as_str).collect();
    let writing = std::thread::spawn(move || {
        // It says what is wrong when it ends.
        let _ = stdin.write_all(texts.as_bytes());
    });
    let output = judge.wait_with_output().expect("node ends");
    writing.join().expect("written");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}", said.chars().take(4000).collect::<String>());
}
