//! What a service manager wants to hear (`sd_notify`): that we are ready, and that we stop.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Ports are bound, streams and viewers may come.
pub(crate) const READY: &str = "READY=1";

/// A graceful stop has begun.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if one has started us. Whether it hears is its business.
pub(crate) fn notify(state: &str) {
    // Set by systemd for `Type=notify`; no setting of ours.
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let path = path.as_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}
