//! A TCP relay that can cut a connection in the middle of what is on its way.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes passed on at once.
const PIECE_BYTES: usize = 4096;

/// Passes one connection on to a server, until it is cut.
pub struct Relay {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Relay {
    /// Listens for one client of `server`.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (cut, order) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (client, _) = listener.accept().await.expect("a client");
            let server = TcpStream::connect(server).await.expect("the server listens");
            pass(client, server, order).await;
        });
        Self { address, cut, task }
    }

    /// Where the client must connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes on half of the next piece that the client sends, then resets both connections.
    pub async fn cut(mut self) {
        let _ = self.cut.send(true);
        while let Some(ended) = self.task.join_next().await {
            ended.expect("the relay does not panic");
        }
    }
}

async fn pass(client: TcpStream, server: TcpStream, order: watch::Receiver<bool>) {
    // Closing them then sends RST, not FIN: nobody gets a goodbye.
    client.set_zero_linger().expect("our socket");
    server.set_zero_linger().expect("our socket");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async move {
        let mut piece = [0u8; PIECE_BYTES];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            let last = *order.borrow();
            let length = if last { length.div_ceil(2) } else { length };
            if to_server.write_all(&piece[..length]).await.is_err() || last {
                break;
            }
        }
        (from_client, to_server)
    };
    let down = async move {
        let mut piece = [0u8; PIECE_BYTES];
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            if to_client.write_all(&piece[..length]).await.is_err() {
                break;
            }
        }
        // The server has nothing more to say; the client may.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}
