//! Ports, and whether datagrams to our own addresses come in.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use super::Finding;
use crate::config::Config;

/// How long a datagram to ourselves may take.
const LOOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether our ports are free.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let mut findings =
        vec![tcp("port http", config.http.listen, "--http"), tcp("port rtmp", config.rtmp.listen, "--rtmp")];
    for address in rtc_addresses(config) {
        findings.push(match UdpSocket::bind(address) {
            Ok(_) => Finding::fine("port rtc", format!("UDP {address} is free")),
            Err(error) => taken("port rtc", "UDP", address, &error, "--rtc-port"),
        });
        if config.rtc.tcp {
            findings.push(tcp("port rtc", address, "--rtc-port"));
        }
    }
    findings
}

/// Whether the firewall of this machine lets datagrams to its own addresses through.
pub(super) fn loopback(config: &Config) -> Vec<Finding> {
    let what = "udp";
    let announced = config.rtc.announce.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let mut findings: Vec<Finding> = announced
        .map(|address| match echo(address) {
            Ok(true) => Finding::fine(what, format!("datagrams to {address} come in on this machine")),
            Ok(false) => Finding::warning(
                what,
                format!(
                    "no datagram to {address} came back: if this machine is behind NAT that says nothing, \
                         else its firewall drops them: let UDP {} in",
                    config.rtc.port
                ),
            ),
            Err(error) => Finding::warning(what, format!("cannot send to {address}: {error}")),
        })
        .collect();
    if config.rtc.announce.iter().any(|text| text == "auto") {
        let text = match own_address() {
            Some(address) if is_private(address) => format!(
                "this machine is {address}, which the Internet cannot reach: behind NAT or in a container name the \
                 public address: [rtc] announce"
            ),
            Some(address) => format!("this machine is {address}; let UDP and TCP {} in", config.rtc.port),
            None => "this machine has no address beside loopback: viewers on it only".to_owned(),
        };
        let fine = own_address().is_some_and(|address| !is_private(address));
        findings.push(if fine { Finding::fine(what, text) } else { Finding::warning(what, text) });
    }
    findings
}

fn rtc_addresses(config: &Config) -> Vec<SocketAddr> {
    config.rtc.bind.iter().map(|address| SocketAddr::new(*address, config.rtc.port)).collect()
}

fn tcp(what: &'static str, address: SocketAddr, flag: &str) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::fine(what, format!("TCP {address} is free")),
        Err(error) => taken(what, "TCP", address, &error, flag),
    }
}

fn taken(
    what: &'static str,
    protocol: &str,
    address: SocketAddr,
    error: &std::io::Error,
    flag: &str,
) -> Finding {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => Finding::warning(
            what,
            format!(
                "{protocol} {address} is taken: by a running Swiftwater, or choose another one with {flag}"
            ),
        ),
        // The server does without, unless IPv6 is all it was told to bind.
        std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::Unsupported if address.is_ipv6() => {
            Finding::warning(what, format!("{protocol} {address}: this machine has no IPv6"))
        }
        _ => Finding::broken(what, format!("{protocol} {address}: {error}; choose another one with {flag}")),
    }
}

/// Sends a datagram from this machine to one of its addresses; whether it came.
fn echo(address: IpAddr) -> std::io::Result<bool> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let receiver = UdpSocket::bind((any, 0))?;
    receiver.set_read_timeout(Some(LOOP_TIMEOUT))?;
    let sender = UdpSocket::bind((any, 0))?;
    sender.send_to(b"swiftwater doctor", (address, receiver.local_addr()?.port()))?;
    let mut datagram = [0; 64];
    Ok(receiver.recv(&mut datagram).is_ok_and(|length| &datagram[..length] == b"swiftwater doctor"))
}

/// The address from which this machine would speak to the Internet. Nothing is sent.
pub(super) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address for documentation: the kernel only looks up the way.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let carrier_nat = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
            address.is_private() || address.is_link_local() || carrier_nat
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_the_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let finding = tcp("port http", taken.local_addr().expect("bound"), "--http");
        assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
        assert!(finding.text.contains("--http"), "{finding:?}");
        assert_eq!(
            tcp("port http", "127.0.0.1:0".parse().expect("an address"), "--http").verdict,
            Verdict::Fine
        );
        // Of no interface of ours.
        let foreign = tcp("port http", "192.0.2.1:80".parse().expect("an address"), "--http");
        assert_eq!(foreign.verdict, Verdict::Broken, "{foreign:?}");
    }

    #[test]
    fn datagrams_to_loopback_come_in() {
        assert!(echo(std::net::Ipv4Addr::LOCALHOST.into()).expect("sent"));
    }
}
