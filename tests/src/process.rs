//! Third-party programs: started, watched, and ended by their own id.

#![expect(clippy::disallowed_methods, reason = "deadlines of third-party programs run by the clock")]

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child process that ends with its handle.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program; its standard error is kept for [`Process::wait`].
    pub fn start<I, S>(program: &str, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; bin/test installs it"));
        Self { child, name: program.to_owned() }
    }

    /// ffmpeg 5 of the distribution.
    pub fn ffmpeg<I, S>(arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::start("ffmpeg", quiet(arguments))
    }

    /// ffmpeg 9, which publishes by WHIP.
    pub fn ffmpeg9<I, S>(arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::start(&ffmpeg9_path(), quiet(arguments))
    }

    /// Waits for its end; says how it ended and what it wrote to standard error.
    pub fn wait(mut self, within: Duration) -> (ExitStatus, String) {
        let mut stderr = self.child.stderr.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end within {within:?}", self.name);
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(10));
        };
        (status, reader.join().expect("the reader ends with the process"))
    }

    /// Ends it without a goodbye.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quiet<I, S>(arguments: I) -> Vec<std::ffi::OsString>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let quiet =
        ["-hide_banner", "-nostdin", "-loglevel", "warning"].iter().map(|it| OsStr::new(it).to_owned());
    quiet.chain(arguments.into_iter().map(|it| it.as_ref().to_owned())).collect()
}

/// Where ffmpeg 9 is: `SWIFTWATER_TEST_FFMPEG9`, set by `bin/test`.
pub fn ffmpeg9_path() -> String {
    setting("SWIFTWATER_TEST_FFMPEG9").unwrap_or_else(|| {
        let home = setting("HOME").unwrap_or_default();
        format!("{home}/.cache/swiftwater/ffmpeg9/bin/ffmpeg9")
    })
}

/// A setting of the test run.
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
