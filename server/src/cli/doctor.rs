//! `swiftwater doctor`: what on this machine would keep the server from working, before it is started.

mod database;
mod hooks;
mod machine;
mod network;
mod stun;

use std::process::ExitCode;

use clap::Args;

use super::config::Source;
use super::say;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    source: Source,
    /// A STUN server (host:port) that tells under which address the Internet sees this machine. Without it, the first
    /// `stun:` URL of [rtc] ice_servers is asked.
    #[arg(long)]
    stun: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Fine,
    /// It works, but perhaps not as wanted.
    Warning,
    /// The server will not work.
    Broken,
}

/// One thing that was looked at. `text` says what was found and, unless it is fine, what to do.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    text: String,
}

impl Finding {
    fn fine(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fine, what, text: text.into() }
    }

    fn warning(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, what, text: text.into() }
    }

    fn broken(what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Broken, what, text: text.into() }
    }

    fn line(&self) -> String {
        let mark = match self.verdict {
            Verdict::Fine => "ok  ",
            Verdict::Warning => "WARN",
            Verdict::Broken => "FAIL",
        };
        format!("{mark}  {:<12} {}\n", self.what, self.text)
    }
}

/// Looks at everything, prints a line for each; fails if something is broken.
pub(super) async fn run(doctor: &Doctor) -> ExitCode {
    let config = match doctor.source.load() {
        Ok(config) => config,
        Err(error) => {
            say(&Finding::broken("config", error.to_string()).line());
            return ExitCode::FAILURE;
        }
    };
    say(&Finding::fine("config", "it can be used").line());
    let mut findings = network::ports(&config);
    findings.extend(network::loopback(&config));
    findings.push(stun::public_address(&config, doctor.stun.as_deref()).await);
    findings.extend(hooks::backends(&config).await);
    findings.extend(database::look(&config).await);
    findings.extend(machine::look(&config));
    for finding in &findings {
        say(&finding.line());
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Broken) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
