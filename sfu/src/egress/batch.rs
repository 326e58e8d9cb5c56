//! One contiguous send buffer, and the runs in it.

use std::net::{IpAddr, SocketAddr};

/// Where a viewer's datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dest {
    /// The viewer.
    pub to: SocketAddr,
    /// Our address that it used.
    pub from: IpAddr,
    /// Whether runs may be sent by UDP_SEGMENT.
    pub gso: bool,
}

/// One contiguous send buffer.
#[derive(Debug, Default)]
pub struct Batch {}
