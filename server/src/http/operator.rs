//! Who needs no account: the operator, on the server itself.

use std::net::SocketAddr;

use axum::http::HeaderMap;

/// Headers by which a proxy says for whom it asks.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// How the operator is told from everybody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator {
    /// A proxy stands before the server: a client on this machine is the proxy.
    pub(crate) proxied: bool,
    /// Everybody may.
    pub(crate) exposed: bool,
}

impl Operator {
    /// A client on this machine, unless it is a proxy that asks for somebody else: one that the configuration tells of, or
    /// that says so itself.
    pub(crate) fn is(self, client: SocketAddr, headers: &HeaderMap) -> bool {
        let local = client.ip().to_canonical().is_loopback()
            && !self.proxied
            && !FORWARDED.iter().any(|name| headers.contains_key(*name));
        self.exposed || local
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_are_shown_on_this_machine_only_unless_configured() {
        let bare = HeaderMap::new();
        let mut forwarded = HeaderMap::new();
        forwarded.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        for (client, headers, proxied, exposed, expected) in [
            ("127.0.0.1:5", &bare, false, false, true),
            ("[::1]:5", &bare, false, false, true),
            ("[::ffff:127.0.0.1]:5", &bare, false, false, true),
            ("192.0.2.1:5", &bare, false, false, false),
            ("127.0.0.1:5", &forwarded, false, false, false),
            ("127.0.0.1:5", &bare, true, false, false),
            ("192.0.2.1:5", &forwarded, true, true, true),
        ] {
            let address = client.parse().expect("an address");
            let sees = Operator { proxied, exposed }.is(address, headers);
            assert_eq!(sees, expected, "{client} {headers:?} {proxied}");
        }
    }
}
