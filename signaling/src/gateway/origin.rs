//! Where a socket comes from, as its upgrade says it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header;
use axum::http::request::Parts;
use control::hooks::Caller;
use media::ChannelName;
use secrecy::{ExposeSecret, SecretString};

/// Longest address of a page that is kept.
const PAGE_CHARS_MAX: usize = 512;

/// Where a socket comes from.
#[derive(Clone, Default)]
pub(super) struct Origin {
    /// In a test without a socket there is none.
    pub(super) remote: Option<IpAddr>,
    /// The query of its URL: a token for those who ask a backend may be in it.
    query: SecretString,
    page: Option<String>,
}

impl Origin {
    pub(super) fn of(parts: &Parts) -> Self {
        let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(remote)| remote.ip());
        let page = parts.headers.get(header::ORIGIN).and_then(|page| page.to_str().ok());
        Self {
            remote,
            query: parts.uri.query().unwrap_or_default().to_owned().into(),
            page: page.map(|page| page.chars().take(PAGE_CHARS_MAX).collect()),
        }
    }

    /// The viewer of `channel` who has this socket.
    pub(super) fn caller(&self, channel: &ChannelName) -> Caller {
        let remote = self.remote.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Caller::viewer("webrtc", remote, channel.clone(), self.query.expose_secret(), None)
            .on_page(self.page.clone())
    }
}

/// Without the query.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("remote", &self.remote)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}
