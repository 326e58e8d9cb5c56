//! Whether the hook backends take connections.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;
use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One finding per backend.
pub(super) async fn backends(config: &Config) -> Vec<Finding> {
    let hooks = &config.hooks;
    let all = [&hooks.on_publish, &hooks.on_unpublish, &hooks.on_play, &hooks.on_stop];
    let mut addresses: Vec<(String, u16)> =
        all.iter().flat_map(|urls| urls.iter()).map(|url| url.address()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let mut findings = Vec::new();
    for (host, port) in addresses {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await;
        findings.push(match connected {
            Ok(Ok(_)) => Finding::fine("hooks", format!("{host}:{port} takes connections")),
            Ok(Err(error)) => unreachable(&host, port, &error.to_string(), hooks.fail_open),
            Err(_) => unreachable(&host, port, "no answer", hooks.fail_open),
        });
    }
    findings
}

fn unreachable(host: &str, port: u16, why: &str, fail_open: bool) -> Finding {
    let means = if fail_open { "everybody is let in" } else { "nobody who needs it is let in" };
    Finding::warning("hooks", format!("{host}:{port}: {why}; until it is there {means}"))
}
