//! The TCP listener and the tasks of its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::connection::{Connection, Shared};
use super::{Config, Stats};
use crate::notice::Notices;
use crate::request::Admission;
use crate::{Error, PublishRequest};

/// Pause after a failed `accept`: the usual cause is that the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts encoders that speak RTMP.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    connections: Arc<Semaphore>,
    stats: Arc<Stats>,
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// [`Error::Bind`] if it cannot be had, [`Error::Config`] for settings that cannot work.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let failed = |source| Error::Bind { address: config.listen, source };
        let socket = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        let connections = Arc::new(Semaphore::new(config.connections_max));
        Ok(Self { socket, local_addr, connections, stats: Arc::default() })
    }

    /// Where it listens: the port, if the kernel chose it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The counters, also while [`Self::run`] has the listener.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Serves until `shutdown`, then until the last connection has ended. Asks through `requests` who may
    /// publish; its bound is how many encoders may wait for a decision at a time.
    pub async fn run(self, requests: mpsc::Sender<PublishRequest>, shutdown: CancellationToken) {
        let shared = Arc::new(Shared {
            admission: Admission::new(requests),
            counters: Arc::clone(&self.stats),
            notices: Notices::default(),
        });
        let tasks = TaskTracker::new();
        info!(address = %self.local_addr, "RTMP listens");
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (socket, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "RTMP accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
                self.stats.connections_refused.bump();
                continue;
            };
            self.stats.connections_accepted.bump();
            // Our answers are small and an encoder waits for each of them.
            let _ = socket.set_nodelay(true);
            let connection = Connection::new(socket, remote, Arc::clone(&shared));
            let (shutdown, stats) = (shutdown.clone(), Arc::clone(&self.stats));
            tasks.spawn(async move {
                connection.run(shutdown).await;
                stats.connections_ended.bump();
                drop(permit);
            });
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}
