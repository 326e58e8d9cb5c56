//! A real PostgreSQL from the distribution's package, in a temporary directory, reached by a Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to come up on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running cluster; ends when dropped.
pub struct Postgres {
    server: Child,
    dir: TempDir,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes and starts a cluster.
    #[expect(clippy::disallowed_methods, reason = "a test gives up by the clock")]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        if root() {
            // It refuses to run as root: the package brings a user.
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("own directory");
        let data = dir.path().join("data");
        run(program("initdb")
            .args(["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data));
        let mut server = program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(dir.path());
        // Nothing outlives the test, so nothing is synced; no TCP port is taken.
        server.args([
            "-F",
            "-c",
            "listen_addresses=",
            "-c",
            "shared_buffers=16MB",
            "-c",
            "log_min_messages=panic",
        ]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts");
        let postgres = Self { server, dir, databases: AtomicU32::new(0) };
        let begun = Instant::now();
        while !program("pg_isready")
            .arg("-q")
            .arg("-h")
            .arg(postgres.socket())
            .status()
            .expect("runs")
            .success()
        {
            assert!(begun.elapsed() < START_TIMEOUT, "PostgreSQL did not come up");
            std::thread::yield_now();
        }
        postgres
    }

    /// A fresh, empty database; its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(program("createdb").arg("-h").arg(self.socket()).args(["-U", "postgres", &name]));
        format!("postgres://postgres@localhost/{name}?host={}", self.socket().display())
    }

    /// Everything in a database as text.
    pub fn dump(&self, url: &str) -> String {
        let name = url.split(['/', '?']).nth(3).expect("a URL of ours");
        let output = program("pg_dump")
            .arg("-h")
            .arg(self.socket())
            .args(["-U", "postgres", "--inserts", name])
            .output()
            .expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// CPU of the server and of the processes that serve connections now, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let own = self.server.id().to_string();
        let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
        let of_us = processes.filter_map(|process| {
            let pid = process.file_name().into_string().ok()?;
            let (seconds, parent) = process_cpu(&pid)?;
            (pid == own || parent == own).then_some(seconds)
        });
        of_us.sum()
    }

    fn socket(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast shutdown: clients are cut off, files are left in order.
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

/// CPU of a process so far in seconds, and the id of its parent. `pid` may be `self`.
pub fn process_cpu(pid: &str) -> Option<(f64, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have anything in it but is in brackets (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((ticks / 100.0, (*fields.get(1)?).to_owned()))
}

/// A program of the package, as its user.
fn program(name: &str) -> Command {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("install the package postgresql: bin/test does");
    let newest: PathBuf = versions.flatten().map(|entry| entry.path()).max().expect("a version");
    let path = newest.join("bin").join(name);
    if root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    }
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
