//! The TCP listener and the tasks of its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::connection::{Connection, Shared};
use super::counters::Counters;
use super::{Config, Stats};
use crate::notice::Notices;
use crate::{Admission, Error};

/// Pause after a failed `accept`: the usual cause is that the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts encoders that speak RTMP.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    connections: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// Reads the listener's counters, also while it runs.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Counters>);

impl Meter {
    /// The numbers now.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// [`Error::Bind`] if it cannot be had, [`Error::Config`] for settings that cannot work.
    pub async fn bind(config: &Config, admission: Admission) -> Result<Self, Error> {
        config.validate()?;
        let failed = |source| Error::Bind { address: config.addr, source };
        let socket = TcpListener::bind(config.addr).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        let counters = Arc::<Counters>::default();
        let shared = Arc::new(Shared { admission, counters, notices: Notices::default() });
        Ok(Self { socket, local_addr, connections: Arc::new(Semaphore::new(config.connections_max)), shared })
    }

    /// Where it listens: the port, if the kernel chose it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Reads the counters while [`Self::run`] has the listener.
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.shared.counters))
    }

    /// Serves until `shutdown`, then until the last connection has ended.
    pub async fn run(self, shutdown: CancellationToken) {
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
                self.shared.counters.connections_refused.bump();
                continue;
            };
            self.shared.counters.connections.bump();
            // Our answers are small and an encoder waits for each of them.
            let _ = socket.set_nodelay(true);
            let connection = Connection::new(socket, remote, Arc::clone(&self.shared));
            let (shutdown, shared) = (shutdown.clone(), Arc::clone(&self.shared));
            tasks.spawn(async move {
                connection.run(shutdown).await;
                shared.counters.connections_ended.bump();
                drop(permit);
            });
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}
