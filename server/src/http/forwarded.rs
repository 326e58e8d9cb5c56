//! Who asks, if a proxy asks for somebody: limits per address must not count everybody as one.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;

/// Takes the client for whom the proxy asks for the one who asks. For servers behind a proxy only: anybody can write
/// such a header.
pub(crate) async fn client_of_proxy(mut request: Request) -> Request {
    if let Some(client) = last_forwarded(request.headers()) {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, 0)));
    }
    request
}

/// The last address of `X-Forwarded-For`: the one that the proxy saw and added itself. Those before it are what the
/// client says.
fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    // Some proxies add the port.
    let with_port = || last.parse::<SocketAddr>().ok().map(|address| address.ip());
    last.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::map_request;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn seen(headers: &[&str]) -> String {
        let who = |ConnectInfo(client): ConnectInfo<SocketAddr>| async move { client.ip().to_string() };
        let router = Router::new().route("/", get(who)).layer(map_request(client_of_proxy));
        let proxy: SocketAddr = "172.18.0.2:4242".parse().expect("an address");
        let mut request = Request::builder().extension(ConnectInfo(proxy));
        for value in headers {
            request = request.header("x-forwarded-for", *value);
        }
        let response =
            router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        let body = to_bytes(response.into_body(), 1024).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn the_client_is_whom_the_proxy_saw_last() {
        for (headers, client) in [
            (&[][..], "172.18.0.2"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7:55555"], "192.0.2.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]:55555"], "2001:db8::7"),
            (&["somebody"], "172.18.0.2"),
            (&["192.0.2.7, "], "172.18.0.2"),
        ] {
            assert_eq!(seen(headers).await, client, "{headers:?}");
        }
    }
}
