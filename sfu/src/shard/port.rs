//! The one port of the node: a pair of UDP sockets on it for each shard, and the TCP listeners.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Type};
use tracing::warn;

use super::socket::Socket;
use crate::Error;
use crate::egress::batch::Transport;

/// Ports that are tried when the kernel may choose: the one that it gives for TCP and IPv4 can be taken for UDP
/// or IPv6.
const ATTEMPTS: usize = 16;
/// Connections that wait to be accepted. A browser's wait for a millisecond; what does not fit is tried again by
/// its kernel.
const BACKLOG: i32 = 1024;

/// The sockets of one shard: at most one per address family. A dual-stack socket would steal datagrams from
/// an IPv4 one on the same port, so they are apart.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) v4: Option<Socket>,
    pub(crate) v6: Option<Socket>,
}

/// The port, bound.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// One per shard.
    pub(crate) sockets: Vec<Sockets>,
    /// At most one per address family; none without ICE-TCP.
    pub(crate) listeners: Vec<TcpListener>,
}

/// Binds the port for all shards.
///
/// The kernel spreads the 4-tuples over the sockets of a group (SO_REUSEPORT), by a hash that changes when
/// the group does: so all are bound here, before any datagram is read. The TCP listener comes first: nothing
/// but this process can have that port then.
pub(crate) fn bind(
    addresses: &[IpAddr],
    port: u16,
    tcp: bool,
    shards: usize,
    buffer_bytes: usize,
) -> Result<Port, Error> {
    let attempts = if port == 0 { ATTEMPTS } else { 1 };
    let mut result = bind_once(addresses, port, tcp, shards);
    for _ in 1..attempts {
        match &result {
            Err(Error::Bind { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
                result = bind_once(addresses, port, tcp, shards);
            }
            _ => break,
        }
    }
    let Bound { port: number, sockets, listeners } = result?;
    for udp in sockets.iter().flatten() {
        raise_buffers(udp, buffer_bytes);
    }
    let mut shards: Vec<Sockets> = (0..shards).map(|_| Sockets::default()).collect();
    for family in sockets {
        for (shard, udp) in shards.iter_mut().zip(family) {
            let socket = Socket::new(udp).map_err(|source| Error::System {
                attempt: "ask for local addresses of datagrams",
                source,
            })?;
            let place = if socket.is_v6() { &mut shard.v6 } else { &mut shard.v4 };
            *place = Some(socket);
        }
    }
    Ok(Port { number, sockets: shards, listeners })
}

/// Bound, and not yet shared out.
struct Bound {
    port: u16,
    /// One group of sockets per address.
    sockets: Vec<Vec<UdpSocket>>,
    listeners: Vec<TcpListener>,
}

fn bind_once(addresses: &[IpAddr], port: u16, tcp: bool, shards: usize) -> Result<Bound, Error> {
    let mut bound = Bound { port, sockets: Vec::new(), listeners: Vec::new() };
    for ip in addresses {
        match bind_address(&mut bound, *ip, tcp, shards) {
            Ok(()) => {}
            // A machine without IPv6 is none the worse for being asked to listen on all its IPv6 addresses.
            Err((_, source))
                if ip.is_ipv6() && ip.is_unspecified() && addresses.len() > 1 && no_family(&source) =>
            {
                warn!(%source, "no IPv6 on this machine: viewers connect by IPv4");
            }
            Err((transport, source)) => {
                let advice = advice(&source);
                let address = SocketAddr::new(*ip, bound.port);
                return Err(Error::Bind { transport: transport.as_str(), address, source, advice });
            }
        }
    }
    Ok(bound)
}

fn bind_address(
    bound: &mut Bound,
    ip: IpAddr,
    tcp: bool,
    shards: usize,
) -> Result<(), (Transport, io::Error)> {
    if tcp {
        let listener = listen(SocketAddr::new(ip, bound.port)).map_err(|source| (Transport::Tcp, source))?;
        bound.port = listener.local_addr().map_err(|source| (Transport::Tcp, source))?.port();
        bound.listeners.push(listener);
    }
    let group = bind_group(SocketAddr::new(ip, bound.port), shards);
    let (port, group) = group.map_err(|source| (Transport::Udp, source))?;
    bound.port = port;
    bound.sockets.push(group);
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the process before may linger for a minute (TIME_WAIT). On Linux this lets no second
    // listener in.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_group(address: SocketAddr, shards: usize) -> io::Result<(u16, Vec<UdpSocket>)> {
    // The first one without SO_REUSEPORT: with it, a second server could share the port without anybody
    // noticing, and would get half of the viewers.
    let first = open(address, false)?;
    let address = SocketAddr::new(address.ip(), first.local_addr()?.port());
    SockRef::from(&first).set_reuse_port(true)?;
    let mut group = vec![first];
    for _ in 1..shards {
        group.push(open(address, true)?);
    }
    Ok((address.port(), group))
}

fn open(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn raise_buffers(udp: &UdpSocket, bytes: usize) {
    let socket = SockRef::from(udp);
    let set = socket.set_send_buffer_size(bytes).and_then(|()| socket.set_recv_buffer_size(bytes));
    // Linux tells twice what may be used.
    let send = socket.send_buffer_size().unwrap_or(0) / 2;
    let receive = socket.recv_buffer_size().unwrap_or(0) / 2;
    if set.is_err() || send < bytes || receive < bytes {
        // Once for all sockets: they are all alike.
        static TOLD: std::sync::Once = std::sync::Once::new();
        TOLD.call_once(|| {
            warn!(
                wanted = bytes,
                send,
                receive,
                "the kernel caps the socket buffers: bursts may be lost; raise net.core.wmem_max and rmem_max"
            );
        });
    }
}

fn no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is another server running? Stop it, or set [rtc] port to a free port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: correct [rtc] bind",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: set [rtc] port to a higher one",
        _ => "correct [rtc] bind and port",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::socket::Inbox;
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn all_shards_and_both_families_share_one_port() {
        let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let addresses = if v6 { vec![V4, Ipv6Addr::LOCALHOST.into()] } else { vec![V4] };
        let port = bind(&addresses, 0, true, 3, 64 << 10).unwrap();
        assert_ne!(port.number, 0);
        assert_eq!((port.sockets.len(), port.listeners.len()), (3, addresses.len()));
        assert!(port.sockets.iter().all(|shard| shard.v4.is_some() && shard.v6.is_some() == v6));
        assert!(port.listeners.iter().all(|it| it.local_addr().unwrap().port() == port.number));
    }

    #[test]
    fn a_second_server_on_the_same_port_is_refused_and_told_what_to_do() {
        let first = bind(&[V4], 0, false, 2, 64 << 10).unwrap();
        let error = bind(&[V4], first.number, false, 2, 64 << 10).unwrap_err().to_string();
        let address = format!("127.0.0.1:{}", first.number);
        assert!(error.contains(&address) && error.contains("[rtc] port"), "{error}");
    }

    /// UDP ports can be shared by who sets the flag; the TCP port cannot.
    #[test]
    fn the_tcp_listener_is_the_lock_of_the_port() {
        let first = bind(&[V4], 0, true, 2, 64 << 10).unwrap();
        for tcp in [true, false] {
            let error = bind(&[V4], first.number, tcp, 2, 64 << 10).unwrap_err().to_string();
            let by = if tcp { "TCP" } else { "UDP" };
            let address = format!("{by} 127.0.0.1:{}", first.number);
            assert!(error.contains(&address) && error.contains("[rtc] port"), "{error}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_refused_and_told_what_to_do() {
        let error = bind(&["203.0.113.1".parse().unwrap()], 0, true, 1, 64 << 10).unwrap_err().to_string();
        assert!(error.contains("[rtc] bind"), "{error}");
    }

    #[test]
    fn the_kernel_gives_all_datagrams_of_a_viewer_to_one_shard() {
        const CLIENTS: usize = 50;
        const EACH: usize = 5;
        let Port { number: port, sockets: shards, .. } = bind(&[V4], 0, false, 3, 1 << 20).unwrap();
        let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| UdpSocket::bind((V4, 0)).unwrap()).collect();
        for _ in 0..EACH {
            for client in &clients {
                client.send_to(b"hello", (V4, port)).unwrap();
            }
        }
        let mut heard: HashMap<SocketAddr, Vec<usize>> = HashMap::new();
        let mut inbox = Inbox::new();
        for (index, shard) in shards.iter().enumerate() {
            // Loopback delivers before send_to returns.
            while let Ok(count) = inbox.receive(shard.v4.as_ref().unwrap(), &mut 0) {
                inbox.drain().for_each(|(from, ..)| heard.entry(from).or_default().push(index));
                assert!(count > 0);
            }
        }
        assert_eq!(heard.len(), CLIENTS);
        for (client, shards) in &heard {
            assert!(shards.len() == EACH && shards.iter().all(|shard| *shard == shards[0]), "{client}");
        }
        let used: HashSet<usize> = heard.values().flatten().copied().collect();
        assert!(used.len() > 1, "50 viewers on one shard of three: chance 3^-49");
    }
}
