//! The log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts the log of the process, on standard error. A filter that cannot be read falls back to `info`.
pub(crate) fn init(log: &Log) {
    // The libraries under us log per packet at info and below, and those of WebRTC warn of every datagram
    // that they refuse: a stranger could fill the disk. What they refuse is counted by `sfu`.
    let quiet = "rtc=error,rtc_dtls=error,rtc_ice=off,rtc_srtp=error,rtc_interceptor=error,symphonia=warn";
    let filter =
        EnvFilter::try_new(format!("{quiet},{}", log.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests start several servers) keeps the first log.
    let _ = match log.format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
