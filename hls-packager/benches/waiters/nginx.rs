//! nginx with one file.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

/// A running nginx, with a directory of its own. Ends when dropped.
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Nginx {
    pub(crate) async fn start(program: &str, bytes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // A port that was free a moment ago: nginx cannot be handed one.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        // Noise, so that nothing on the way makes it smaller.
        let noise: Vec<u8> =
            (0..bytes as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        std::fs::write(dir.path().join("file"), noise).expect("a file");
        let root = dir.path().display();
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let config = format!(
            "user root;\ndaemon off;\nmaster_process on;\nworker_processes {workers};\npid {root}/pid;\nerror_log {root}/error.log;\n\
             worker_rlimit_nofile 20000;\n\
             events {{ worker_connections 18000; }}\n\
             http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000;\n\
             keepalive_timeout 600; open_file_cache max=10;\n\
             server {{ listen {free} backlog=20000; root {root}; }} }}\n"
        );
        let path = dir.path().join("nginx.conf");
        std::fs::write(&path, config).expect("a configuration");
        let child = Command::new(program).arg("-c").arg(&path).stdout(Stdio::null()).spawn();
        let child = child.expect("nginx starts (--nginx none leaves it out)");
        while TcpStream::connect(free).await.is_err() {
            tokio::task::yield_now().await;
        }
        Self { child, address: free, _dir: dir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The master and its workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        workers.chain([id]).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The workers end with their master's goodbye, which it says only to a gentle signal.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
