//! The clients: those who wait for playlists, and those who fetch the parts too.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Connection;
use crate::origin::{Origin, PARTS};
use crate::process::now_micros;

/// Connections that are opened at a time.
const AT_A_TIME: usize = 256;

/// A herd asks this often: as often as parts are born.
const PACE: Duration = Duration::from_millis(500);

/// Clients, connected.
pub(crate) struct Audience {
    path: Arc<str>,
    waiters: Vec<Connection>,
    full: Vec<Connection>,
    /// The first part that all of them ask for.
    first: u64,
}

/// What they saw: milliseconds, sorted.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) playlists: Vec<f64>,
    pub(crate) parts: Vec<f64>,
    pub(crate) part_bytes: usize,
    pub(crate) body_bytes: usize,
    pub(crate) failed: usize,
}

/// What one of them saw: which part, when, in microseconds.
#[derive(Default)]
struct Seen {
    playlists: Vec<(u64, u64)>,
    parts: Vec<(u64, u64)>,
    part_bytes: usize,
    body_bytes: usize,
    failed: usize,
}

impl Audience {
    pub(crate) async fn gather(to: SocketAddr, path: &str, waiters: usize, full: usize) -> Self {
        let mut connections = Vec::with_capacity(waiters + full);
        while connections.len() < waiters + full {
            let count = AT_A_TIME.min(waiters + full - connections.len());
            let mut opening = JoinSet::new();
            (0..count).for_each(|_| drop(opening.spawn(Connection::open(to))));
            connections.extend(opening.join_all().await);
        }
        let full = connections.split_off(waiters);
        Self { path: path.into(), waiters: connections, full, first: 0 }
    }

    /// Watches `origin` for `span`.
    pub(crate) async fn watch(mut self, origin: &mut Origin, span: Duration) -> Figures {
        let mut births: HashMap<u64, u64> = origin.births().collect();
        // Far enough ahead that everybody has asked when it is born; more would be refused.
        self.first = births.keys().max().copied().unwrap_or(0) + 3;
        let until = Instant::now() + span;
        let mut clients = JoinSet::new();
        for connection in self.waiters {
            clients.spawn(client(connection, Arc::clone(&self.path), self.first, until, false));
        }
        for connection in self.full {
            clients.spawn(client(connection, Arc::clone(&self.path), self.first, until, true));
        }
        let seen = clients.join_all().await;
        births.extend(origin.births());
        let late = |(part, at): &(u64, u64)| Some(at.saturating_sub(*births.get(part)?) as f64 / 1000.0);
        let mut figures = Figures::default();
        for seen in seen {
            figures.playlists.extend(seen.playlists.iter().filter_map(late));
            figures.parts.extend(seen.parts.iter().filter_map(late));
            figures.part_bytes += seen.part_bytes;
            figures.body_bytes = figures.body_bytes.max(seen.body_bytes);
            figures.failed += seen.failed;
        }
        figures.sorted()
    }

    /// All ask for the same path at the same moments.
    pub(crate) async fn herd(self, span: Duration) -> Figures {
        let (began, until) = (Instant::now() + PACE, Instant::now() + PACE + span);
        let mut clients = JoinSet::new();
        for mut connection in self.waiters {
            let path = Arc::clone(&self.path);
            clients.spawn(async move {
                let (mut took, mut failed, mut bytes) = (Vec::new(), 0, 0);
                let mut at = began;
                while at < until {
                    tokio::time::sleep_until(at).await;
                    match connection.get(&path, true, false).await.filter(|answer| answer.status == 200) {
                        Some(answer) => {
                            took.push((Instant::now() - at).as_secs_f64() * 1000.0);
                            bytes = answer.length;
                        }
                        None => failed += 1,
                    }
                    at = (at + PACE).max(Instant::now());
                }
                (took, failed, bytes)
            });
        }
        let mut figures = Figures::default();
        for (took, failed, bytes) in clients.join_all().await {
            figures.playlists.extend(took);
            figures.failed += failed;
            figures.body_bytes = bytes;
        }
        figures.sorted()
    }
}

impl Figures {
    fn sorted(mut self) -> Self {
        self.playlists.sort_unstable_by(f64::total_cmp);
        self.parts.sort_unstable_by(f64::total_cmp);
        self
    }
}

async fn client(mut connection: Connection, path: Arc<str>, first: u64, until: Instant, full: bool) -> Seen {
    let mut seen = Seen::default();
    let base = path.strip_suffix("index.m3u8").unwrap_or_default();
    for part in first.. {
        if Instant::now() >= until {
            break;
        }
        let query = format!("{path}?_HLS_msn={}&_HLS_part={}", part / PARTS, part % PARTS);
        match connection.get(&query, true, false).await {
            Some(answer) if answer.status == 200 => {
                seen.playlists.push((part, now_micros()));
                seen.body_bytes = answer.length;
            }
            // Its connection, or its place in the stream, is lost.
            _ => {
                seen.failed += 1;
                break;
            }
        }
        if !full {
            continue;
        }
        match connection.get(&format!("{base}p{part}.m4s"), false, false).await {
            Some(answer) if answer.status == 200 => {
                seen.parts.push((part, now_micros()));
                seen.part_bytes += answer.length;
            }
            _ => seen.failed += 1,
        }
    }
    seen
}
