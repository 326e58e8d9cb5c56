//! Which addresses to tell viewers: our ICE host candidates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tracing::warn;

/// Candidates in an answer. A viewer checks each of them, so a machine with many addresses would make
/// connecting slow; the best come first, the rest is cut off and logged.
const CANDIDATES_MAX: usize = 12;

/// Interfaces that only containers and virtual machines of this host see.
const INNER_INTERFACES: [&str; 8] = ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman"];

/// The addresses to announce, best first: configured, public, private, loopback.
///
/// `names` are those of [`crate::Config::announce`], `bind` what the sockets are bound to. Loopback always
/// comes last: a browser on this machine needs it when there is no other address, and to others it does no
/// harm.
pub(crate) fn candidates(names: &[String], bind: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for name in names {
        match name.trim() {
            "auto" => found.extend(local_addresses(bind)),
            name => found.extend(resolve(name)),
        }
    }
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if names.iter().any(|name| name.trim() == "auto") {
        found.extend(loopback.into_iter().find(|ip| reaches(bind, ip)));
    }
    let mut unique = Vec::new();
    for ip in found {
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    if unique.len() > CANDIDATES_MAX {
        warn!(found = unique.len(), announced = CANDIDATES_MAX, "more addresses than fit in an answer");
        unique.truncate(CANDIDATES_MAX);
    }
    warn_if_unreachable(&unique);
    unique.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Whether a socket bound to `bind` receives what is sent to `ip`.
fn reaches(bind: &[IpAddr], ip: &IpAddr) -> bool {
    bind.iter().any(|bound| bound == ip || (bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4()))
}

fn local_addresses(bind: &[IpAddr]) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        warn!(%error, "cannot list the addresses of this machine; put them into announce");
        Vec::new()
    });
    let mut ips: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !INNER_INTERFACES.iter().any(|inner| interface.name.starts_with(inner)))
        .map(|interface| interface.ip())
        .filter(|ip| reaches(bind, ip) && rank(ip).is_some())
        .collect();
    ips.sort_by_key(|ip| (rank(ip), ip.is_ipv6()));
    ips
}

fn resolve(name: &str) -> Vec<IpAddr> {
    if let Ok(ip) = name.parse() {
        return vec![ip];
    }
    match (name, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            warn!(name, %error, "announce: cannot resolve this name; viewers are not told of it");
            Vec::new()
        }
    }
}

/// How good an address is as a candidate; `None`: not at all.
fn rank(ip: &IpAddr) -> Option<u8> {
    match ip {
        ip if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => None,
        IpAddr::V4(ip) if ip.is_link_local() => None,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
        ip => Some(u8::from(!is_public(ip))),
    }
}

fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is the shared space of carriers (RFC 6598).
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

fn warn_if_unreachable(ips: &[IpAddr]) {
    if ips.is_empty() {
        warn!("no address to announce: no viewer can connect by WebRTC; set announce to the public address");
    } else if !ips.iter().any(is_public) {
        warn!(
            addresses = ?ips,
            "only private addresses are announced: viewers outside this network cannot connect by WebRTC; \
             behind NAT or in a container, set announce to the public address"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(names: &[&str], bind: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let bind: Vec<IpAddr> = bind.iter().map(|ip| ip.parse().unwrap()).collect();
        candidates(&names, &bind, 9).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_configured_comes_first_and_once() {
        let found = announced(&["203.0.113.5", "2001:db8::5", "203.0.113.5"], &["0.0.0.0", "::"]);
        assert_eq!(found, ["203.0.113.5:9", "[2001:db8::5]:9"]);
    }

    #[test]
    fn auto_ends_with_loopback_so_that_a_browser_on_this_machine_connects() {
        let found = announced(&["203.0.113.5", "auto"], &["0.0.0.0"]);
        assert_eq!(found.first().map(String::as_str), Some("203.0.113.5:9"));
        assert_eq!(found.last().map(String::as_str), Some("127.0.0.1:9"));
        assert_eq!(announced(&["auto"], &["127.0.0.1"]), ["127.0.0.1:9"]);
        assert_eq!(announced(&["auto"], &["::1"]), ["[::1]:9"]);
    }

    #[test]
    fn addresses_are_ranked() {
        for (ip, expected) in [
            ("8.8.8.8", Some(0)),
            ("2001:db8::1", Some(0)),
            ("192.168.1.2", Some(1)),
            ("100.64.1.1", Some(1)),
            ("fd00::1", Some(1)),
            ("127.0.0.1", None),
            ("169.254.1.1", None),
            ("fe80::1", None),
        ] {
            assert_eq!(rank(&ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
