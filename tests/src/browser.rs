//! Chromium, driven by the node scripts in `tests/browser`.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Runs `tests/browser/<script>` with JSON `input` as its argument and returns the JSON that it prints on its
/// last line. A script that fails, or takes longer than `within`, fails the test with what it wrote.
pub async fn run_script(script: &str, input: Value, within: Duration) -> Value {
    let script = script.to_owned();
    let run = tokio::task::spawn_blocking(move || run_blocking(&script, &input, within));
    run.await.expect("the script runs")
}

fn run_blocking(script: &str, input: &Value, within: Duration) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut child = Command::new("timeout")
        // SIGTERM first, so that the script can end its browser.
        .args(["--kill-after=5", &within.as_secs().to_string(), "node", script, &input.to_string()])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut stderr = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut output = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut output).expect("text");
    let status = child.wait().expect("our child");
    let errors = errors.join().expect("the reader ends with the process");
    assert!(status.success(), "{script} ended with {status}\n--- output\n{output}\n--- errors\n{errors}");
    let last = output.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{script} printed no JSON: {error}\n{output}\n{errors}"))
}
