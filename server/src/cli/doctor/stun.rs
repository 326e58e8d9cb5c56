//! Under which address the Internet sees this machine: one STUN binding (RFC 8489), by UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Finding, network};
use crate::config::Config;

const WHAT: &str = "stun";
const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Three tries of a second: UDP may lose one.
const TRIES: usize = 3;
const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// Asks the STUN server, if there is one.
pub(super) async fn public_address(config: &Config, server: Option<&str>) -> Finding {
    let configured = || {
        let urls = config.rtc.ice_servers.iter().flat_map(|server| server.urls.iter());
        urls.filter_map(|url| url.strip_prefix("stun:")).map(with_port).next()
    };
    let Some(server) = server.map(str::to_owned).or_else(configured) else {
        let text = "not asked; --stun HOST:PORT shows under which address the Internet sees this machine";
        return Finding::fine(WHAT, text);
    };
    match ask(&server).await {
        Ok(seen) if config.rtc.announce.iter().any(|announced| *announced == seen.ip().to_string()) => {
            Finding::fine(WHAT, format!("the Internet sees {}, which is announced", seen.ip()))
        }
        Ok(seen) if network::own_address() == Some(seen.ip()) => {
            Finding::fine(WHAT, format!("the Internet sees {}, the address of this machine", seen.ip()))
        }
        Ok(seen) => Finding::warning(
            WHAT,
            format!(
                "the Internet sees {}, which no viewer is told: set [rtc] announce = [\"{}\"] and let UDP and TCP {} \
                 through to this machine",
                seen.ip(),
                seen.ip(),
                config.rtc.port
            ),
        ),
        Err(error) => Finding::warning(
            WHAT,
            format!("{server} does not answer ({error}): UDP out of this machine may be blocked"),
        ),
    }
}

fn with_port(host: &str) -> String {
    let bare = host.split('?').next().unwrap_or(host);
    if bare.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        bare.to_owned()
    } else {
        format!("{bare}:3478")
    }
}

async fn ask(server: &str) -> std::io::Result<SocketAddr> {
    let address = tokio::net::lookup_host(server).await?.next();
    let address = address.ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let transaction: [u8; 12] = *b"swiftwater-d";
    let mut request = vec![0, 1, 0, 0];
    request.extend(MAGIC_COOKIE.to_be_bytes());
    request.extend(transaction);
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(&request).await?;
        if let Ok(length) = timeout(TRY_TIMEOUT, socket.recv(&mut answer)).await
            && let Some(seen) = mapped_address(&answer[..length?], &transaction)
        {
            return Ok(seen);
        }
    }
    Err(std::io::ErrorKind::TimedOut.into())
}

/// XOR-MAPPED-ADDRESS of a success response (sections 5 and 14.2).
fn mapped_address(message: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (head, mut attributes) = message.split_at_checked(20)?;
    if head[..2] != [1, 1] || head[4..8] != MAGIC_COOKIE.to_be_bytes() || &head[8..] != transaction {
        return None;
    }
    loop {
        let (kind_and_length, rest) = attributes.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([kind_and_length[2], kind_and_length[3]]));
        let value = rest.get(..length)?;
        if kind_and_length[..2] == [0x00, 0x20] {
            let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (MAGIC_COOKIE >> 16) as u16;
            let address: IpAddr = match (*value.get(1)?, value.get(4..)?) {
                (1, address) => {
                    let bits = u32::from_be_bytes(address.try_into().ok()?);
                    Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE).into()
                }
                (2, address) => {
                    let mut key = [0; 16];
                    key[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
                    key[4..].copy_from_slice(transaction);
                    let bits = u128::from_be_bytes(address.try_into().ok()?);
                    Ipv6Addr::from_bits(bits ^ u128::from_be_bytes(key)).into()
                }
                _ => return None,
            };
            return Some(SocketAddr::new(address, port));
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 sections 2.2 and 2.3, the head and the attribute that we read.
    #[test]
    fn the_vectors_of_rfc_5769_are_read() {
        let transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let head = |length: u8| {
            let mut head = vec![1, 1, 0, length];
            head.extend(MAGIC_COOKIE.to_be_bytes());
            head.extend(transaction);
            // SOFTWARE, padded, comes first.
            head.extend([0x80, 0x22, 0x00, 0x0b]);
            head.extend(*b"test vector ");
            head
        };
        let mut v4 = head(28);
        v4.extend([0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(mapped_address(&v4, &transaction), Some("192.0.2.1:32853".parse().expect("an address")));
        let mut v6 = head(40);
        v6.extend([
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
        ]);
        v6.extend([0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9]);
        let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert_eq!(mapped_address(&v6, &transaction), Some(expected));
        assert_eq!(mapped_address(&v4, &[0; 12]), None, "somebody else's");
        for cut in 0..v4.len() {
            assert_eq!(mapped_address(&v4[..cut], &transaction), None, "{cut}");
        }
    }

    #[test]
    fn a_url_without_a_port_has_the_usual_one() {
        for (host, with) in [("a.example", "a.example:3478"), ("a.example:19302", "a.example:19302")] {
            assert_eq!(with_port(host), with);
        }
    }
}
