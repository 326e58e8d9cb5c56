//! `swiftwater healthcheck`: for containers, whose image has no other HTTP client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::config::Source;
use super::fail;
use crate::config::Tls;

/// A server that takes longer does not live.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(source: &Source) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    let address = here(config.http.listen);
    // With TLS its name would have to be checked; that it takes a connection says as much about the process.
    let healthy = if config.http.tls == Tls::Off { ask(address) } else { connect(address).map(|_| true) };
    match healthy {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail(&format!("{address} does not answer that it is healthy")),
        Err(error) => fail(&format!("{address}: {error}")),
    }
}

/// The address by which this machine reaches a listener.
fn here(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut socket = connect(address)?;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    socket.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in [
            ("[::]:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(here(listen.parse().expect(listen)).to_string(), asked);
        }
    }
}
