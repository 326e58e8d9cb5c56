//! HTTP to somebody else's server, who may be slow, broken, or chosen by a stranger.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::network::Reach;

/// Longest answer that is read. What matters of one fits into a hundred bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How long an unused connection is kept: shorter than the idle time-outs of the usual servers.
const IDLE: Duration = Duration::from_secs(4);

/// Unused connections kept per host.
const IDLE_MAX: usize = 16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{host} leads to {address}, which is not public: only the operator may send requests there")]
    Private { host: String, address: IpAddr },
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong { status: u16 },
    #[error("{0}")]
    Http(String),
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Posts JSON. It follows no redirect, uses no proxy, and keeps no cookie.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    reach: Arc<Reach>,
}

impl Client {
    /// A client whose requests go no further than `reach`.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        let reach = Arc::new(reach);
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // Several crates bring a crypto provider; a second call keeps the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .dns_resolver(Arc::new(Resolver { reach: Arc::clone(&reach) }))
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("swiftwater/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .build()?;
        Ok(Self { http, reach })
    }

    /// Posts `body` as JSON and reads the answer, all within `timeout`.
    pub(super) async fn post(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        self.check_literal(url)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.http.post(url.clone()).headers(headers).body(body);
        let exchange = async {
            let mut response = request.send().await.map_err(|error| self.describe(&error))?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| self.describe(&error))? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(Error::TooLong { status });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Reply { status, body })
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Error::Late(timeout)))
    }

    /// An address in the URL is not resolved, so it is looked at here. The URL has it in its usual form already:
    /// `0x7f.1` and `2130706433` are 127.0.0.1.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Error> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        if self.reach.allows(address) {
            return Ok(());
        }
        Err(Error::Private { host: url.host_str().unwrap_or_default().to_owned(), address })
    }

    /// The cause at the bottom: what is above it says the URL, which may have a secret in it.
    fn describe(&self, error: &reqwest::Error) -> Error {
        let mut cause = error.source();
        while let Some(next) = cause {
            if let Some(Refused { host, address }) = next.downcast_ref::<Refused>() {
                return Error::Private { host: host.clone(), address: *address };
            }
            match next.source() {
                Some(deeper) => cause = Some(deeper),
                None => return Error::Http(next.to_string()),
            }
        }
        Error::Http(if error.is_connect() { "no connection" } else { "the connection broke" }.to_owned())
    }
}

/// Resolves names to what may be connected to. The client connects to these very addresses: a name that resolves
/// to something else a moment later (DNS rebinding) gains nothing.
#[derive(Debug)]
struct Resolver {
    reach: Arc<Reach>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.reach);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One bad address among good ones is a name that plays games.
            if let Some(refused) = addresses.iter().find(|address| !reach.allows(address.ip())) {
                let refused = Refused { host, address: refused.ip() };
                return Err(Box::new(refused) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{host} leads to {address}")]
struct Refused {
    host: String,
    address: IpAddr,
}

#[cfg(test)]
mod tests;
