//! The TCP listener and the tasks of its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::connection::{Connection, Shared};
use super::places::{Entry, Places};
use super::{Config, Stats};
use crate::notice::Notices;
use crate::request::Admission;
use crate::{Error, PublishRequest};

/// Pause after a failed `accept`: the usual cause is that the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an encoder hears whose address has as many connections as it may.
const ADDRESS_FULL: &str = "Too many RTMP connections from your address: stop an encoder there, or ask the operator to \
    raise [rtmp] connections_per_address_max";

/// Accepts encoders that speak RTMP.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    places: Arc<Places>,
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
        let places = Places::new(config.connections_max, config.connections_per_address_max);
        Ok(Self { socket, local_addr, places, stats: Arc::default() })
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
            let (place, refusal) = match self.places.enter(remote.ip()) {
                Entry::Place(place) => (place, None),
                Entry::Refusal(place) => {
                    self.stats.connections_refused_address.bump();
                    (place, Some(ADDRESS_FULL))
                }
                Entry::AddressFull => {
                    self.stats.connections_refused_address.bump();
                    continue;
                }
                Entry::Full => {
                    self.stats.connections_refused.bump();
                    continue;
                }
            };
            self.stats.connections_accepted.bump();
            // Our answers are small and an encoder waits for each of them.
            let _ = socket.set_nodelay(true);
            let connection = Connection::new(socket, remote, refusal, Arc::clone(&shared));
            let (shutdown, stats) = (shutdown.clone(), Arc::clone(&self.stats));
            tasks.spawn(async move {
                connection.run(shutdown).await;
                stats.connections_ended.bump();
                drop(place);
            });
        }
        drop(self.socket);
        tasks.close();
        tasks.wait().await;
    }
}
